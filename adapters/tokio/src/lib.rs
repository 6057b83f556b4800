//! Postbox on tokio: a timer, a spawner, a backstop with a handle, and shutdown by signal. Nothing is decided here.
//!
//! ```no_run
//! use postbox::{bus::{InMemoryBus, RunOptions}, service::Service};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let app = Service::with_repo(()).with_bus(InMemoryBus::new());
//! postbox_tokio::run_until_shutdown(&app, RunOptions::idempotent()).await?; // Ctrl-C or SIGTERM
//! # Ok(())
//! # }
//! ```

mod handle;
mod signal;
mod timer;

pub use handle::{BackstopHandle, spawn_backstop};
pub use postbox::handle::{Shutdown, StopError};
pub use postbox::observe::trace;
pub use signal::{run_until_shutdown, shutdown_signal};
pub use timer::{TokioSpawner, TokioTimer};
