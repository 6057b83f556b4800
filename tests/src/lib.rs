//! Suites that any store, bus or timer must pass. What crosses crates is tested in `tests/`.
//!
//! To try a store of your own, depend on this package in your tests, say how to open the store
//! ([`StoreHarness`](conformance::StoreHarness)), and name the suites:
//!
//! ```
//! use postbox::{store::OutboxOptions, testing::VirtualClock};
//! use postbox_hashmap::HashMapRepository;
//! use postbox_tests::conformance::StoreHarness;
//!
//! #[derive(Default)]
//! struct Mine(VirtualClock);
//!
//! impl StoreHarness for Mine {
//!     type Repository = HashMapRepository;
//!
//!     fn open(&self, options: OutboxOptions) -> HashMapRepository {
//!         HashMapRepository::new().with_clock(self.0.clone()).with_options(options)
//!     }
//!     fn clock(&self) -> VirtualClock {
//!         self.0.clone()
//!     }
//! }
//!
//! mod outbox {
//!     postbox_tests::outbox_conformance!(super::Mine::default());
//! }
//! mod repository {
//!     postbox_tests::repository_conformance!(super::Mine::default());
//! }
//! mod model {
//!     postbox_tests::model_conformance!(super::Mine::default());
//! }
//! # fn main() {}
//! ```
#![allow(async_fn_in_trait)]
// In a suite a panic is the report.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used
)]

pub mod conformance;
pub mod exhaustive;

/// The README's program, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
