//! Claims, settlements, renewals and the order within a key, in virtual time and without threads.

use std::time::Duration;

use crate::common::*;
use postbox::claim::{Fence, State, Status, Verdict};
use postbox::message::OutboxMessage;
use postbox::store::{
    ClaimRef, ClaimedMessage, DeadPolicy, MAX_BATCH, OutboxCounts, OutboxOperator, OutboxOptions,
    OutboxStore, Settlement,
};
use postbox::time::Clock;
use postbox_sqlite::{SqliteError, SqliteOptions};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_claim_returns_the_message_as_it_was_committed() {
    let bench = Bench::new();
    let full = OutboxMessage::command("m-1", "thing.do", vec![0, 159, 146, 150])
        .unwrap()
        .with_key("schlüssel")
        .and_then(|message| message.with_header("tenant", "acme"))
        .and_then(|message| message.with_content_type("application/x-thing"))
        .unwrap();
    bench.commit(vec![full.clone(), message("m-2")]);
    bench.clock.advance(SECOND);
    let batch = bench.claim(B, 10);
    assert_eq!(ids(&batch), ["m-1", "m-2"]);
    let (view, original) = (batch[0].message(), full.as_ref());
    assert_eq!(
        (view.name, view.kind, view.key),
        (original.name, original.kind, original.key)
    );
    assert_eq!(
        (view.payload, view.content_type),
        (original.payload, original.content_type)
    );
    assert_eq!(view.headers, original.headers);
    assert_eq!(
        batch[0].claim().fence,
        Fence {
            worker: B,
            attempt: 1
        }
    );
    assert_eq!((batch[0].failures(), batch[0].age()), (0, SECOND));
    assert_eq!(batch[1].message().key, None);
    assert!(bench.claim(A, 10).is_empty());
}

#[test]
fn a_stale_settlement_is_named_and_the_rest_of_the_batch_is_settled() {
    let bench = Bench::new();
    bench.commit(vec![message("m-1"), message("m-2"), message("m-3")]);
    let mine = bench.claim(A, 3);
    bench.clock.advance(LEASE);
    let theirs = bench.claim_ids(B, &["m-2"]);
    assert_eq!(theirs[0].claim().fence.attempt, 2);
    let settlements: Vec<_> = mine
        .iter()
        .map(|claimed| settlement(claimed.claim(), Verdict::Complete))
        .collect();
    let settled = block_on(bench.store.settle(&settlements)).unwrap();
    assert_eq!(settled.applied(), 2);
    assert_eq!(settled.overtaken().collect::<Vec<_>>(), [1]);
    assert!(bench.settle(theirs[0].claim(), Verdict::Complete));
    assert_eq!(block_on(bench.store.counts()).unwrap(), OutboxCounts::default());
}

#[test]
fn a_key_is_never_used_twice_so_a_late_settlement_meets_no_other_message() {
    let bench = Bench::new();
    bench.commit(vec![message("m-1")]);
    let first = bench.claim(A, 1)[0].claim();
    assert!(bench.settle(first, Verdict::Complete));
    bench.commit(vec![message("m-2")]);
    let second = bench.claim(A, 1)[0].claim();
    assert_eq!(first.fence, second.fence);
    assert_ne!(first.key, second.key);
    assert!(!bench.settle(first, Verdict::Complete));
}

#[test]
fn a_lease_is_renewed_but_never_shortened_and_only_for_its_holder() {
    let bench = Bench::new();
    bench.commit(vec![message("m-1"), message("m-2")]);
    let claims: Vec<_> = bench.claim(A, 2).iter().map(ClaimedMessage::claim).collect();
    let stale = ClaimRef {
        fence: Fence {
            worker: A,
            attempt: 9,
        },
        ..claims[1]
    };
    assert_eq!(
        block_on(bench.store.renew(&[claims[0], stale], LEASE * 2)).unwrap(),
        1
    );
    assert_eq!(block_on(bench.store.renew(&claims[..1], SECOND)).unwrap(), 1);
    bench.clock.advance(LEASE);
    assert_eq!(ids(&bench.claim(B, 10)), ["m-2"]);
    bench.clock.advance(Duration::from_micros(9_999_999));
    assert!(bench.claim_ids(B, &["m-1"]).is_empty());
    bench.clock.advance(Duration::from_micros(1));
    assert_eq!(ids(&bench.claim_ids(B, &["m-1"])), ["m-1"]);
}

