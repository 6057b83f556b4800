//! A Postbox outbox of fixed size in RAM: for firmware without an allocator, and for anything that may forget.
//!
//! [`HeaplessOutbox`] runs the rules of [`postbox::claim`] as they stand, over a table of places that are linked, not
//! moved. It works on cores without compare-and-swap. Memory is what its type says, and it fits into a `static`.
//!
//! # What things cost
//! Enqueueing, claiming the next due message and settling it do not depend on how many messages are stored: ids and
//! keys are found by hash, and lists are in order. Two things walk: a message that is delayed or retried passes those
//! that become due after it, and ids or keys of one hash pass each other. Both are bounded by the number of places.
//!
//! # By hand
//! Engines do this: a dispatcher claims, publishes and settles. What follows is a message's life without them.
//!
//! ```
//! use core::time::Duration;
//! use embassy_sync::blocking_mutex::raw::NoopRawMutex;
//! use postbox::{claim::Verdict, id::WorkerId, message::{Headers, MessageKind, MessageRef}};
//! use postbox::store::{ClaimRequest, ClaimedMessage, OutboxStore, Settlement, Which};
//! use postbox::testing::{VirtualClock, run};
//! use postbox::wakeup::Wakeup;
//! use postbox_heapless::{HeaplessCounts, HeaplessOptions, HeaplessOutbox, NewMessage, Overflow};
//!
//! // Two places of 40 bytes of text and 4 of payload; a third message pushes out the oldest that nobody holds.
//! let options = HeaplessOptions { overflow: Overflow::DropOldest, ..HeaplessOptions::DEFAULT };
//! let clock = VirtualClock::new();
//! let outbox = HeaplessOutbox::<NoopRawMutex, _, 2, 40, 4>::with_options(clock.clone(), options);
//! let reading = |id| MessageRef {
//!     id,
//!     name: "read",
//!     kind: MessageKind::Event,
//!     key: None,
//!     payload: b"21.5",
//!     content_type: "text/plain",
//!     headers: Headers::EMPTY,
//! };
//! let mut watch = (&outbox).wakeup();
//! outbox.enqueue(reading("dropped"))?;
//! outbox.enqueue(reading("now"))?;
//! let later = NewMessage { delay: Duration::from_secs(60), ..reading("later").into() };
//! let (key, claimed_at_birth) = outbox.enqueue_with(&later)?;
//! assert!(claimed_at_birth.is_none() && !outbox.contains("dropped"));
//!
//! let request = ClaimRequest {
//!     worker: WorkerId::named("by hand"),
//!     lease: Duration::from_secs(30),
//!     limit: 4,
//!     max_abandoned: 10,
//!     which: Which::Due,
//! };
//! run(&clock, async {
//!     watch.wait().await; // there was a hint
//!     let batch = (&outbox).claim(&request).await?;
//!     assert_eq!(batch[0].message().id, "now");
//!     assert_ne!(batch[0].claim().key, key);
//!     let (claim, verdict) = (batch[0].claim(), Verdict::Bury);
//!     let settled = (&outbox).settle(&[Settlement { claim, verdict, error: "no broker" }]).await?;
//!     assert_eq!(settled.applied(), 1);
//!     Ok::<_, core::convert::Infallible>(())
//! })??;
//! let counts = HeaplessCounts { pending: 1, dead: 1, dropped: 1, ..HeaplessCounts::default() };
//! assert_eq!(outbox.counts(), counts);
//! assert!(outbox.requeue("now")); // a dead letter is put back, or looked at and removed
//! assert!(outbox.remove("now"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
