//! A claim's work does not grow with what it does not return. Counted in rows, not in time.

use std::time::Duration;

use postbox::claim::Verdict;
use postbox::message::OutboxMessage;
use postbox::store::{ClaimRequest, DeadPolicy, MAX_BATCH, OutboxOptions};

use crate::conformance::fixture::{A, B, Fixture, delayed, keyed, message, request};
use crate::conformance::{StoreHarness, skip};

const MANY: usize = 100_000;
const BATCH: usize = 32;

/// 100,000 published messages that are kept.
pub async fn published_messages_do_not_slow_a_claim<H: StoreHarness>(harness: &H) {
    let options = OutboxOptions::new().with_retention(Duration::from_secs(1_000_000));
    claims_stay_cheap(harness, options, "published", async |fixture| {
        settle_many(fixture, Verdict::Complete).await;
    })
    .await;
}

/// 100,000 dead letters.
pub async fn dead_messages_do_not_slow_a_claim<H: StoreHarness>(harness: &H) {
    claims_stay_cheap(harness, OutboxOptions::new(), "dead", async |fixture| {
        settle_many(fixture, Verdict::Bury).await;
    })
    .await;
}

/// 100,000 messages behind one dead letter that blocks its key.
pub async fn blocked_messages_do_not_slow_a_claim<H: StoreHarness>(harness: &H) {
    let options = OutboxOptions::new().with_dead_policy(DeadPolicy::Block);
    claims_stay_cheap(harness, options, "blocked", async |fixture| {
        fixture.enqueue_keyed("stuck", &["head"]).await;
        fixture.bury_next().await;
        commit_many(fixture, |n| keyed(&format!("m-{n}"), "stuck")).await;
    })
    .await;
}

/// 50,000 messages in flight and 50,000 that are not due.
pub async fn leased_and_delayed_messages_do_not_slow_a_claim<H: StoreHarness>(harness: &H) {
    claims_stay_cheap(
        harness,
        OutboxOptions::new(),
        "leased and delayed",
        async |fixture| {
            commit_many(fixture, |n| {
                let message = message(&format!("m-{n}"));
                if n % 2 == 0 {
                    delayed(message, 1_000_000)
                } else {
                    message
                }
            })
            .await;
            let long = ClaimRequest {
                lease: Duration::from_secs(1_000),
                ..request(A, MAX_BATCH)
            };
            while !fixture.claim_with(&long).await.is_empty() {}
        },
    )
    .await;
}

/// Compares the rows that claims look at in an outbox without and with `ballast`.
async fn claims_stay_cheap<H: StoreHarness>(
    harness: &H,
    options: OutboxOptions,
    ballast: &str,
    load: impl AsyncFnOnce(&Fixture<H>),
) {
    let fixture = Fixture::with(harness, options);
    let Some(start) = harness.rows_visited(&fixture.repository) else {
        return skip(&format!("{ballast} messages do not slow a claim"), "counted work");
    };
    let empty = pass(&fixture, "before").await;
    let unloaded = harness.rows_visited(&fixture.repository).unwrap_or(start) - start;
    load(&fixture).await;
    let start = harness.rows_visited(&fixture.repository).unwrap_or_default();
    let loaded = pass(&fixture, "after").await;
    let visited = harness.rows_visited(&fixture.repository).unwrap_or(u64::MAX) - start;
    assert_eq!((empty, loaded), (BATCH, BATCH));
    assert!(
        visited <= 3 * unloaded,
        "{visited} rows instead of {unloaded}: {MANY} {ballast} messages are looked at"
    );
}

/// Commits and claims one batch, with and without keys; returns how many were claimed.
async fn pass<H: StoreHarness>(fixture: &Fixture<H>, name: &str) -> usize {
    let fresh = |n: usize| match n % 2 {
        0 => message(&format!("{name}-{n}")),
        _ => keyed(&format!("{name}-{n}"), &format!("{name}-{n}")),
    };
    fixture.commit((0..BATCH).map(fresh).collect()).await;
    let batch = fixture.claim(B, BATCH).await;
    assert!(fixture.claim(B, BATCH).await.is_empty());
    let all: Vec<_> = batch.iter().map(|held| (held, Verdict::Complete)).collect();
    fixture.settle(&all).await.applied()
}

async fn commit_many<H: StoreHarness>(fixture: &Fixture<H>, make: impl Fn(usize) -> OutboxMessage) {
    for start in (0..MANY).step_by(1_000) {
        fixture.commit((start..start + 1_000).map(&make).collect()).await;
    }
}

async fn settle_many<H: StoreHarness>(fixture: &Fixture<H>, verdict: Verdict) {
    commit_many(fixture, |n| message(&format!("m-{n}"))).await;
    let mut settled = 0;
    while settled < MANY {
        let batch = fixture.claim(A, MAX_BATCH).await;
        assert!(
            !batch.is_empty(),
            "{settled} of {MANY} were settled, and the rest is not free"
        );
        let all: Vec<_> = batch.iter().map(|held| (held, verdict)).collect();
        settled += fixture.settle(&all).await.applied();
    }
}
