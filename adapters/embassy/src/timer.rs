//! Time and tasks of embassy behind core's seams.

use core::time::Duration;

use embassy_executor::SpawnToken;
use embassy_time::{Instant as EmbassyInstant, TICK_HZ};
use postbox::runtime::{Spawner, Timer, sleep_until};
use postbox::time::{Clock, Instant};

/// Sleeps by embassy-time, whose driver and rate the firmware chooses. All values are the same clock; a store in
/// RAM may judge its leases by it.
///
/// It is as fine as the tick: a sleep ends at the first tick that is not before its deadline.
///
/// ```
/// use core::time::Duration;
/// use postbox::{runtime::Timer, time::Clock};
/// use postbox_embassy::EmbassyTimer;
///
/// # async fn example() {
/// let deadline = EmbassyTimer.now() + Duration::from_millis(2);
/// EmbassyTimer.sleep_until(deadline).await;
/// assert!(EmbassyTimer.now() >= deadline);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmbassyTimer;

impl Clock for EmbassyTimer {
    fn now(&self) -> Instant {
        Instant::from_micros(micros(EmbassyInstant::now().as_ticks()))
    }
}

impl Timer for EmbassyTimer {
    async fn sleep_until(&self, deadline: Instant) {
        sleep_until(self, deadline, |left| embassy_time::Timer::after(ticks(left))).await;
    }
}

#[cfg(feature = "alloc")]
postbox::dyn_timer!(EmbassyTimer);

/// Ticks in microseconds, rounded down; a multiplication where the rate divides a million.
const fn micros(ticks: u64) -> u64 {
    if 1_000_000 % TICK_HZ == 0 {
        return ticks.saturating_mul(1_000_000 / TICK_HZ);
    }
    let whole = (ticks / TICK_HZ).saturating_mul(1_000_000);
    whole.saturating_add(ticks % TICK_HZ * 1_000_000 / TICK_HZ)
}

/// So long in whole ticks, rounded up.
fn ticks(left: Duration) -> embassy_time::Duration {
    let part = (u64::from(left.subsec_micros()) * TICK_HZ).div_ceil(1_000_000);
    embassy_time::Duration::from_ticks(left.as_secs().saturating_mul(TICK_HZ).saturating_add(part))
}

/// Starts tasks. An embassy task is what its `#[embassy_executor::task]` function made of it: a token, not a future,
/// since its memory is reserved when the firmware is linked.
///
/// ```
/// use postbox::runtime::Spawner;
/// use postbox_embassy::EmbassySpawner;
///
/// #[embassy_executor::task]
/// async fn blink() { /* ... */ }
///
/// fn start(spawner: embassy_executor::Spawner) -> Result<(), embassy_executor::SpawnError> {
///     EmbassySpawner::from(spawner).spawn(blink()?);
///     Ok(())
/// }
/// ```
#[derive(Clone, Copy)]
pub struct EmbassySpawner(embassy_executor::Spawner);

impl From<embassy_executor::Spawner> for EmbassySpawner {
    fn from(spawner: embassy_executor::Spawner) -> Self {
        Self(spawner)
    }
}

impl<S> Spawner<SpawnToken<S>> for EmbassySpawner {
    fn spawn(&self, token: SpawnToken<S>) {
        self.0.spawn(token);
    }
}

impl core::fmt::Debug for EmbassySpawner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("EmbassySpawner").finish_non_exhaustive()
    }
}
