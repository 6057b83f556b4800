//! Tests of this store alone, on a real server with real concurrency; the suites are in `conformance.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "in a test a panic is the report"
)]

#[path = "../support/mod.rs"]
mod support;

mod enqueue;
mod groups;
mod handed_on;
mod hints;
mod order;
mod plans;
mod pool;
mod races;
mod schema;
