//! Time and tasks of async-std behind core's seams.

use postbox::runtime::{Spawner, Timer, sleep_until};
use postbox::time::{Clock, Instant};

/// Sleeps by the operating system's monotonic clock. All values are the same clock.
///
/// ```
/// use std::time::Duration;
/// use postbox::{runtime::Timer, time::Clock};
/// use postbox_async_std::AsyncStdTimer;
///
/// # async_std::task::block_on(async {
/// let deadline = AsyncStdTimer.now() + Duration::from_millis(2);
/// AsyncStdTimer.sleep_until(deadline).await;
/// assert!(AsyncStdTimer.now() >= deadline);
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AsyncStdTimer;

impl Clock for AsyncStdTimer {
    fn now(&self) -> Instant {
        std::time::Instant::now().into()
    }
}

impl Timer for AsyncStdTimer {
    async fn sleep_until(&self, deadline: Instant) {
        sleep_until(self, deadline, async_std::task::sleep).await;
    }
}

postbox::dyn_timer!(AsyncStdTimer);

/// Spawns onto async-std's global executor. What a task returns is dropped.
///
/// ```
/// use postbox::runtime::Spawner;
///
/// postbox_async_std::AsyncStdSpawner.spawn(async { /* in the background */ });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AsyncStdSpawner;

impl<F> Spawner<F> for AsyncStdSpawner
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn spawn(&self, future: F) {
        drop(async_std::task::spawn(future));
    }
}
