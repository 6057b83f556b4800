//! What becomes of a message whose publish failed: pauses, counts, dead letters and their return.

use std::time::Duration;

use postbox::claim::{Status, Verdict};

use crate::conformance::StoreHarness;
use crate::conformance::fixture::{A, B, Fixture, RETRY_AT_ONCE};

/// A retry comes when it was promised: not a millisecond earlier, and not later.
pub async fn a_retry_is_honoured_to_the_millisecond<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue(&["m"]).await;
    for (failures, millis) in [(1, 1_u64), (2, 999), (3, 1_234), (4, 60_000)] {
        let held = fixture.claim_one(A).await;
        assert_eq!(held.failures, failures - 1);
        let after = Duration::from_millis(millis);
        assert!(
            fixture
                .settle_one(&held, Verdict::Retry { after }, "refused")
                .await
        );
        assert_eq!(
            fixture.entry("m").await.map(|entry| entry.failures()),
            Some(failures)
        );
        fixture.advance(millis - 1);
        assert!(fixture.claim(B, 1).await.is_empty(), "{millis} ms were promised");
        assert!(fixture.claim_ids(B, &["m"]).await.is_empty());
        fixture.advance(1);
    }
    assert_eq!(fixture.claim_one(B).await.failures, 4);
    assert_eq!(fixture.last_error("m").await, "refused");
}

/// A broker that is down uses up no attempts of good messages, however long that lasts.
pub async fn a_release_counts_no_failure<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue(&["m"]).await;
    let after = Duration::from_millis(1_500);
    for round in 1..=40 {
        let held = fixture.claim_one(A).await;
        assert_eq!((held.failures, held.claim.fence.attempt), (0, round));
        assert!(
            fixture
                .settle_one(&held, Verdict::Release { after }, "down")
                .await
        );
        fixture.advance(1_499);
        assert!(fixture.claim(A, 1).await.is_empty());
        fixture.advance(1);
    }
    let entry = fixture.entry("m").await.expect("it is kept");
    assert_eq!(
        (entry.state().status(), entry.failures(), entry.abandoned()),
        (Status::Pending, 0, 0)
    );
}

/// What was not tried at all may be taken at once.
pub async fn a_release_without_a_pause_is_free_at_once<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue(&["m"]).await;
    let held = fixture.claim_one(A).await;
    let after = Duration::ZERO;
    assert!(fixture.settle_one(&held, Verdict::Release { after }, "").await);
    assert_eq!(fixture.claim_one(B).await.id, "m");
}

/// A dead letter is kept with the reason, and nobody claims it.
pub async fn a_burial_keeps_its_reason<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue(&["m"]).await;
    let held = fixture.claim_one(A).await;
    let reason = "the broker said: zu groß\u{0}'; DROP TABLE outbox; --";
    assert!(fixture.settle_one(&held, Verdict::Bury, reason).await);
    assert_eq!(fixture.status("m").await, Some(Status::Dead));
    assert_eq!(fixture.last_error("m").await, reason.replace('\0', " "));
    fixture.advance(1_000_000);
    assert!(fixture.claim(B, 1).await.is_empty());
    assert!(fixture.claim_ids(B, &["m"]).await.is_empty());
    assert_eq!(fixture.status("m").await, Some(Status::Dead));
}

/// A release at a shutdown brings no reason: the last failure is still the last failure.
pub async fn an_empty_reason_keeps_the_earlier_one<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue(&["m"]).await;
    let held = fixture.claim_one(A).await;
    assert_eq!(fixture.last_error("m").await, "");
    assert!(fixture.settle_one(&held, RETRY_AT_ONCE, "refused").await);
    let held = fixture.claim_one(A).await;
    let after = Duration::ZERO;
    assert!(fixture.settle_one(&held, Verdict::Release { after }, "").await);
    assert_eq!(fixture.last_error("m").await, "refused");
}

/// A message that was put back starts its counts anew; the fence goes on from where it was.
pub async fn requeue_raises_a_fence_that_no_earlier_holder_passes<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue(&["m"]).await;
    let failed = fixture.claim_one(A).await;
    assert!(fixture.settle_one(&failed, RETRY_AT_ONCE, "refused").await);
    let lapsed = fixture.claim_one(A).await;
    fixture.advance(30_000);
    let buried = fixture.bury_next().await;
    assert_eq!(
        fixture
            .entry("m")
            .await
            .map(|entry| (entry.failures(), entry.abandoned())),
        Some((1, 1))
    );
    assert_eq!(fixture.requeue(&["m"]).await, 1);
    let entry = fixture.entry("m").await.expect("it is kept");
    assert_eq!(
        (entry.failures(), entry.abandoned(), entry.fence().attempt),
        (0, 0, 3)
    );
    let earlier = [&failed, &lapsed, &buried];
    for held in earlier {
        assert!(!fixture.complete(held).await);
    }
    let now = fixture.claim_one(B).await;
    assert_eq!((now.failures, now.claim.fence.attempt), (0, 4));
    for held in earlier {
        assert!(!fixture.complete(held).await);
        assert!(!fixture.renew(held, Duration::from_secs(60)).await);
    }
    assert!(fixture.complete(&now).await);
}

/// Only dead messages are put back, each once; nothing else is touched.
pub async fn requeue_leaves_all_but_the_dead_alone<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue(&["dead"]).await;
    fixture.bury_next().await;
    fixture.enqueue(&["leased"]).await;
    fixture.claim_one(A).await;
    fixture.enqueue(&["pending"]).await;
    let before = (fixture.entry("leased").await, fixture.entry("pending").await);
    let ids = ["leased", "pending", "missing", "dead", "dead"];
    assert_eq!(fixture.requeue(&ids).await, 1);
    assert_eq!(fixture.requeue(&ids).await, 0);
    assert_eq!(fixture.requeue(&[]).await, 0);
    assert_eq!(
        (fixture.entry("leased").await, fixture.entry("pending").await),
        before
    );
    assert_eq!(fixture.status("dead").await, Some(Status::Pending));
}
