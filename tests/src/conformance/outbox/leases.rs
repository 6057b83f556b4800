//! How long a claim holds, and what its holder may do once it does not.

use std::time::Duration;

use postbox::claim::{Status, Verdict};
use postbox::store::{ClaimRequest, OutboxStore, Settlement};

use crate::conformance::StoreHarness;
use crate::conformance::fixture::{A, B, Fixture, LEASE, message, names, request, settlement};

/// Leases below a second are kept to the millisecond, whatever the time of their start.
pub async fn leases_of_900_ms_never_overlap<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.advance(137);
    fixture.enqueue(&["m"]).await;
    let short = |worker| ClaimRequest {
        lease: Duration::from_millis(900),
        max_abandoned: 100,
        ..request(worker, 1)
    };
    for round in 0..12 {
        let worker = if round % 2 == 0 { A } else { B };
        assert_eq!(fixture.claim_with(&short(worker)).await.len(), 1, "round {round}");
        for step in [0, 1, 450, 448] {
            fixture.advance(step);
            assert!(
                fixture.claim_with(&short(B)).await.is_empty(),
                "round {round} + {step} ms"
            );
        }
        fixture.advance(1);
    }
}

/// One stale settlement in a batch is named by its index, and takes no other along.
pub async fn a_stale_settlement_is_refused_and_named_and_the_rest_is_settled<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue(&["a", "b", "c"]).await;
    let stale = fixture.claim(A, 3).await;
    let [a, b, c] = stale.as_slice() else {
        panic!("three are due")
    };
    assert!(
        fixture
            .settle_one(
                b,
                Verdict::Release {
                    after: Duration::ZERO
                },
                ""
            )
            .await
    );
    let taken = fixture.claim_one(B).await;
    assert_eq!(taken.id, "b");
    let settlements: Vec<Settlement<'_, _>> = [a, b, c]
        .map(|held| settlement(held, Verdict::Complete, ""))
        .into();
    let settled = fixture.store.settle(&settlements).await.expect("a settlement");
    assert_eq!(settled.applied(), 2);
    assert_eq!(settled.overtaken().collect::<Vec<_>>(), [1]);
    assert_eq!(fixture.status("b").await, Some(Status::InFlight));
    assert_eq!(
        fixture.entry("b").await.map(|entry| entry.fence()),
        Some(taken.claim.fence)
    );
    assert!(fixture.complete(&taken).await);
}

/// The work was done, once: a late settlement counts as long as nobody else has the message.
pub async fn a_lapsed_claim_that_nobody_overtook_still_settles<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue(&["m"]).await;
    let held = fixture.claim_one(A).await;
    fixture.advance(31_000);
    assert!(fixture.complete(&held).await);
    assert!(fixture.claim(B, 1).await.is_empty());
}

/// A late renewal counts as long as nobody else has the message, and holds from then on.
pub async fn a_lapsed_claim_that_nobody_overtook_still_renews<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue(&["m"]).await;
    let held = fixture.claim_one(A).await;
    fixture.advance(31_000);
    assert!(fixture.renew(&held, Duration::from_millis(500)).await);
    fixture.advance(499);
    assert!(fixture.claim(B, 1).await.is_empty());
    fixture.advance(1);
    assert_eq!(fixture.claim(B, 1).await.len(), 1);
}

/// Renewing for less than what is left changes nothing.
pub async fn a_renewal_never_shortens_a_lease<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue(&["m"]).await;
    let held = fixture.claim_one(A).await;
    assert!(fixture.renew(&held, Duration::from_millis(10)).await);
    fixture.advance(29_999);
    assert!(fixture.claim(B, 1).await.is_empty());
    assert!(fixture.renew(&held, Duration::from_secs(30)).await);
    fixture.advance(29_999);
    assert!(fixture.claim(B, 1).await.is_empty());
    fixture.advance(1);
    assert_eq!(fixture.claim(B, 1).await.len(), 1);
}

