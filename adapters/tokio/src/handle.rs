//! A backstop on a task of its own. How it stops is core's: see [`postbox::handle`].

use postbox::handle::{Shutdown, supervise};

use crate::TokioTimer;

/// Stops what [`spawn_backstop`] started. Dropping it is a graceful stop that nobody waits for: see
/// [`postbox::handle::BackstopHandle`].
pub type BackstopHandle<R, E> = postbox::handle::BackstopHandle<TokioTimer, R, E>;

/// Runs a backstop (or a whole service) on a task of its own.
///
/// The closure is handed the shutdown to run until. It is generic over the future, never over the store:
/// that the future is `Send` follows from the parts it is made of. Must be called within a tokio runtime, and
/// the handle be stopped within one that has its time enabled.
///
/// ```
/// use std::time::Duration;
/// use postbox::backstop::{Backstop, BackstopConfig};
/// use postbox::{bus::{BusPublisher, InMemoryBus}, store::HasOutboxStore};
/// use postbox::{dispatcher::{DispatchConfig, OutboxDispatcher}, id::WorkerId};
/// use postbox_sqlite::SqliteRepository;
/// use postbox_tokio::{TokioTimer, spawn_backstop};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let outbox = SqliteRepository::memory()?.outbox_store(); // or any other store
/// let publisher = BusPublisher::new(InMemoryBus::new());
/// let dispatcher = OutboxDispatcher::new(outbox, publisher, DispatchConfig::new(WorkerId::random()))
///     .with_timer(TokioTimer);
/// let mut backstop = Backstop::new(dispatcher, BackstopConfig::new());
///
/// let handle = spawn_backstop(|shutdown| async move { backstop.run(shutdown).await });
/// let report = handle.stop(Duration::from_secs(5)).await?;
/// assert_eq!(report.store_errors, 0);
/// # Ok(()) }
/// ```
///
/// # Cancel safety
/// See [`BackstopHandle`]. If the runtime itself ends, the task is dropped: its claims lapse, and the next
/// backstop takes them over.
pub fn spawn_backstop<F, R, E>(run: impl FnOnce(Shutdown) -> F) -> BackstopHandle<R, E>
where
    F: Future<Output = Result<R, E>> + Send + 'static,
    R: Send + 'static,
    E: Send + 'static,
{
    let (handle, shutdown, supervised) = supervise(TokioTimer);
    // Dropping tokio's own handle detaches the task.
    drop(tokio::spawn(supervised.run(run(shutdown))));
    handle
}
