//! Postbox in RAM, for one process: tests, simulations, and services that may forget when they end.
//!
//! [`HashMapRepository`] keeps event streams, snapshots, inbox receipts and the outbox behind one mutex that
//! is never held across an await. It runs the rules of [`postbox::claim`] as they stand, so it is also the
//! model that stores on a disk are compared with.
//!
//! # What it promises
//! Everything a [`Repository`](postbox::aggregate::Repository) and an
//! [`OutboxStore`](postbox::store::OutboxStore) promise, except to survive the process. A commit costs what
//! it stores, a claim what it returns: neither looks at messages that are published, dead, blocked or
//! leased, and payloads are never copied after the commit. Memory grows with what is kept: streams and
//! receipts are never deleted.
//!
//! ```
//! use postbox::aggregate::{CommitBatch, Repository};
//! use postbox::message::OutboxMessage;
//! use postbox::store::{HasOutboxStore, OutboxOperator};
//! use postbox_hashmap::HashMapRepository;
//! # use postbox::testing::{VirtualClock, run};
//!
//! # run(&VirtualClock::new(), async {
//! let repository = HashMapRepository::new();
//! let mut batch = CommitBatch::new();
//! batch.messages.push(OutboxMessage::create("m-1", "order.placed", b"{}".to_vec())?);
//! repository.commit(batch).await?;
//! assert_eq!(repository.outbox_store().counts().await?.pending, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod claim;
mod enqueue;
mod index;
mod lanes;
mod packed;
mod pieces;
mod repository;
mod rows;
mod schedule;
mod settle;
mod store;
mod streams;
mod table;

pub use claim::HashMapClaimed;
pub use repository::HashMapRepository;
pub use store::HashMapOutboxStore;
pub use table::HashMapKey;