#[test]
fn within_a_key_one_message_at_a_time_is_free_and_other_keys_go_on() {
    let bench = Bench::new();
    bench.commit(vec![
        keyed("a-1", "a"),
        keyed("a-2", "a"),
        keyed("b-1", "b"),
        keyed("a-3", "a"),
    ]);
    let first = bench.claim(A, 10);
    assert_eq!(ids(&first), ["a-1", "b-1"]);
    assert!(bench.claim_ids(B, &["a-2", "a-3"]).is_empty());
    // A head that failed holds its key up while it backs off.
    assert!(bench.settle(first[0].claim(), Verdict::Retry { after: SECOND }));
    assert!(bench.claim(B, 10).is_empty());
    bench.clock.advance(SECOND);
    let again = bench.claim(B, 10);
    assert_eq!(ids(&again), ["a-1"]);
    assert_eq!(again[0].failures(), 1);
    assert!(bench.settle(again[0].claim(), Verdict::Complete));
    assert_eq!(ids(&bench.claim(A, 10)), ["a-2"]);
}

#[test]
fn messages_are_born_claimed_only_when_due_and_first_of_their_key() {
    let bench = Bench::new();
    let late = message("late").with_delay(SECOND);
    let committed = bench.commit_claimed(vec![keyed("a-1", "a"), keyed("a-2", "a"), late, message("free")]);
    let born: Vec<_> = committed.messages.iter().map(|m| m.claim.is_some()).collect();
    assert_eq!(born, [true, false, false, true]);
    assert!(bench.claim(B, 10).is_empty());
    assert!(bench.settle(committed.messages[0].claim.unwrap(), Verdict::Complete));
    assert_eq!(ids(&bench.claim(B, 10)), ["a-2"]);
    bench.clock.advance(SECOND);
    assert_eq!(ids(&bench.claim(B, 10)), ["late"]);
    let stored = block_on(bench.store.find("free")).unwrap().unwrap();
    assert_eq!(
        stored.entry.state(),
        State::InFlight {
            until: stored.entry.committed() + LEASE
        }
    );
}

#[test]
fn a_message_that_kills_its_workers_ends_dead_with_a_reason_and_frees_its_key() {
    let bench = Bench::new();
    bench.commit(vec![keyed("a-1", "a"), keyed("a-2", "a"), message("other")]);
    for attempt in 1..=3 {
        let batch = bench.claim_ids(A, &["a-1"]);
        assert_eq!(batch[0].claim().fence.attempt, attempt);
        bench.clock.advance(LEASE);
    }
    // It takes a place of the batch, and is not returned.
    assert!(bench.claim_ids(A, &["a-1"]).is_empty());
    let dead = block_on(bench.store.messages(Status::Dead, 10)).unwrap();
    assert_eq!(dead[0].message.id(), "a-1");
    assert_eq!(dead[0].entry.abandoned(), 3);
    assert_eq!(
        dead[0].entry.state(),
        State::Dead {
            at: bench.clock.now()
        }
    );
    assert!(dead[0].last_error.as_str().contains("lapsed"));
    assert_eq!(ids(&bench.claim(A, 10)), ["a-2", "other"]);
}

#[test]
fn a_requeued_message_goes_before_those_that_wait_and_its_fence_has_grown() {
    let bench = Bench::new();
    bench.commit(vec![keyed("a-1", "a"), keyed("a-2", "a"), keyed("a-3", "a")]);
    let first = bench.claim(A, 10)[0].claim();
    assert!(bench.settle(first, Verdict::Bury));
    let held = bench.claim(A, 10);
    assert_eq!(ids(&held), ["a-2"]);
    assert_eq!(
        block_on(bench.store.requeue(&["a-1", "a-2", "nobody"])).unwrap(),
        1
    );
    // The holder of a-2 keeps its claim; a-3 waits for both.
    assert_eq!(ids(&bench.claim(B, 10)), ["a-1"]);
    bench.clock.advance(LEASE);
    let again = bench.claim(B, 10);
    assert_eq!(
        ids(&again),
        ["a-1"],
        "a-2 has lapsed, but an earlier one of its key is live"
    );
    assert_eq!(again[0].claim().fence.attempt, 3);
    assert!(!bench.settle(first, Verdict::Complete));
    assert!(bench.settle(again[0].claim(), Verdict::Complete));
    assert!(bench.settle(held[0].claim(), Verdict::Complete));
    assert_eq!(ids(&bench.claim(B, 10)), ["a-3"]);
}

