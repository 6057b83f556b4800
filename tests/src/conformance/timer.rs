//! What every timer must do. Virtual ones run it in no time, real ones in a tenth of a second.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::join_all;
use postbox::join::{Either, race};
use postbox::runtime::Timer;
use postbox::time::{Clock, Instant};

/// Says how to make a timer and run a future on its executor.
pub trait TimerHarness {
    /// The timer under test.
    type Timer: Timer;

    /// A timer.
    fn timer(&self) -> Self::Timer;

    /// Whether its time stands still while anything runs, so that no machine is too slow for it.
    fn is_virtual(&self) -> bool {
        false
    }

    /// Runs a future to its end where the timer works.
    fn run<F: Future>(&self, future: F) -> F::Output;
}

const STEP: Duration = Duration::from_millis(10);
/// Further off than any machine stands still.
const FAR: Duration = Duration::from_secs(3_600);

/// Whatever else it does, a sleep does not end before its deadline.
pub async fn a_sleep_never_ends_early<H: TimerHarness>(harness: &H) {
    let timer = &harness.timer();
    for micros in [1, 999, 1_000, 1_001, 12_345] {
        let deadline = timer.now() + Duration::from_micros(micros);
        timer.sleep_until(deadline).await;
        assert!(timer.now() >= deadline, "{micros} µs");
    }
}

/// Deadlines of now and before do not wait, not even for a turn of the executor.
pub async fn a_deadline_in_the_past_resolves_at_once<H: TimerHarness>(harness: &H) {
    let timer = &harness.timer();
    timer.sleep_until(timer.now() + STEP).await;
    for deadline in [Instant::ZERO, timer.now() - STEP, timer.now()] {
        assert!(is_ready(timer, deadline).await, "{deadline:?}");
    }
}

/// Many sleeps at once, started in another order than they end. Where time is real, a machine may stand still past
/// several deadlines, and then ends them in any order: only the sleep that is far off is held against it.
pub async fn sleeps_end_in_the_order_of_their_deadlines<H: TimerHarness>(harness: &H) {
    let timer = &harness.timer();
    let start = timer.now();
    let ended = RefCell::new(Vec::new());
    let sleep = |steps: u32| {
        let ended = &ended;
        async move {
            timer.sleep_until(start + STEP * steps).await;
            ended.borrow_mut().push((steps, timer.now()));
        }
    };
    join_all([3, 1, 4, 2].map(sleep)).await;
    let ended = ended.take();
    assert_eq!(ended.len(), 4);
    for (steps, at) in &ended {
        assert!(*at >= start + STEP * *steps, "{steps} ended early");
    }
    if harness.is_virtual() {
        assert!(ended.is_sorted_by_key(|(steps, _)| *steps), "{ended:?}");
    }
    let start = timer.now();
    let (far, near) = (timer.sleep_until(start + FAR), timer.sleep_until(start + STEP));
    assert!(matches!(race(pin!(far), pin!(near)).await, Either::B(())));
}

/// Dropping the future drops the sleep: others are neither woken nor held up by it.
pub async fn a_dropped_sleep_is_gone<H: TimerHarness>(harness: &H) {
    let timer = &harness.timer();
    let start = timer.now();
    for _ in 0..100 {
        assert!(!is_ready(timer, start + FAR).await);
    }
    timer.sleep_until(start + STEP).await;
    assert!(timer.now().since(start) < FAR / 2);
}

/// Being polled for other reasons, as in a select, does not move the deadline.
pub async fn a_sleep_that_is_polled_again_keeps_its_deadline<H: TimerHarness>(harness: &H) {
    let timer = &harness.timer();
    let deadline = timer.now() + STEP * 3;
    let mut sleep = pin!(timer.sleep_until(deadline));
    for _ in 0..2 {
        let early = poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx).is_ready())).await;
        assert!(!early || timer.now() >= deadline);
        if early {
            return;
        }
        timer.sleep_until(timer.now() + STEP / 2).await;
    }
    sleep.await;
    assert!(timer.now() >= deadline);
    assert!(timer.now().since(deadline) < FAR / 2);
}

/// The timer's clock is monotonic, across sleeps too.
pub async fn time_does_not_go_back<H: TimerHarness>(harness: &H) {
    let timer = &harness.timer();
    let mut last = timer.now();
    for round in 0..1_000 {
        if round % 250 == 0 {
            timer.sleep_until(last + STEP / 4).await;
        }
        let now = timer.now();
        assert!(now >= last);
        last = now;
    }
}

/// "Never" is a deadline as well.
pub async fn the_latest_deadline_does_not_overflow<H: TimerHarness>(harness: &H) {
    let timer = &harness.timer();
    for deadline in [Instant::MAX, timer.now() + Duration::MAX] {
        assert!(!is_ready(timer, deadline).await);
    }
}

/// Whether a sleep is over at its first poll.
async fn is_ready<T: Timer>(timer: &T, deadline: Instant) -> bool {
    let mut sleep = pin!(timer.sleep_until(deadline));
    poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx).is_ready())).await
}
