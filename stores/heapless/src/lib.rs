//! A Postbox outbox of fixed size in RAM: for firmware without an allocator, and for anything that may forget.
//!
//! [`HeaplessOutbox`] runs the rules of [`postbox::claim`] as they stand, over a table of places that are linked, not
//! moved. It works on cores without compare-and-swap. Memory is what its type says, and it fits into a `static`.
//!
//! # What things cost
//! Enqueueing, claiming the next due message and settling it do not depend on how many messages are stored: ids and
//! keys are found by hash, and lists are in order. Two things walk: a message that is delayed or retried passes those
//! that become due after it, and ids or keys of one hash pass each other. Both are bounded by the number of places.
#![no_std]
#![forbid(unsafe_code)]
#![allow(async_fn_in_trait)]

mod bell;
mod claim;
mod enqueue;
mod lanes;
#[cfg(feature = "alloc")]
mod operator;
mod rows;
mod schedule;
mod settle;
mod slot;
mod store;
mod table;

pub use claim::HeaplessClaimed;
pub use enqueue::{EnqueueError, NewMessage};
pub use rows::HeaplessCounts;
pub use slot::HeaplessKey;
pub use store::{HeaplessOptions, HeaplessOutbox, HeaplessWatch, Overflow};