/// A renewal counts the claims that still hold, and touches no others.
pub async fn an_overtaken_claim_does_not_renew<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue(&["lost", "kept", "done"]).await;
    let mine = fixture.claim(A, 3).await;
    let [lost, kept, done] = mine.as_slice() else {
        panic!("three are due")
    };
    assert!(fixture.complete(done).await);
    assert!(
        fixture
            .settle_one(
                lost,
                Verdict::Release {
                    after: Duration::ZERO
                },
                ""
            )
            .await
    );
    let taken = fixture.claim_one(B).await;
    let before = fixture.entry("lost").await;
    let claims = [lost.claim, kept.claim, done.claim];
    assert_eq!(
        fixture.store.renew(&claims, 2 * LEASE).await.expect("a renewal"),
        1
    );
    assert_eq!(fixture.entry("lost").await, before);
    fixture.advance(31_000);
    assert_eq!(names(&fixture.claim(A, 5).await), ["lost"]);
    assert!(!fixture.complete(&taken).await);
}

/// The fence is worker and attempt: the same worker's earlier claim is stale too.
pub async fn a_worker_is_fenced_off_from_its_own_earlier_claim<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue(&["m"]).await;
    let first = fixture.claim_one(A).await;
    fixture.advance(30_000);
    let second = fixture.claim_one(A).await;
    assert_eq!((first.claim.fence.attempt, second.claim.fence.attempt), (1, 2));
    assert!(!fixture.complete(&first).await);
    assert!(!fixture.renew(&first, LEASE).await);
    assert_eq!(fixture.entry("m").await.map(|entry| entry.abandoned()), Some(1));
    assert!(fixture.complete(&second).await);
}

/// A claim that was settled is used up, whatever the verdict was, also when its row was deleted and the
/// place of the row given to another message.
pub async fn a_claim_settles_once<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    for verdict in [
        Verdict::Complete,
        Verdict::Retry { after: LEASE },
        Verdict::Release { after: LEASE },
        Verdict::Bury,
    ] {
        let id = format!("{verdict:?}");
        fixture.commit(vec![message(&id)]).await;
        let held = fixture.claim_one(A).await;
        assert!(fixture.settle_one(&held, verdict, "why").await);
        fixture.enqueue(&["next"]).await;
        let next = fixture.claim_one(A).await;
        let before = (fixture.entry(&id).await, fixture.entry("next").await);
        for again in [Verdict::Complete, Verdict::Bury, verdict] {
            assert!(
                !fixture.settle_one(&held, again, "again").await,
                "{verdict:?}, {again:?}"
            );
        }
        assert!(!fixture.renew(&held, LEASE).await);
        assert_eq!((fixture.entry(&id).await, fixture.entry("next").await), before);
        assert!(fixture.complete(&next).await);
    }
}

/// A message that takes its workers down again and again is given up, and says why.
pub async fn an_abandoned_message_ends_dead_with_a_reason<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue_keyed("k", &["killer", "next"]).await;
    let request = ClaimRequest {
        max_abandoned: 3,
        ..request(A, 10)
    };
    for round in 0..3 {
        assert_eq!(names(&fixture.claim_with(&request).await), ["killer"]);
        assert_eq!(
            fixture.entry("killer").await.map(|entry| entry.abandoned()),
            Some(round)
        );
        fixture.advance(30_000);
    }
    assert_eq!(names(&fixture.claim_with(&request).await), [""; 0]);
    let entry = fixture.entry("killer").await.expect("it is kept");
    assert_eq!((entry.state().status(), entry.abandoned()), (Status::Dead, 3));
    assert_eq!(entry.fence().attempt, 3);
    assert!(
        !fixture.last_error("killer").await.is_empty(),
        "a dead letter has a reason"
    );
    assert_eq!(names(&fixture.claim_with(&request).await), ["next"]);
}

/// What a claim buries counts against its limit, so that one claim does a bounded amount of work.
pub async fn a_buried_message_uses_up_a_place_of_the_claim<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue(&["killer"]).await;
    let request = ClaimRequest {
        max_abandoned: 1,
        ..request(A, 1)
    };
    assert_eq!(fixture.claim_with(&request).await.len(), 1);
    fixture.advance(30_000);
    fixture.enqueue(&["next"]).await;
    assert_eq!(names(&fixture.claim_with(&request).await), [""; 0]);
    assert_eq!(fixture.status("killer").await, Some(Status::Dead));
    assert_eq!(names(&fixture.claim_with(&request).await), ["next"]);
}
