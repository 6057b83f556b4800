//! Postbox on embassy: a timer, a spawner, a backstop with a handle. Nothing is decided here, nothing allocates.
//!
//! ```no_run
//! use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
//! use postbox::backstop::{Backstop, BackstopConfig, BackstopReport};
//! use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
//! use postbox::id::{Invalid, WorkerId};
//! use postbox_embassy::{BackstopTask, EmbassyTimer, spawn_backstop};
//! # use postbox::{bus::{BusPublisher, InMemoryBus}, store::HasOutboxStore};
//! # fn store() -> impl postbox::store::OutboxStore { postbox_hashmap::HashMapRepository::new().outbox_store() }
//! # fn publisher() -> impl postbox::publisher::AsyncMessagePublisher { BusPublisher::new(InMemoryBus::new()) }
//!
//! static BACKSTOP: BackstopTask<CriticalSectionRawMutex, BackstopReport, Invalid> = BackstopTask::new();
//!
//! #[embassy_executor::task]
//! async fn outbox() {
//!     let dispatcher = OutboxDispatcher::new(store(), publisher(), DispatchConfig::new(WorkerId::named("outbox")))
//!         .with_timer(EmbassyTimer);
//!     let mut backstop = Backstop::new(dispatcher, BackstopConfig::new());
//!     BACKSTOP.run(async |shutdown| backstop.run(shutdown).await).await;
//! }
//!
//! async fn start(spawner: embassy_executor::Spawner) -> Result<(), Box<dyn std::error::Error>> {
//!     let running = spawn_backstop(spawner, &BACKSTOP, outbox()?);
//!     // ...
//!     let report = running.stop(core::time::Duration::from_secs(5)).await?;
//! #   drop(report);
//!     Ok(())
//! }
//! ```
#![no_std]
#![forbid(unsafe_code)]

mod handle;
mod timer;

pub use handle::{BackstopHandle, BackstopTask, Shutdown, spawn_backstop};
pub use postbox::handle::StopError;
pub use timer::{EmbassySpawner, EmbassyTimer};
