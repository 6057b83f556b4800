//! Messages that are claimed by the commit that stores them: the immediate path.

use postbox::claim::{Status, Verdict};
use postbox::store::{DeadPolicy, OutboxOptions};

use crate::conformance::fixture::{A, B, Fixture, delayed, keyed, message, names};
use crate::conformance::{StoreHarness, can};

/// A commit that asks for it gets the claims of its messages, in their order.
pub async fn a_message_is_born_claimed_when_it_is_due_and_the_head<H: StoreHarness>(harness: &H) {
    if !can(
        "a_message_is_born_claimed_when_it_is_due_and_the_head",
        harness.births(),
        "births",
    ) {
        return;
    }
    let fixture = Fixture::new(harness);
    let born = fixture
        .commit_claimed(A, vec![message("f"), keyed("k1", "k")])
        .await;
    let born: Vec<_> = born.into_iter().map(|held| held.expect("it is free")).collect();
    assert_eq!(names(&born), ["f", "k1"]);
    for held in &born {
        let fence = held.claim.fence;
        assert_eq!((fence.worker, fence.attempt), (A, 1));
        let entry = fixture.entry(&held.id).await.expect("it is stored");
        assert_eq!((entry.state().status(), entry.fence()), (Status::InFlight, fence));
    }
    assert!(fixture.claim(B, 9).await.is_empty());
    let behind = fixture
        .commit_claimed(A, vec![keyed("k2", "k"), message("g")])
        .await;
    assert_eq!(
        behind.iter().map(Option::is_some).collect::<Vec<_>>(),
        [false, true]
    );
    assert_eq!(fixture.status("k2").await, Some(Status::Pending));
    assert_eq!(
        fixture.entry("k2").await.map(|entry| entry.fence().attempt),
        Some(0)
    );
    assert!(fixture.complete(&born[1]).await);
    assert_eq!(names(&fixture.claim(B, 9).await), ["k2"]);
}

/// What is not due cannot be claimed, not even at birth.
pub async fn a_delayed_message_is_born_pending<H: StoreHarness>(harness: &H) {
    if !can("a_delayed_message_is_born_pending", harness.births(), "births") {
        return;
    }
    let fixture = Fixture::new(harness);
    let messages = vec![
        delayed(message("m"), 100),
        delayed(keyed("k1", "k"), 100),
        keyed("k2", "k"),
    ];
    let born = fixture.commit_claimed(A, messages).await;
    assert!(born.iter().all(Option::is_none));
    fixture.advance(99);
    assert!(fixture.claim(B, 9).await.is_empty());
    fixture.advance(1);
    assert_eq!(names(&fixture.claim(B, 9).await), ["m", "k1"]);
}

/// Two messages of one key in one commit are published one after the other.
pub async fn of_two_messages_of_one_key_only_the_first_is_born_claimed<H: StoreHarness>(harness: &H) {
    if !can(
        "of_two_messages_of_one_key_only_the_first_is_born_claimed",
        harness.births(),
        "births",
    ) {
        return;
    }
    let fixture = Fixture::new(harness);
    let born = fixture
        .commit_claimed(A, vec![keyed("k1", "k"), keyed("k2", "k")])
        .await;
    let [Some(first), None] = born.as_slice() else {
        panic!("{born:?}")
    };
    assert!(fixture.claim(B, 9).await.is_empty());
    assert!(fixture.complete(first).await);
    assert_eq!(names(&fixture.claim(B, 9).await), ["k2"]);
}

/// A dead letter of the key stands in the way of a birth exactly if it stands in the way of a claim.
pub async fn a_message_behind_a_dead_one_is_born_as_the_policy_says<H: StoreHarness>(harness: &H) {
    if !can(
        "a_message_behind_a_dead_one_is_born_as_the_policy_says",
        harness.births(),
        "births",
    ) {
        return;
    }
    let options = OutboxOptions::new().with_dead_policy(DeadPolicy::Block);
    let fixture = Fixture::with(harness, options);
    fixture.enqueue_keyed("k", &["k1"]).await;
    fixture.bury_next().await;
    let born = fixture
        .commit_claimed(A, vec![keyed("k2", "k"), message("free")])
        .await;
    assert_eq!(
        born.iter().map(Option::is_some).collect::<Vec<_>>(),
        [false, true]
    );
}

/// A birth holds for the whole lease from the commit on, by the store's clock, and no longer.
pub async fn the_lease_of_a_birth_starts_at_the_commit<H: StoreHarness>(harness: &H) {
    if !can(
        "the_lease_of_a_birth_starts_at_the_commit",
        harness.births(),
        "births",
    ) {
        return;
    }
    let fixture = Fixture::new(harness);
    fixture.advance(12_345);
    let born = fixture.commit_claimed(A, vec![message("m")]).await;
    assert_eq!(born.len(), 1);
    fixture.advance(29_999);
    assert!(fixture.claim(B, 1).await.is_empty());
    fixture.advance(1);
    let taken = fixture.claim_one(B).await;
    assert_eq!(taken.claim.fence.attempt, 2);
    let born = born.into_iter().flatten().next().expect("it was free");
    assert!(!fixture.complete(&born).await);
}

/// A birth is settled, renewed and fenced as a claim is.
pub async fn a_birth_is_settled_like_any_claim<H: StoreHarness>(harness: &H) {
    if !can("a_birth_is_settled_like_any_claim", harness.births(), "births") {
        return;
    }
    let fixture = Fixture::new(harness);
    let born = fixture
        .commit_claimed(A, vec![message("a"), message("b"), message("c")])
        .await;
    let born: Vec<_> = born.into_iter().flatten().collect();
    let [a, b, c] = born.as_slice() else {
        panic!("all are free")
    };
    assert!(fixture.renew(a, 2 * crate::conformance::fixture::LEASE).await);
    let after = std::time::Duration::from_millis(5);
    let verdicts = [(b, Verdict::Bury), (c, Verdict::Retry { after })];
    assert_eq!(fixture.settle(&verdicts).await.applied(), 2);
    assert_eq!(fixture.status("b").await, Some(Status::Dead));
    fixture.advance(30_000);
    assert_eq!(names(&fixture.claim(B, 9).await), ["c"]);
    assert!(fixture.complete(a).await);
}
