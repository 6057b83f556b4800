//! Durable enqueue: state and message in one commit, published right after it, on any executor.
#![no_std]
#![allow(async_fn_in_trait)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "alloc")]
pub mod aggregate;
pub mod backstop;
#[cfg(feature = "alloc")]
pub mod bus;
pub mod claim;
pub mod dispatcher;
pub mod handle;
pub mod id;
pub mod join;
pub mod lease;
pub mod message;
pub mod observe;
mod primitive;
pub mod publisher;
pub mod retry;
pub mod runtime;
#[cfg(feature = "alloc")]
pub mod service;
pub mod store;
#[cfg(feature = "alloc")]
pub mod sync;
#[cfg(feature = "alloc")]
pub mod testing;
pub mod time;
pub mod wakeup;
