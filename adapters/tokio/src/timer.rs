//! Time and tasks of a tokio runtime behind core's seams.

use std::sync::LazyLock;
use std::time::{Duration, Instant as StdInstant};

use postbox::runtime::{Spawner, Timer};
use postbox::time::{Clock, Instant};
use tokio::runtime::{Handle, TryCurrentError};

/// The longest single sleep; longer ones are taken in bites, so that no deadline is too far for tokio.
const BITE: Duration = Duration::from_secs(24 * 60 * 60);

/// What instants count from: one for the process, so that all timers agree. An hour early, because the paused
/// clock of a test stands where it was paused, which may be before the first use of this.
static EPOCH: LazyLock<StdInstant> = LazyLock::new(|| {
    let first = StdInstant::now().min(tokio::time::Instant::now().into_std());
    first.checked_sub(Duration::from_secs(3600)).unwrap_or(first)
});

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
        let epoch = *EPOCH;
        Instant::ZERO
            + tokio::time::Instant::now()
                .into_std()
                .saturating_duration_since(epoch)
    }
}

impl Timer for TokioTimer {
    async fn sleep_until(&self, deadline: Instant) {
        // Again after a bite. It is this clock that decides, so that no rounding of tokio's can be early.
        loop {
            let left = deadline.since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(BITE)).await;
        }
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
    /// Onto the runtime that the caller runs on.
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
