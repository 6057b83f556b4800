//! Postbox on SQLite: streams, snapshots, receipts and the outbox in one file, with grouped commits.
//!
//! Open a [`SqliteRepository`], or call [`enqueue`] in transactions of your own. The README beside this
//! crate has the tables, which are public, and what is promised.
#![allow(async_fn_in_trait)]

mod claim;
mod complete;
mod engine;
mod enqueue;
mod error;
mod group;
mod job;
mod open;
mod options;
mod outbox;
#[cfg(test)]
mod plans;
mod queue;
mod repository;
mod rows;
mod schema;
mod settle;
mod streams;

pub use enqueue::{EnqueueError, Enqueued, enqueue, enqueue_claimed};
pub use error::SqliteError;
pub use options::{Execution, SqliteOptions, Synchronous};
pub use outbox::SqliteOutboxStore;
pub use repository::SqliteRepository;
pub use rows::SqliteClaimed;
pub use rusqlite;
pub use schema::{Migration, migrate, migrations};
