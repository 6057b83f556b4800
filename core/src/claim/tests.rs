//! The machine's rules, one by one.

use super::*;

const LEASE: Duration = Duration::from_millis(900);
const A: WorkerId = WorkerId::new(1);
const B: WorkerId = WorkerId::new(2);

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn fence(claiming: Claiming) -> Option<Fence> {
    if let Claiming::Granted(fence) = claiming {
        Some(fence)
    } else {
        None
    }
}

#[test]
fn a_lease_below_a_second_is_kept_to_the_millisecond() {
    let mut entry = Entry::in_flight(A, LEASE, at(100));
    assert_eq!(entry.claim(B, LEASE, 10, at(999)), Claiming::NotFree);
    assert!(fence(entry.claim(B, LEASE, 10, at(1_000))).is_some());
}

#[test]
fn a_lapsed_lease_that_nobody_overtook_still_settles() {
    let mut entry = Entry::in_flight(A, LEASE, at(0));
    let held = entry.fence();
    assert_eq!(entry.settle(held, Verdict::Complete, at(5_000)), Ok(()));
    assert_eq!(entry.state(), State::Published { at: at(5_000) });
}

#[test]
fn an_earlier_holder_cannot_settle_or_renew_even_under_the_same_worker_id() {
    let mut entry = Entry::in_flight(A, LEASE, at(0));
    let first = entry.fence();
    let second = fence(entry.claim(A, LEASE, 10, at(900)));
    assert!(entry.settle(first, Verdict::Complete, at(901)).is_err());
    assert!(entry.renew(first, LEASE, at(901)).is_err());
    assert_eq!(
        second.map(|fence| entry.settle(fence, Verdict::Complete, at(901))),
        Some(Ok(()))
    );
}

#[test]
fn renewing_never_shortens_a_lease() {
    let mut entry = Entry::in_flight(A, Duration::from_secs(10), at(0));
    assert_eq!(entry.renew(entry.fence(), LEASE, at(100)), Ok(()));
    assert_eq!(entry.due(), Some(at(10_000)));
}

#[test]
fn a_message_that_kills_its_workers_ends_dead() {
    let mut entry = Entry::pending(at(0), Duration::ZERO);
    let claims = (0..20)
        .filter(|n| fence(entry.claim(A, LEASE, 3, at(n * 1_000))).is_some())
        .count();
    assert_eq!(claims, 3);
    assert!(matches!(entry.state(), State::Dead { .. }));
}

#[test]
fn an_outage_counts_no_failures_and_a_requeue_keeps_the_fence_growing() {
    let mut entry = Entry::in_flight(A, LEASE, at(0));
    let first = entry.fence();
    assert_eq!(
        entry.settle(first, Verdict::Release { after: LEASE }, at(1)),
        Ok(())
    );
    assert_eq!(entry.failures(), 0);
    let second = fence(entry.claim(A, LEASE, 10, at(901))).unwrap_or_default();
    assert_eq!(entry.settle(second, Verdict::Bury, at(902)), Ok(()));
    assert!(entry.requeue(at(903)));
    assert!(!entry.requeue(at(904)));
    let third = fence(entry.claim(B, LEASE, 10, at(904)));
    assert_eq!(
        third,
        Some(Fence {
            worker: B,
            attempt: 3
        })
    );
    assert!(entry.settle(second, Verdict::Complete, at(905)).is_err());
}

#[test]
fn counters_do_not_overflow_at_their_end() {
    let fence = Fence {
        worker: A,
        attempt: u32::MAX,
    };
    let state = State::InFlight { until: Instant::ZERO };
    let mut entry = Entry::restored(state, fence, u32::MAX, u32::MAX - 2, Instant::ZERO);
    let now = Instant::MAX;
    assert!(matches!(
        entry.claim(B, Duration::MAX, u32::MAX, now),
        Claiming::Granted(_)
    ));
    assert_eq!(
        entry.settle(entry.fence(), Verdict::Retry { after: Duration::MAX }, now),
        Ok(())
    );
}
