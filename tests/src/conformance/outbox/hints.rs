//! Hints: whatever becomes free to claim rings, so that nobody has to poll fast. Spurious rings are allowed.

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use postbox::claim::Verdict;
use postbox::store::{ClaimRequest, OutboxStore};
use postbox::wakeup::Wakeup;

use crate::conformance::fixture::{A, B, Fixture, LEASE, RETRY_AT_ONCE, delayed, keyed, message, request};
use crate::conformance::{StoreHarness, can, skip};

/// A pending message is worth a look, whether the look or the commit came first.
pub async fn a_commit_rings<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let mut hints = fixture.store.wakeup();
    hear(&mut hints);
    fixture.enqueue(&["a"]).await;
    if !harness.hints() {
        return skip("a_commit_rings", "hints");
    }
    assert!(hear(&mut hints), "a commit");
    fixture.enqueue_keyed("k", &["b"]).await;
    assert!(hear(&mut hints), "another commit");
    let mut second = fixture.store.wakeup();
    hear(&mut second);
    fixture.enqueue(&["c"]).await;
    assert!(hear(&mut hints) && hear(&mut second), "everybody hears");
}

/// What is born claimed is its committer's to publish; the pending rest of the commit rings when it is free.
pub async fn a_commit_that_is_born_claimed_frees_nothing_to_wait_for<H: StoreHarness>(harness: &H) {
    if !can(
        "a_commit_that_is_born_claimed_frees_nothing_to_wait_for",
        harness.births(),
        "births",
    ) {
        return;
    }
    let fixture = Fixture::new(harness);
    let mut hints = fixture.store.wakeup();
    let born = fixture
        .commit_claimed(A, vec![keyed("k1", "k"), keyed("k2", "k")])
        .await;
    let first = born.into_iter().flatten().next().expect("it was free");
    if !harness.hints() {
        return skip("a_commit_that_is_born_claimed_frees_nothing_to_wait_for", "hints");
    }
    hear(&mut hints);
    assert!(fixture.complete(&first).await);
    assert!(hear(&mut hints), "k2 is free now");
}

/// The next message of a key is free when the one before it is published, dead or abandoned.
pub async fn settling_the_head_rings_for_the_next<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue_keyed("k", &["k1", "k2", "k3", "k4"]).await;
    if !harness.hints() {
        return skip("settling_the_head_rings_for_the_next", "hints");
    }
    let mut hints = fixture.store.wakeup();
    for verdict in [Verdict::Complete, Verdict::Bury] {
        let head = fixture.claim_one(A).await;
        hear(&mut hints);
        assert!(fixture.settle_one(&head, verdict, "").await);
        assert!(hear(&mut hints), "{verdict:?}");
    }
    fixture.claim_one(A).await;
    fixture.advance(30_000);
    hear(&mut hints);
    let last = ClaimRequest {
        max_abandoned: 1,
        ..request(B, 1)
    };
    assert!(fixture.claim_with(&last).await.is_empty());
    assert!(hear(&mut hints), "k4 is free now");
}

/// A release or retry without a pause, and a requeue.
pub async fn what_becomes_free_again_rings<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.commit(vec![message("m")]).await;
    if !harness.hints() {
        return skip("what_becomes_free_again_rings", "hints");
    }
    let mut hints = fixture.store.wakeup();
    let after = Duration::ZERO;
    for verdict in [Verdict::Release { after }, RETRY_AT_ONCE] {
        let held = fixture.claim_one(A).await;
        hear(&mut hints);
        assert!(fixture.settle_one(&held, verdict, "").await);
        assert!(hear(&mut hints), "{verdict:?}");
    }
    fixture.bury_next().await;
    hear(&mut hints);
    assert_eq!(fixture.requeue(&["m"]).await, 1);
    assert!(hear(&mut hints), "requeue");
}

/// Whoever sleeps until the next message is due must learn that it is another one now.
pub async fn what_will_be_free_rings<H: StoreHarness>(harness: &H) {
    let rings = harness.hints() && harness.tells_next_due();
    if !can("what_will_be_free_rings", rings, "hints about due times") {
        return;
    }
    let fixture = Fixture::new(harness);
    let mut hints = fixture.store.wakeup();
    hear(&mut hints);
    if harness.delays() {
        fixture.commit(vec![delayed(message("later"), 60_000)]).await;
        assert!(hear(&mut hints), "a delayed commit");
    }
    fixture.enqueue(&["m"]).await;
    let after = Duration::from_secs(5);
    for verdict in [Verdict::Release { after }, Verdict::Retry { after }] {
        let held = fixture.claim_one(A).await;
        hear(&mut hints);
        assert!(fixture.settle_one(&held, verdict, "").await);
        assert!(hear(&mut hints), "{verdict:?}");
        fixture.advance(5_000);
    }
}

/// Of those that wait for their time, the first; not those that wait for one before them.
pub async fn the_next_due_time_is_told<H: StoreHarness>(harness: &H) {
    if !can("the_next_due_time_is_told", harness.tells_next_due(), "due times") {
        return;
    }
    let fixture = Fixture::new(harness);
    let next_due = async || fixture.store.next_due().await.expect("a due time");
    assert_eq!(next_due().await, None);
    fixture.enqueue_keyed("k", &["k1", "k2"]).await;
    let held = fixture.claim_one(A).await;
    // Leases may be left out.
    assert!(next_due().await.is_none_or(|due| due == LEASE));
    for millis in [5_000, 7_000] {
        let after = Duration::from_millis(millis);
        let held = if millis == 5_000 {
            held.clone()
        } else {
            fixture.claim_one(A).await
        };
        assert!(fixture.settle_one(&held, Verdict::Retry { after }, "").await);
        assert_eq!(next_due().await, Some(after), "k2 waits for k1");
        fixture.advance(millis - 1);
        assert_eq!(next_due().await, Some(Duration::from_millis(1)));
        fixture.advance(1);
    }
    assert!(fixture.complete(&fixture.claim_one(A).await).await);
    assert!(fixture.complete(&fixture.claim_one(A).await).await);
    assert_eq!(next_due().await, None);
    if harness.delays() {
        let messages = vec![
            delayed(message("second"), 9_000),
            delayed(message("first"), 3_000),
        ];
        fixture.commit(messages).await;
        assert_eq!(next_due().await, Some(Duration::from_secs(3)));
        fixture.advance(3_000);
        assert!(fixture.complete(&fixture.claim_one(A).await).await);
        assert_eq!(next_due().await, Some(Duration::from_secs(6)));
    }
}

/// Whether there was a hint since the last call.
fn hear(hints: &mut impl Wakeup) -> bool {
    let mut heard = false;
    // One wait may resolve for each ring; after the last one it is quiet.
    while pin!(hints.wait())
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_ready()
    {
        heard = true;
    }
    heard
}
