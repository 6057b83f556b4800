//! What is kept, for how long, and what an operator sees of it.

use std::time::Duration;

use postbox::aggregate::{CommitBatch, Repository, RepositoryError};
use postbox::claim::{Status, Verdict};
use postbox::store::{OutboxCounts, OutboxOperator, OutboxOptions, OutboxStore};

use crate::conformance::fixture::{A, B, Fixture, delayed, keyed, message, names};
use crate::conformance::{StoreHarness, can};

/// Unless told otherwise, the outbox does not grow: what is published is deleted.
pub async fn without_a_retention_a_published_message_is_gone<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue(&["m"]).await;
    let held = fixture.claim_one(A).await;
    assert!(fixture.complete(&held).await);
    assert!(fixture.entry("m").await.is_none());
    assert_eq!(
        fixture.store.counts().await.expect("counts"),
        OutboxCounts::default()
    );
    assert_eq!(fixture.store.purge(10).await.expect("a purge"), 0);
}

/// With a retention, published messages stay that long, and are then purged a bite at a time.
pub async fn published_messages_are_purged_in_bounded_bites<H: StoreHarness>(harness: &H) {
    if !can(
        "published_messages_are_purged_in_bounded_bites",
        harness.retention(),
        "retention",
    ) {
        return;
    }
    let fixture = Fixture::with(harness, hour());
    fixture
        .commit((0..10).map(|n| message(&format!("m-{n}"))).collect())
        .await;
    let batch = fixture.claim(A, 10).await;
    let all: Vec<_> = batch.iter().map(|held| (held, Verdict::Complete)).collect();
    assert_eq!(fixture.settle(&all).await.applied(), 10);
    assert_eq!(fixture.store.counts().await.expect("counts").published, 10);
    fixture.advance(3_599_999);
    assert_eq!(fixture.store.purge(3).await.expect("a purge"), 0);
    fixture.advance(1);
    for (purged, left) in [(3, 7), (3, 4), (3, 1), (1, 0), (0, 0)] {
        assert_eq!(fixture.store.purge(3).await.expect("a purge"), purged);
        assert_eq!(fixture.store.counts().await.expect("counts").published, left);
    }
}

/// A purge deletes by when a message was published, whenever it was committed, and nothing unpublished.
pub async fn a_purge_takes_nothing_but_what_was_published_long_ago<H: StoreHarness>(harness: &H) {
    if !can(
        "a_purge_takes_nothing_but_what_was_published_long_ago",
        harness.retention(),
        "retention",
    ) {
        return;
    }
    let fixture = Fixture::with(harness, hour());
    fixture.enqueue(&["dead"]).await;
    fixture.bury_next().await;
    fixture.enqueue(&["late", "early", "pending"]).await;
    let early = fixture.claim_ids(A, &["early"]).await;
    assert_eq!(early, ["early"]);
    fixture.advance(1_000);
    let late = fixture.claim_one(B).await;
    assert_eq!(late.id, "late");
    fixture.advance(3_600_000);
    assert!(fixture.complete(&late).await);
    assert_eq!(fixture.store.purge(10).await.expect("a purge"), 0);
    assert_eq!(fixture.status("late").await, Some(Status::Published));
    fixture.advance(3_600_000);
    assert_eq!(fixture.store.purge(10).await.expect("a purge"), 1);
    for (id, status) in [
        ("late", None),
        ("dead", Some(Status::Dead)),
        ("early", Some(Status::InFlight)),
        ("pending", Some(Status::Pending)),
    ] {
        assert_eq!(fixture.status(id).await, status, "{id}");
    }
}

/// An id stands for one message, from its commit until the message is deleted.
pub async fn an_id_is_taken_as_long_as_its_message_is_kept<H: StoreHarness>(harness: &H) {
    if !can(
        "an_id_is_taken_as_long_as_its_message_is_kept",
        harness.takes_ids() && harness.retention(),
        "ids of the committer's choice",
    ) {
        return;
    }
    let fixture = Fixture::with(harness, hour());
    fixture.enqueue(&["m"]).await;
    assert!(is_duplicate(&fixture, "m").await, "pending");
    let held = fixture.bury_next().await;
    assert!(is_duplicate(&fixture, &held.id).await, "dead");
    assert_eq!(fixture.requeue(&["m"]).await, 1);
    let held = fixture.claim_one(A).await;
    assert!(is_duplicate(&fixture, "m").await, "in flight");
    assert!(fixture.complete(&held).await);
    assert!(is_duplicate(&fixture, "m").await, "published");
    fixture.advance(3_600_000);
    assert_eq!(fixture.store.purge(1).await.expect("a purge"), 1);
    assert!(!is_duplicate(&fixture, "m").await, "purged");
    assert!(!fixture.complete(&held).await, "the new message is another one");
    assert_eq!(fixture.status("m").await, Some(Status::Pending));
}

