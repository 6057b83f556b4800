//! A backstop on a task of its own, and the handle that stops it.

use std::any::Any;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use postbox::id::Excerpt;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};

/// Runs a backstop (or a whole service) on a task of its own.
///
/// The closure is handed the shutdown to run until. It is generic over the future, never over the store:
/// that the future is `Send` follows from the parts it is made of. Must be called within a tokio runtime.
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
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(run(Shutdown(Some(stopped))));
    BackstopHandle { stop, task }
}

/// Resolves when its [`BackstopHandle`] is stopped or dropped.
#[derive(Debug)]
pub struct Shutdown(Option<oneshot::Receiver<()>>);

impl Future for Shutdown {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(stopped) = &mut self.0 {
            // An error says that the handle is gone: stop as well.
            let _ = ready!(Pin::new(stopped).poll(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

/// Stops what [`spawn_backstop`] started.
///
/// # Drop
/// Dropping it is a graceful stop that nobody waits for: the task finishes what is in hand, settles, gives back
/// the rest, and ends. It never runs on unowned, so keep the handle as long as the backstop shall run. The same
/// holds for a [`stop`](Self::stop) whose future is dropped.
#[derive(Debug)]
#[must_use = "dropping the handle stops the backstop"]
pub struct BackstopHandle<R, E> {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<R, E>>,
}

impl<R, E> BackstopHandle<R, E> {
    /// Whether it has ended already, which it does unasked only if it was refused or panicked:
    /// [`stop`](Self::stop) tells.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Stops it and returns its report: it takes nothing new, finishes the publishes under way, settles, and
    /// gives back the rest. After `deadline` it is aborted instead.
    ///
    /// # Errors
    /// [`StopError::DeadlineExceeded`] when it was aborted: no message is lost, the claims it held lapse and
    /// what it was publishing may be published again. Else whatever had ended it before.
    pub async fn stop(self, deadline: Duration) -> Result<R, StopError<E>> {
        let Self { stop, mut task } = self;
        // Nobody listens when it has ended by itself.
        let _ = stop.send(());
        match tokio::time::timeout(deadline, &mut task).await {
            Ok(Ok(result)) => result.map_err(StopError::Failed),
            Ok(Err(error)) => Err(panicked(error)),
            Err(_) => {
                task.abort();
                Err(StopError::DeadlineExceeded { deadline })
            }
        }
    }
}

/// A backstop did not stop gracefully.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopError<E> {
    /// It ended by itself, with its own error.
    #[error(transparent)]
    Failed(E),
    /// It was still busy when the deadline passed, and was aborted.
    #[error("the backstop was still busy after {deadline:?} and was aborted")]
    DeadlineExceeded {
        /// How long it had.
        deadline: Duration,
    },
    /// It panicked: the publisher, the store or the observer did.
    #[error("the backstop panicked: {message}")]
    Panicked {
        /// What the panic said.
        message: Excerpt,
    },
    /// Its runtime was shut down under it.
    #[error("the runtime of the backstop ended before it")]
    RuntimeEnded,
}

fn panicked<E>(error: JoinError) -> StopError<E> {
    match error.try_into_panic() {
        Ok(panic) => StopError::Panicked {
            message: Excerpt::new(said(&*panic)),
        },
        Err(_) => StopError::RuntimeEnded,
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
