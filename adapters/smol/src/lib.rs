//! Postbox on smol: a timer, a spawner, a backstop with a handle. Nothing is decided here.
//!
//! ```
//! use std::time::Duration;
//! use postbox::{bus::{InMemoryBus, RunOptions}, service::Service};
//! use postbox_smol::{SmolTimer, spawn_backstop};
//!
//! # smol::block_on(async {
//! let app = Service::with_repo(()).with_bus(InMemoryBus::new());
//! let running = spawn_backstop(|shutdown| async move {
//!     app.run_with(SmolTimer, shutdown, RunOptions::idempotent()).await // consumers and backstop
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
pub use timer::{SmolSpawner, SmolTimer};
