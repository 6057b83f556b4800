//! Running until the operating system says stop.

use postbox::aggregate::InboxStore;
use postbox::bus::{Bus, BusConsumer, RunError, RunOptions};
use postbox::service::{HasRepo, Microservice};
use postbox::store::HasOutboxStore;

use crate::TokioTimer;

/// Runs a service, its consumers and its backstop, until Ctrl-C or SIGTERM, and then stops gracefully.
///
/// It is `app.run_with(TokioTimer, shutdown_signal(), options)`: it spawns nothing. The graceful stop has no
/// deadline of its own beside the publish timeout; supervisors kill a process that takes too long, and that loses
/// nothing. Use [`spawn_backstop`](crate::spawn_backstop) with `app.run_with` for a deadline.
///
/// # Errors
/// As [`Microservice::run_with`].
///
/// ```no_run
/// use postbox::{bus::{InMemoryBus, RunOptions}, service::Service};
///
/// # #[tokio::main] async fn main() -> Result<(), postbox::bus::RunError> {
/// let app = Service::with_repo(()).with_bus(InMemoryBus::new());
/// postbox_tokio::run_until_shutdown(&app, RunOptions::idempotent()).await
/// # }
/// ```
pub async fn run_until_shutdown<D, B>(app: &Microservice<D, B>, options: RunOptions) -> Result<(), RunError>
where
    D: HasRepo,
    D::Repo: HasOutboxStore + InboxStore,
    B: Bus + BusConsumer,
{
    app.run_with(TokioTimer, shutdown_signal(), options).await
}

/// Resolves at Ctrl-C and, on Unix, at SIGTERM.
///
/// From its first poll on these signals no longer kill the process, a second one neither. Where one cannot be
/// listened for it does what it always did: it kills the process, which the outbox survives.
///
/// ```no_run
/// # #[tokio::main] async fn main() {
/// postbox_tokio::shutdown_signal().await;
/// # }
/// ```
pub async fn shutdown_signal() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    postbox::join::race(std::pin::pin!(interrupt), std::pin::pin!(terminate())).await;
}

#[cfg(unix)]
async fn terminate() {
    use tokio::signal::unix::{SignalKind, signal};
    if let Ok(mut signals) = signal(SignalKind::terminate()) {
        if signals.recv().await.is_some() {
            return;
        }
    }
    std::future::pending::<()>().await;
}

#[cfg(not(unix))]
async fn terminate() {
    std::future::pending::<()>().await;
}
