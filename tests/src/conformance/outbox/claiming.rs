//! Who gets which messages. Leases, failures and keys have files of their own.

use std::time::Duration;

use futures_util::future::join_all;
use postbox::claim::Verdict;
use postbox::id::WorkerId;
use postbox::message::{MessageKind, OutboxMessage};
use postbox::store::{ClaimRequest, ClaimedMessage, OutboxStore, Which};

use crate::conformance::fixture::{A, B, Fixture, delayed, held, keyed, message, names, request, yield_now};
use crate::conformance::{StoreHarness, can};

/// Of many workers, each message is claimed by exactly one.
pub async fn a_claim_has_one_winner_among_many_workers<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let ids: Vec<String> = (0..100).map(|n| format!("m-{n:03}")).collect();
    fixture.commit(ids.iter().map(|id| message(id)).collect()).await;
    let work = |number: u64| {
        let fixture = &fixture;
        async move {
            let mut won = Vec::new();
            loop {
                let batch = fixture.claim(WorkerId::new(number), 7).await;
                if batch.is_empty() {
                    return won;
                }
                assert!(
                    batch
                        .iter()
                        .all(|held| held.claim.fence.worker == WorkerId::new(number))
                );
                won.extend(names(&batch));
                yield_now().await;
            }
        }
    };
    let mut won: Vec<String> = join_all((1..=8).map(work)).await.into_iter().flatten().collect();
    won.sort();
    assert_eq!(won, ids);
}

/// The oldest first, also over several commits; a batch is in commit order.
pub async fn the_oldest_are_claimed_first_and_returned_in_commit_order<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue(&["z", "b", "y"]).await;
    fixture.enqueue(&["a"]).await;
    fixture.advance(5);
    fixture.enqueue(&["x", "c"]).await;
    assert_eq!(names(&fixture.claim(A, 2).await), ["z", "b"]);
    assert_eq!(names(&fixture.claim(B, 3).await), ["y", "a", "x"]);
    assert_eq!(names(&fixture.claim(A, 3).await), ["c"]);
    assert_eq!(names(&fixture.claim(A, 3).await), [""; 0]);
}

/// The choice follows the due time, the order of the batch the commits.
pub async fn what_was_due_first_is_claimed_first<H: StoreHarness>(harness: &H) {
    if !can(
        "what_was_due_first_is_claimed_first",
        harness.delays() && !harness.claims_in_commit_order(),
        "claims by due time",
    ) {
        return;
    }
    let fixture = Fixture::new(harness);
    let late = delayed(message("late"), 1_000);
    let soon = delayed(message("soon"), 500);
    fixture
        .commit(vec![late, soon, delayed(message("between"), 700)])
        .await;
    fixture.advance(1_000);
    assert_eq!(names(&fixture.claim(A, 1).await), ["soon"]);
    assert_eq!(names(&fixture.claim(A, 5).await), ["late", "between"]);
}

/// Nothing of a message is lost or changed on its way through the store.
pub async fn a_claim_carries_the_message_as_it_was_committed<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let payload: Vec<u8> = (0..=255).collect();
    let command = OutboxMessage::command("m-ü", "thing.do", payload.clone())
        .and_then(|message| message.with_key("kéy"))
        .and_then(|message| message.with_header("tenant", "acmé: 1"))
        .and_then(|message| message.with_correlation_id("c-1"))
        .and_then(|message| message.with_content_type("application/x-thing"));
    fixture.commit(vec![command.expect("a good message")]).await;
    let batch = fixture.store.claim(&request(A, 5)).await.expect("a claim");
    let claimed = batch.first().expect("it is due");
    let message = claimed.message();
    assert_eq!((message.id, message.name), ("m-ü", "thing.do"));
    assert_eq!((message.kind, message.key), (MessageKind::Command, Some("kéy")));
    assert_eq!(message.payload, payload);
    assert_eq!(message.content_type, "application/x-thing");
    assert_eq!(message.headers.get("Tenant"), Some("acmé: 1"));
    assert_eq!(message.headers.get("correlation-id"), Some("c-1"));
    assert_eq!((claimed.failures(), claimed.claim().fence.attempt), (0, 1));
}

