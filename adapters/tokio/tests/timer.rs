//! The timer under tokio's paused clock: never early, and no deadline is too far.

use std::time::Duration;

use postbox::runtime::{Spawner, Timer};
use postbox::time::{Clock, Instant};
use postbox_tokio::{TokioSpawner, TokioTimer};

#[tokio::test(start_paused = true)]
async fn a_sleep_is_never_early_and_at_most_two_milliseconds_late() {
    // Deadlines and starting points that are no whole milliseconds.
    for micros in [1, 7, 499, 500, 999, 1_000, 1_001, 1_999, 123_456, 59_999_999] {
        tokio::time::advance(Duration::from_nanos(333_333)).await;
        let deadline = TokioTimer.now() + Duration::from_micros(micros);
        TokioTimer.sleep_until(deadline).await;
        let woken = TokioTimer.now();
        assert!(woken >= deadline, "{micros} us: {woken:?} before {deadline:?}");
        assert!(
            woken.since(deadline) <= Duration::from_millis(2),
            "{micros} us: {woken:?} long after {deadline:?}"
        );
    }
}

#[tokio::test]
async fn a_sleep_is_never_early_by_the_real_clock_either() {
    for micros in [1, 700, 1_001, 2_500] {
        let deadline = TokioTimer.now() + Duration::from_micros(micros);
        TokioTimer.sleep_until(deadline).await;
        assert!(TokioTimer.now() >= deadline);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_in_the_past_is_met_without_waiting() {
    let now = TokioTimer.now();
    for deadline in [Instant::ZERO, now] {
        let mut sleep = std::pin::pin!(TokioTimer.sleep_until(deadline));
        let ready = std::future::poll_fn(|cx| std::task::Poll::Ready(sleep.as_mut().poll(cx).is_ready()));
        assert!(ready.await);
    }
    assert_eq!(TokioTimer.now(), now);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_never_comes_is_waited_for_without_overflow() {
    let ten_years = Duration::from_secs(10 * 365 * 24 * 60 * 60);
    let start = TokioTimer.now();
    let waited = tokio::time::timeout(ten_years, TokioTimer.sleep_until(Instant::MAX)).await;
    assert!(waited.is_err());
    assert!(TokioTimer.now().since(start) >= ten_years);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_beyond_tokios_wheel_is_still_met() {
    let deadline = TokioTimer.now() + Duration::from_secs(5 * 365 * 24 * 60 * 60);
    TokioTimer.sleep_until(deadline).await;
    assert!(TokioTimer.now() >= deadline);
    assert!(TokioTimer.now().since(deadline) <= Duration::from_millis(2));
}

#[test]
fn time_goes_on_outside_of_a_runtime() {
    let first = TokioTimer.now();
    std::thread::sleep(Duration::from_millis(1));
    assert!(TokioTimer.now() > first);
}

#[tokio::test]
async fn a_spawned_future_runs_and_there_is_no_spawner_without_a_runtime() {
    let (tell, told) = tokio::sync::oneshot::channel();
    TokioSpawner::current()
        .unwrap()
        .spawn(async move { tell.send(7) });
    assert_eq!(told.await, Ok(7));
    assert!(
        std::thread::spawn(|| TokioSpawner::current().is_err())
            .join()
            .unwrap()
    );
}
