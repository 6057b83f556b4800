//! A node's own clock: it may go a little faster or slower than the store's.

use postbox::runtime::Timer;
use postbox::testing::VirtualClock;
use postbox::time::{Clock, Instant};

/// Millionths.
const MILLION: u128 = 1_000_000;

/// A node's timer: [`Node::timer`](crate::Node::timer). Clones go alike.
#[derive(Clone, Debug)]
pub struct NodeTimer {
    clock: VirtualClock,
    start: Instant,
    /// So many of its microseconds pass in a second of the world's.
    rate: u64,
}

impl NodeTimer {
    /// `ahead` millionths faster than the world, or slower if it is negative.
    pub(crate) fn new(clock: VirtualClock, ahead: i64) -> Self {
        let start = clock.now();
        let rate = 1_000_000_u64.saturating_add_signed(ahead).max(1);
        Self { clock, start, rate }
    }

    fn scale(&self, instant: Instant, up: u128, down: u128) -> Instant {
        let passed = u128::from(instant.as_micros().saturating_sub(self.start.as_micros()));
        let scaled = passed.saturating_mul(up).div_ceil(down.max(1));
        let scaled = u64::try_from(scaled).unwrap_or(u64::MAX);
        Instant::from_micros(self.start.as_micros().saturating_add(scaled))
    }
}

impl Clock for NodeTimer {
    fn now(&self) -> Instant {
        let passed = u128::from(
            self.clock
                .now()
                .as_micros()
                .saturating_sub(self.start.as_micros()),
        );
        let own = passed.saturating_mul(u128::from(self.rate)) / MILLION;
        let own = u64::try_from(own).unwrap_or(u64::MAX);
        Instant::from_micros(self.start.as_micros().saturating_add(own))
    }
}

impl Timer for NodeTimer {
    async fn sleep_until(&self, deadline: Instant) {
        while self.now() < deadline {
            let until = self.scale(deadline, MILLION, u128::from(self.rate));
            self.clock.sleep_until(until).await;
        }
    }
}

postbox::dyn_timer!(NodeTimer);