/// Whoever gives up old messages must be told how old they are.
pub async fn the_age_of_a_message_counts_from_its_commit<H: StoreHarness>(harness: &H) {
    if !can(
        "the_age_of_a_message_counts_from_its_commit",
        harness.knows_ages(),
        "ages",
    ) {
        return;
    }
    let fixture = Fixture::new(harness);
    fixture.enqueue(&["m"]).await;
    for (worker, pause, age) in [(A, 1_500, 1_500), (B, 30_000, 31_500)] {
        fixture.advance(pause);
        let batch = fixture.store.claim(&request(worker, 5)).await.expect("a claim");
        let claimed = batch.first().expect("it is due");
        assert_eq!(claimed.age(), Duration::from_millis(age));
    }
}

/// A claim by id takes nothing that is leased, missing, published, dead, blocked or not due.
pub async fn claims_by_id_skip_what_is_not_free<H: StoreHarness>(harness: &H) {
    let options = postbox::store::OutboxOptions::new().with_retention(Duration::from_secs(3600));
    let fixture = Fixture::with(harness, options);
    fixture.enqueue(&["dead"]).await;
    fixture.bury_next().await;
    fixture.enqueue(&["published"]).await;
    let published = fixture.claim_one(A).await;
    assert!(fixture.complete(&published).await);
    fixture.enqueue(&["leased"]).await;
    fixture.claim_one(A).await;
    fixture.enqueue_keyed("k", &["head", "blocked"]).await;
    if harness.delays() {
        fixture.commit(vec![delayed(message("delayed"), 10)]).await;
    }
    fixture.commit(vec![keyed("free", "other")]).await;
    let all = [
        "free",
        "delayed",
        "blocked",
        "leased",
        "published",
        "dead",
        "missing",
        "head",
    ];
    assert_eq!(fixture.claim_ids(B, &all).await, ["head", "free"]);
    assert_eq!(fixture.claim_ids(B, &all).await, [""; 0]);
    fixture.advance(10);
    let due = if harness.delays() { &["delayed"][..] } else { &[] };
    assert_eq!(fixture.claim_ids(B, &all).await, due);
}

/// Ids are claimed in commit order whatever the order of the ids, each once, and no more than the limit.
pub async fn claims_by_id_keep_to_the_limit_and_to_commit_order<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue(&["a", "b", "c", "d"]).await;
    let request = ClaimRequest {
        which: Which::Ids(&["d", "b", "b", "c", "d"]),
        ..request(A, 2)
    };
    assert_eq!(names(&fixture.claim_with(&request).await), ["b", "c"]);
    assert_eq!(names(&fixture.claim_with(&request).await), ["d"]);
    assert_eq!(fixture.claim_ids(A, &[]).await, [""; 0]);
    assert_eq!(names(&fixture.claim(A, 9).await), ["a"]);
}

/// A claim returns at most as many messages as it asked for, and changes no others.
pub async fn claims_take_no_more_than_their_limit<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture
        .commit((0..50).map(|n| message(&format!("m-{n}"))).collect())
        .await;
    let batch = fixture.store.claim(&request(A, 20)).await.expect("a claim");
    let batch: Vec<_> = batch.iter().map(held).collect();
    assert_eq!(batch.len(), 20);
    let counts = postbox::store::OutboxOperator::counts(&fixture.store)
        .await
        .expect("counts");
    assert_eq!((counts.in_flight, counts.pending), (20, 30));
    let all: Vec<_> = batch.iter().map(|held| (held, Verdict::Complete)).collect();
    assert_eq!(fixture.settle(&all).await.applied(), 20);
    assert_eq!(fixture.claim(B, 1_000).await.len(), 30);
}
