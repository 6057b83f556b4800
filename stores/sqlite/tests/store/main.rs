//! Tests of this store alone; the suites that every store runs are in `conformance.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test a panic is the report"
)]

mod claims;
mod common;
mod enqueue;
mod groups;
mod model;
mod repository;
mod schema;
mod threads;
