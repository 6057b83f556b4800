//! Core's virtual clock passes the timer suite.

use postbox::testing::{VirtualClock, run};
use postbox_tests::conformance::timer::TimerHarness;

struct Virtual(VirtualClock);

impl TimerHarness for Virtual {
    type Timer = VirtualClock;

    fn timer(&self) -> VirtualClock {
        self.0.clone()
    }
    fn is_virtual(&self) -> bool {
        true
    }
    fn run<F: Future>(&self, future: F) -> F::Output {
        run(&self.0, future).unwrap_or_else(|stalled| unreachable!("{stalled}"))
    }
}

postbox_tests::timer_conformance!(Virtual(VirtualClock::new()));
