//! Time and tasks of a tokio runtime behind core's seams.

use postbox::runtime::{Spawner, Timer, sleep_until};
use postbox::time::{Clock, Instant};
use tokio::runtime::{Handle, TryCurrentError};

/// Sleeps by tokio's monotonic clock; in tests with a paused clock, by that one.
///
/// All values are the same clock. Sleeping needs a runtime with its time enabled (as tokio's `sleep` does);
/// telling the time does not.
///
/// ```
/// use std::time::Duration;
/// use postbox::{runtime::Timer, time::Clock};
/// use postbox_tokio::TokioTimer;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let deadline = TokioTimer.now() + Duration::from_millis(2);
/// TokioTimer.sleep_until(deadline).await;
/// assert!(TokioTimer.now() >= deadline);
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokioTimer;

impl Clock for TokioTimer {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std().into()
    }
}

impl Timer for TokioTimer {
    async fn sleep_until(&self, deadline: Instant) {
        sleep_until(self, deadline, tokio::time::sleep).await;
    }
}

postbox::dyn_timer!(TokioTimer);

/// Spawns onto one tokio runtime. What a task returns is dropped; so is its panic, after tokio's report.
///
/// ```
/// use postbox::runtime::Spawner;
/// use postbox_tokio::TokioSpawner;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// TokioSpawner::current()?.spawn(async { /* in the background */ });
/// # Ok::<(), tokio::runtime::TryCurrentError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TokioSpawner(Handle);

impl TokioSpawner {
    /// Onto the runtime that the caller runs on: see [`TokioSpawner`].
    ///
    /// # Errors
    /// [`TryCurrentError`] outside of a runtime.
    pub fn current() -> Result<Self, TryCurrentError> {
        Handle::try_current().map(Self)
    }
}

impl From<Handle> for TokioSpawner {
    fn from(runtime: Handle) -> Self {
        Self(runtime)
    }
}

impl<F> Spawner<F> for TokioSpawner
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn spawn(&self, future: F) {
        // Dropping the handle detaches the task.
        drop(self.0.spawn(future));
    }
}
