//! Time and tasks of smol behind core's seams.

use postbox::runtime::{Spawner, Timer, sleep_until};
use postbox::time::{Clock, Instant};

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
        std::time::Instant::now().into()
    }
}

impl Timer for SmolTimer {
    async fn sleep_until(&self, deadline: Instant) {
        sleep_until(self, deadline, smol::Timer::after).await;
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
