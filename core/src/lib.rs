//! Durable enqueue: state and message in one commit, published right after it.
#![no_std]
#![allow(async_fn_in_trait)]
#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;
pub mod join;
pub mod time;
