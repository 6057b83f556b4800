//! One pass of the dispatcher: what it counts, what it gives up, what it survives.
#![allow(
    clippy::expect_used,
    clippy::large_futures,
    reason = "a panic is the report, and a test has room"
)]

#[path = "dispatcher/failures.rs"]
mod failures;
mod support;

use std::time::Duration;

use postbox::claim::Status;
use postbox::dispatcher::{DispatchError, DispatchOutcome, OutboxDispatcher};
use postbox::id::{Invalid, WorkerId};
use postbox::lease::Lease;
use postbox::retry::RetryPolicy;
use postbox::store::{ClaimRequest, OutboxStore, Which};
use postbox::testing::VirtualClock;
use postbox::time::Clock;
use postbox_hashmap::HashMapOutboxStore;

use support::script::{Script, Step};
use support::{World, config, keyed, message, secs};

type Dispatcher = OutboxDispatcher<HashMapOutboxStore, Script, VirtualClock>;

fn dispatcher(world: &World, script: &Script) -> Dispatcher {
    worker(world, script, 1, secs(30))
}

fn worker(world: &World, script: &Script, id: u64, lease: Duration) -> Dispatcher {
    OutboxDispatcher::new(world.store.clone(), script.clone(), config(id, lease))
        .with_timer(world.clock.clone())
}

fn counted(outcome: &DispatchOutcome) -> [usize; 6] {
    [
        outcome.claimed,
        outcome.published,
        outcome.retried,
        outcome.released,
        outcome.dead,
        outcome.overtaken,
    ]
}

#[test]
fn every_claimed_message_is_in_exactly_one_count() {
    let world = World::new();
    let script = Script::new(&world.clock);
    script.on("b", &[Step::Retryable]).on("c", &[Step::Permanent]);
    world.run(async {
        world.enqueue(&["a", "b", "c", "d"]).await;
        let outcome = dispatcher(&world, &script)
            .dispatch_batch(10)
            .await
            .expect("a pass");
        assert_eq!(counted(&outcome), [4, 2, 1, 0, 1, 0]);
        assert_eq!(outcome.requested, 10);
        assert!(!outcome.unavailable);
        assert!(outcome.next_due.is_some());
        assert_eq!(world.status("c").await, Some(Status::Dead));
        assert_eq!(world.last_error("c").await, "too large");
        assert_eq!(world.failures("b").await, 1);
        assert_eq!(world.last_error("b").await, "try again");
    });
}

#[test]
fn an_empty_outbox_is_an_empty_outcome() {
    let world = World::new();
    let script = Script::new(&world.clock);
    let outcome = world.run(async {
        dispatcher(&world, &script)
            .dispatch_batch(3)
            .await
            .expect("a pass")
    });
    assert_eq!(counted(&outcome), [0; 6]);
    assert_eq!(outcome.next_due, None);
}

#[test]
fn a_long_batch_keeps_its_lease_while_it_moves() {
    let world = World::new();
    let script = Script::new(&world.clock);
    script.otherwise(Step::Slow(secs(1)));
    world.run(async {
        // One at a time: 20 s of publishing under a lease of 3 s.
        let names: Vec<String> = (0..160).map(|n| format!("m-{n:03}")).collect();
        world.commit(names.iter().map(|id| message(id)).collect()).await;
        let first = worker(&world, &script, 1, secs(3));
        let second = worker(&world, &script, 2, secs(3));
        let start = world.clock.now();
        let rival = async {
            let mut stolen = 0;
            for _ in 0..19 {
                world.sleep(secs(1)).await;
                stolen += second.dispatch_batch(160).await.expect("a pass").claimed;
            }
            stolen
        };
        let (outcome, stolen) = futures_util::future::join(first.dispatch_batch(160), rival).await;
        assert_eq!(counted(&outcome.expect("a pass")), [160, 160, 0, 0, 0, 0]);
        assert_eq!(stolen, 0);
        assert_eq!(world.clock.now().since(start), secs(20));
    });
}

#[test]
fn named_messages_that_are_not_free_are_skipped() {
    let world = World::new();
    let script = Script::new(&world.clock);
    world.run(async {
        let late = message("late").with_delay(secs(60));
        world
            .commit(vec![
                message("held"),
                keyed("head", "k"),
                keyed("next", "k"),
                late,
            ])
            .await;
        let request = ClaimRequest {
            worker: WorkerId::new(9),
            lease: secs(30),
            limit: 2,
            max_abandoned: 10,
            which: Which::Ids(&["held"]),
        };
        assert_eq!(world.store.claim(&request).await.expect("a claim").len(), 1);
        let ids = ["held", "next", "late", "missing"];
        let dispatcher = dispatcher(&world, &script);
        let outcome = dispatcher.dispatch_ids(&ids).await.expect("a pass");
        assert_eq!(counted(&outcome), [0; 6]);
        let outcome = dispatcher.dispatch_ids(&["head"]).await.expect("a pass");
        assert_eq!(outcome.published, 1);
        assert_eq!(
            dispatcher
                .dispatch_ids(&["next"])
                .await
                .expect("a pass")
                .published,
            1
        );
        assert_eq!(script.taken(), ["head", "next"]);
    });
}

#[test]
fn a_request_for_many_ids_counts_all_of_them() {
    let world = World::new();
    let script = Script::new(&world.clock);
    world.run(async {
        let names: Vec<String> = (0..70).map(|n| format!("m-{n:02}")).collect();
        world.commit(names.iter().map(|id| message(id)).collect()).await;
        let outcome = dispatcher(&world, &script)
            .dispatch_ids(&names)
            .await
            .expect("a pass");
        assert_eq!(
            (outcome.requested, outcome.claimed, outcome.published),
            (70, 70, 70)
        );
    });
}

#[test]
fn limits_and_leases_that_make_no_sense_are_refused() {
    let world = World::new();
    let script = Script::new(&world.clock);
    world.run(async {
        world.enqueue(&["a"]).await;
        let dispatcher = dispatcher(&world, &script);
        for limit in [0, 1025] {
            let refused = dispatcher.dispatch_batch(limit).await;
            assert!(matches!(
                refused,
                Err(DispatchError::Invalid(Invalid::OutOfRange { .. }))
            ));
        }
        assert_eq!(world.counts().await.pending, 1);
    });
    assert!(Lease::new(Duration::ZERO).is_err());
    let lease = Lease::new(secs(10)).expect("a good lease");
    for timeout in [Duration::ZERO, secs(9), secs(10), secs(11)] {
        assert!(lease.with_publish_timeout(timeout).is_err(), "{timeout:?}");
    }
    let retry = RetryPolicy {
        max_abandoned: 0,
        ..RetryPolicy::DEFAULT
    };
    assert!(config(1, secs(1)).with_retry(retry).is_err());
}
