//! Tokio's timer passes the suite for timers, in tokio's own paused time.
#![allow(clippy::unwrap_used)] // In a suite a panic is the report.

use postbox_tests::conformance::timer::TimerHarness;
use postbox_tokio::TokioTimer;
use tokio::runtime::{Builder, Runtime};

struct Tokio(Runtime);

impl Tokio {
    fn new() -> Self {
        Self(
            Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap(),
        )
    }
}

impl TimerHarness for Tokio {
    type Timer = TokioTimer;

    fn timer(&self) -> TokioTimer {
        TokioTimer
    }

    fn is_virtual(&self) -> bool {
        true
    }
    fn run<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

postbox_tests::timer_conformance!(Tokio::new());