/// Three ways to look at the outbox show the same.
pub async fn counts_listings_and_look_ups_agree<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::with(harness, hour());
    fixture.enqueue(&["d2", "d1"]).await;
    fixture.bury_next().await;
    fixture.bury_next().await;
    fixture.enqueue(&["p1"]).await;
    let published = fixture.claim_one(A).await;
    assert!(fixture.complete(&published).await);
    fixture.enqueue(&["i2", "i1", "i3"]).await;
    fixture.claim(A, 3).await;
    fixture.enqueue_keyed("k", &["w2", "w1"]).await;
    let last = message("w0");
    let last = if harness.delays() { delayed(last, 50) } else { last };
    fixture.commit(vec![last]).await;
    let kept = if harness.retention() { &["p1"][..] } else { &[] };
    let expected = OutboxCounts {
        pending: 3,
        in_flight: 3,
        published: kept.len() as u64,
        dead: 2,
    };
    assert_eq!(fixture.store.counts().await.expect("counts"), expected);
    for (status, ids) in [
        (Status::Pending, &["w2", "w1", "w0"][..]),
        (Status::InFlight, &["i2", "i1", "i3"]),
        (Status::Published, kept),
        (Status::Dead, &["d2", "d1"]),
    ] {
        assert_eq!(listed(&fixture, status, 100).await, ids);
        assert_eq!(listed(&fixture, status, 1).await, ids[..ids.len().min(1)]);
        for id in ids {
            assert_eq!(fixture.status(id).await, Some(status));
        }
    }
    assert!(fixture.entry("missing").await.is_none());
}

/// Durable stores: a crash loses no commit, no claim, no verdict, and takes no fence back.
pub async fn a_reopened_store_has_everything_it_had<H: StoreHarness>(harness: &H) {
    let durable = harness.is_durable() && harness.keeps_claims();
    if !can(
        "a_reopened_store_has_everything_it_had",
        durable,
        "durability of claims",
    ) {
        return;
    }
    let fixture = Fixture::with(harness, hour());
    fixture.enqueue(&["dead", "published"]).await;
    fixture.bury_next().await;
    let published = fixture.claim_one(A).await;
    assert!(fixture.complete(&published).await);
    let before_crash = fixture
        .commit_claimed(A, vec![keyed("k1", "k"), keyed("k2", "k")])
        .await;
    let ids = ["dead", "published", "k1", "k2"];
    let mut before = Vec::new();
    for id in ids {
        before.push(fixture.entry(id).await);
    }
    let Fixture {
        repository, store, ..
    } = fixture;
    drop(store);
    let repository = harness.reopen(repository, hour());
    let fixture = Fixture::over(harness, repository);
    for (id, entry) in ids.into_iter().zip(before) {
        assert_eq!(fixture.entry(id).await, entry, "{id}");
    }
    assert_eq!(fixture.last_error("dead").await, "poison");
    fixture.enqueue_keyed("k", &["k3"]).await;
    assert!(fixture.claim(B, 9).await.is_empty());
    fixture.advance(30_000);
    let taken = fixture.claim(B, 9).await;
    assert_eq!(names(&taken), ["k1"]);
    let lost = before_crash.into_iter().flatten().next().expect("it was free");
    assert!(!fixture.complete(&lost).await);
    assert!(fixture.complete(&taken[0]).await);
    assert_eq!(names(&fixture.claim(B, 9).await), ["k2"]);
}

/// Durable stores that keep messages alone: a crash loses no message, and nobody's claim stands in the way.
pub async fn a_reopened_store_that_keeps_no_claims_has_every_message_pending<H: StoreHarness>(harness: &H) {
    let messages_alone = harness.is_durable() && !harness.keeps_claims();
    let check = "a_reopened_store_that_keeps_no_claims_has_every_message_pending";
    if !can(check, messages_alone, "durability of messages alone") {
        return;
    }
    let fixture = Fixture::new(harness);
    fixture.enqueue(&["dead", "published"]).await;
    fixture.bury_next().await;
    let published = fixture.claim_one(A).await;
    assert!(fixture.complete(&published).await);
    fixture.enqueue_keyed("k", &["k1", "k2"]).await;
    assert_eq!(names(&fixture.claim(A, 9).await), ["k1"]);
    let Fixture {
        repository, store, ..
    } = fixture;
    drop(store);
    let fixture = Fixture::over(harness, harness.reopen(repository, OutboxOptions::new()));
    assert_eq!(listed(&fixture, Status::Pending, 9).await, ["dead", "k1", "k2"]);
    let batch = fixture.claim(B, 9).await;
    assert_eq!(names(&batch), ["dead", "k1"]);
    assert!(
        batch
            .iter()
            .all(|held| (held.failures, held.claim.fence.attempt) == (0, 1))
    );
    assert!(fixture.complete(&batch[1]).await);
    assert_eq!(names(&fixture.claim(B, 9).await), ["k2"]);
}

fn hour() -> OutboxOptions {
    OutboxOptions::new().with_retention(Duration::from_secs(3_600))
}

async fn listed<H: StoreHarness>(fixture: &Fixture<H>, status: Status, limit: usize) -> Vec<String> {
    let listed = fixture.store.messages(status, limit).await.expect("a listing");
    assert!(
        listed
            .iter()
            .all(|stored| stored.entry.state().status() == status)
    );
    listed
        .iter()
        .map(|stored| stored.message.id().to_owned())
        .collect()
}

/// Whether a message with this id is refused; otherwise it is stored.
async fn is_duplicate<H: StoreHarness>(fixture: &Fixture<H>, id: &str) -> bool {
    let batch = CommitBatch {
        messages: vec![message(id)],
        ..CommitBatch::new()
    };
    match fixture.repository.commit(batch).await {
        Ok(_) => false,
        Err(RepositoryError::DuplicateMessage { id: refused }) => refused == id,
        Err(error) => panic!("{error}"),
    }
}