#[test]
fn a_dead_message_blocks_its_key_if_the_policy_says_so_and_the_policy_may_change() {
    let folder = Folder::new();
    let open = |policy| {
        Bench::with(
            SqliteOptions::file(folder.file()),
            OutboxOptions::new().with_dead_policy(policy),
        )
    };
    let bench = open(DeadPolicy::Block);
    bench.commit(vec![keyed("a-1", "a"), keyed("a-2", "a")]);
    assert!(bench.settle(bench.claim(A, 1)[0].claim(), Verdict::Bury));
    assert!(bench.claim(A, 10).is_empty());
    let bench = open(DeadPolicy::Skip);
    assert_eq!(ids(&bench.claim(A, 10)), ["a-2"]);
    let bench = open(DeadPolicy::Block);
    assert!(bench.claim(A, 10).is_empty());
    assert_eq!(block_on(bench.store.requeue(&["a-1"])).unwrap(), 1);
    assert_eq!(ids(&bench.claim(A, 10)), ["a-1"]);
}

#[test]
fn published_messages_are_kept_for_the_retention_and_purged_in_bites() {
    let bench = Bench::with(
        SqliteOptions::memory(),
        OutboxOptions::new().with_retention(SECOND),
    );
    bench.commit((0..5).map(|n| message(&format!("m-{n}"))).collect());
    for claimed in bench.claim(A, 10) {
        assert!(bench.settle(claimed.claim(), Verdict::Complete));
    }
    assert_eq!(block_on(bench.store.counts()).unwrap().published, 5);
    assert_eq!(block_on(bench.store.purge(3)).unwrap(), 0);
    bench.clock.advance(SECOND);
    assert_eq!(block_on(bench.store.purge(3)).unwrap(), 3);
    assert_eq!(block_on(bench.store.purge(3)).unwrap(), 2);
}

#[test]
fn an_uncounted_release_keeps_the_last_error_and_the_count_of_failures() {
    let bench = Bench::new();
    bench.commit(vec![message("m-1")]);
    let retry = Verdict::Retry {
        after: Duration::ZERO,
    };
    assert!(bench.settle(bench.claim(A, 1)[0].claim(), retry));
    let release = Settlement {
        claim: bench.claim(A, 1)[0].claim(),
        verdict: Verdict::Release {
            after: Duration::ZERO,
        },
        error: "",
    };
    block_on(bench.store.settle_soon(&[release])).unwrap();
    let stored = block_on(bench.store.find("m-1")).unwrap().unwrap();
    assert_eq!(stored.entry.failures(), 1);
    assert_eq!(stored.last_error.as_str(), "the broker said no");
    assert_eq!(
        stored.entry.state(),
        State::Pending {
            due: bench.clock.now()
        }
    );
}

#[test]
fn the_bell_rings_when_something_can_be_claimed_or_will_be_and_not_otherwise() {
    use postbox::wakeup::Wakeup;
    use std::task::{Context, Waker};

    let bench = Bench::new();
    let mut watch = bench.store.wakeup();
    let mut rang = || {
        let mut cx = Context::from_waker(Waker::noop());
        std::pin::pin!(watch.wait()).poll(&mut cx).is_ready()
    };
    bench.commit(vec![keyed("a-1", "a")]);
    assert!(rang());
    bench.commit(vec![keyed("a-2", "a")]);
    bench.commit_claimed(vec![keyed("b-1", "b")]);
    assert!(!rang(), "blocked, and held");
    bench.commit(vec![message("later").with_delay(SECOND)]);
    assert!(rang(), "a backstop that sleeps must ask again until when");
    let first = bench.claim(A, 1)[0].claim();
    assert!(!rang());
    assert!(bench.settle(first, Verdict::Complete));
    assert!(rang(), "a-2 is free");
    let second = bench.claim(A, 1)[0].claim();
    assert!(bench.settle(second, Verdict::Retry { after: SECOND }));
    assert!(rang(), "the same");
    bench.clock.advance(SECOND);
    let third = bench.claim_ids(A, &["a-2"])[0].claim();
    assert!(bench.settle(
        third,
        Verdict::Release {
            after: Duration::ZERO
        }
    ));
    assert!(rang());
    let fourth = bench.claim_ids(A, &["a-2"])[0].claim();
    assert!(bench.settle(fourth, Verdict::Bury));
    assert!(!rang(), "nobody waits behind it");
    block_on(bench.store.requeue(&["a-2"])).unwrap();
    assert!(rang());
}

#[test]
fn a_batch_outside_of_its_limits_is_refused() {
    let bench = Bench::new();
    for limit in [0, MAX_BATCH + 1] {
        let refused = block_on(bench.store.claim(&due(A, limit)));
        assert!(matches!(refused, Err(SqliteError::Invalid(_))));
    }
    let claim = ClaimRef {
        key: 1,
        fence: Fence::default(),
    };
    let many = vec![settlement(claim, Verdict::Complete); MAX_BATCH + 1];
    assert!(block_on(bench.store.settle(&many)).is_err());
    assert!(block_on(bench.store.settle(&[])).is_ok());
}
