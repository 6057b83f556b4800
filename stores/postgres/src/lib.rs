//! Postbox on PostgreSQL: streams, snapshots, receipts and the outbox beside your own tables.
//!
//! Open a [`PostgresRepository`], or enqueue in transactions of your own ([`PostgresOutboxStore::enqueue`]). The
//! README beside this crate has the tables and functions, which are public, and what is promised.
#![forbid(unsafe_code)]
#![allow(async_fn_in_trait)]

mod call;
mod claim;
mod commit;
mod database;
mod enqueue;
mod error;
mod gather;
mod names;
mod options;
mod outbox;
mod repository;
mod rows;
mod schema;
mod settle;
mod streams;
mod wakeup;

pub use enqueue::{EnqueueError, Enqueued};
pub use error::PostgresError;
pub use names::{Identifier, Names};
pub use options::PostgresOptions;
pub use outbox::PostgresOutboxStore;
pub use repository::PostgresRepository;
pub use rows::PostgresClaimed;
pub use schema::{Migration, grants, migrate, migrations};
pub use sqlx;
pub use wakeup::PostgresWakeup;
