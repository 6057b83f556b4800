//! Postbox on async-std: a timer, a spawner, a backstop with a handle. Nothing is decided here.
//!
//! async-std is **unmaintained** (RUSTSEC-2025-0052). This crate is for programs that are on it already; new ones
//! are better off with smol, which async-std itself is built on.
//!
//! ```
//! use std::time::Duration;
//! use postbox::{bus::{InMemoryBus, RunOptions}, service::Service};
//! use postbox_async_std::{AsyncStdTimer, spawn_backstop};
//!
//! # async_std::task::block_on(async {
//! let app = Service::with_repo(()).with_bus(InMemoryBus::new());
//! let running = spawn_backstop(|shutdown| async move {
//!     app.run_with(AsyncStdTimer, shutdown, RunOptions::idempotent()).await // consumers and backstop
//! });
//! running.stop(Duration::from_secs(10)).await?;
//! # Ok::<(), postbox::handle::StopError<postbox::bus::RunError>>(())
//! # })?;
//! # Ok::<(), postbox::handle::StopError<postbox::bus::RunError>>(())
//! ```
#![forbid(unsafe_code)]

mod handle;
mod timer;

pub use handle::{BackstopHandle, spawn_backstop};
pub use postbox::handle::{Shutdown, StopError};
pub use timer::{AsyncStdSpawner, AsyncStdTimer};
