//! Time and tasks of smol behind core's seams.

use std::sync::LazyLock;
use std::time::{Duration, Instant as StdInstant};

use postbox::runtime::{Spawner, Timer};
use postbox::time::{Clock, Instant};

/// The longest single sleep; longer ones are taken in bites, so that no deadline is too far.
const BITE: Duration = Duration::from_secs(24 * 60 * 60);

/// What instants count from: one for the process, so that all timers agree.
static EPOCH: LazyLock<StdInstant> = LazyLock::new(StdInstant::now);

/// Sleeps by the operating system's monotonic clock. All values are the same clock.
///
/// ```
/// use std::time::Duration;
/// use postbox::{runtime::Timer, time::Clock};
/// use postbox_smol::SmolTimer;
///
/// # smol::block_on(async {
/// let deadline = SmolTimer.now() + Duration::from_millis(2);
/// SmolTimer.sleep_until(deadline).await;
/// assert!(SmolTimer.now() >= deadline);
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SmolTimer;

impl Clock for SmolTimer {
    fn now(&self) -> Instant {
        Instant::ZERO + EPOCH.elapsed()
    }
}

impl Timer for SmolTimer {
    async fn sleep_until(&self, deadline: Instant) {
        // Again after a bite. It is this clock that decides, so that no rounding can be early.
        loop {
            let left = deadline.since(self.now());
            if left.is_zero() {
                return;
            }
            smol::Timer::after(left.min(BITE)).await;
        }
    }
}

postbox::dyn_timer!(SmolTimer);

/// Spawns onto smol's global executor. What a task returns is dropped.
///
/// ```
/// use postbox::runtime::Spawner;
///
/// postbox_smol::SmolSpawner.spawn(async { /* in the background */ });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SmolSpawner;

impl<F> Spawner<F> for SmolSpawner
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn spawn(&self, future: F) {
        smol::spawn(future).detach();
    }
}
