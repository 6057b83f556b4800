//! What a pass makes of a broker that refuses, hangs or panics, and of a store that fails.

use std::time::Duration;

use postbox::claim::Status;
use postbox::dispatcher::{DispatchError, OutboxDispatcher};
use postbox::time::Clock;

use crate::support::faulty::{Faults, Faulty};
use crate::support::script::{Script, Step};
use crate::support::{World, config, message, secs};
use crate::{counted, dispatcher, worker};

#[test]
fn a_retryable_failure_backs_off_and_is_buried_at_the_limit() {
    let world = World::new();
    let script = Script::new(&world.clock);
    script.otherwise(Step::Retryable);
    world.run(async {
        world.enqueue(&["a"]).await;
        let config = config(1, secs(30)).with_max_attempts(3).expect("a good limit");
        let dispatcher = OutboxDispatcher::new(world.store.clone(), script.clone(), config)
            .with_timer(world.clock.clone());
        for expected in [[1, 0, 1, 0, 0, 0], [1, 0, 1, 0, 0, 0], [1, 0, 0, 0, 1, 0]] {
            let outcome = dispatcher.dispatch_batch(1).await.expect("a pass");
            assert_eq!(counted(&outcome), expected);
            if let Some(due) = outcome.next_due {
                if let Some(almost) = due.checked_sub(Duration::from_millis(1)) {
                    world.sleep(almost).await;
                    let early = dispatcher.dispatch_batch(1).await.expect("a pass");
                    assert_eq!(early.claimed, 0, "its pause is honoured");
                }
                world.sleep(Duration::from_millis(2)).await;
            }
        }
        assert_eq!(world.status("a").await, Some(Status::Dead));
        assert_eq!(script.attempts().len(), 3);
    });
}

#[test]
fn while_the_broker_is_down_the_rest_is_released_uncounted() {
    let world = World::new();
    let script = Script::new(&world.clock);
    script.otherwise(Step::Unavailable);
    world.run(async {
        let names: Vec<String> = (0..50).map(|n| format!("m-{n:02}")).collect();
        world.commit(names.iter().map(|id| message(id)).collect()).await;
        let outcome = dispatcher(&world, &script)
            .dispatch_batch(50)
            .await
            .expect("a pass");
        assert_eq!(counted(&outcome), [50, 0, 0, 50, 0, 0]);
        assert!(outcome.unavailable);
        assert!(script.attempts().len() <= postbox::publisher::WINDOW);
        for name in &names {
            assert_eq!(world.failures(name).await, 0);
        }
        assert_eq!(world.counts().await.pending, 50);
    });
}

#[test]
fn a_publish_that_hangs_is_given_up_within_the_timeout() {
    let world = World::new();
    let script = Script::new(&world.clock);
    script.on("a", &[Step::Hang]);
    world.run(async {
        world.enqueue(&["a", "b"]).await;
        let start = world.clock.now();
        let outcome = worker(&world, &script, 1, secs(10))
            .dispatch_batch(2)
            .await
            .expect("a pass");
        let took = world.clock.now().since(start);
        // The other's verdict may come just before the timeout is looked at; then it is waited once more.
        assert!(took >= secs(5) && took <= secs(10), "{took:?}");
        assert_eq!(counted(&outcome), [2, 1, 1, 0, 0, 0]);
        assert_eq!(world.failures("a").await, 1);
    });
}

#[test]
fn a_hanging_broker_counts_against_nobody() {
    let world = World::new();
    let script = Script::new(&world.clock);
    script.otherwise(Step::Hang);
    world.run(async {
        world.enqueue(&["a", "b"]).await;
        let start = world.clock.now();
        let outcome = worker(&world, &script, 1, secs(10))
            .dispatch_batch(2)
            .await
            .expect("a pass");
        assert_eq!(world.clock.now().since(start), secs(5));
        assert_eq!(counted(&outcome), [2, 0, 0, 2, 0, 0]);
        assert!(outcome.unavailable);
        assert_eq!(world.failures("a").await, 0);
    });
}

#[test]
fn a_hanging_publish_is_over_before_its_lease_ends_though_the_store_cannot_renew() {
    let world = World::new();
    let script = Script::new(&world.clock);
    script.otherwise(Step::Slow(secs(4)));
    let store = Faulty::new(
        &world.store,
        Faults {
            renewals: u32::MAX,
            ..Faults::default()
        },
    );
    world.run(async {
        let names: Vec<String> = (0..64).map(|n| format!("m-{n:02}")).collect();
        world.commit(names.iter().map(|id| message(id)).collect()).await;
        let start = world.clock.now();
        let outcome = OutboxDispatcher::new(store, script.clone(), config(1, secs(10)))
            .with_timer(world.clock.clone())
            .dispatch_batch(64)
            .await
            .expect("a pass");
        assert!(world.clock.now().since(start) < secs(10));
        assert_eq!(outcome.published, 16);
        assert_eq!(outcome.overtaken, 0);
    });
}

#[test]
fn a_settlement_that_fails_is_tried_again() {
    for loses_answers in [false, true] {
        let world = World::new();
        let script = Script::new(&world.clock);
        let faults = Faults {
            settlements: 3,
            loses_answers,
            ..Faults::default()
        };
        let store = Faulty::new(&world.store, faults);
        world.run(async {
            world.enqueue(&["a"]).await;
            let outcome = OutboxDispatcher::new(store.clone(), script.clone(), config(1, secs(10)))
                .with_timer(world.clock.clone())
                .dispatch_batch(1)
                .await
                .expect("a pass");
            assert_eq!(outcome.published, 1);
            assert_eq!(store.left().settlements, 0);
            assert_eq!(world.find("a").await.map(|found| found.entry), None);
            assert_eq!(script.attempts().len(), 1);
        });
    }
}

#[test]
fn a_store_that_stays_broken_is_an_error_and_loses_nothing() {
    let world = World::new();
    let script = Script::new(&world.clock);
    let faults = Faults {
        settlements: u32::MAX,
        ..Faults::default()
    };
    let store = Faulty::new(&world.store, faults);
    world.run(async {
        world.enqueue(&["a"]).await;
        let broken =
            OutboxDispatcher::new(store, script.clone(), config(1, secs(10))).with_timer(world.clock.clone());
        let result = broken.dispatch_batch(1).await;
        assert!(matches!(result, Err(DispatchError::Store(_))), "{result:?}");
        world.sleep(secs(10)).await;
        let outcome = dispatcher(&world, &script)
            .dispatch_batch(1)
            .await
            .expect("a pass");
        assert_eq!(outcome.published, 1);
        assert_eq!(script.attempts_of("a"), 2);
    });
}

#[test]
fn a_publisher_that_panics_costs_its_message_an_attempt_and_no_other() {
    let world = World::new();
    let script = Script::new(&world.clock);
    script.on("b", &[Step::Panic]);
    world.run(async {
        world.enqueue(&["a", "b", "c"]).await;
        let outcome = dispatcher(&world, &script)
            .dispatch_batch(3)
            .await
            .expect("a pass");
        assert_eq!(counted(&outcome), [3, 2, 1, 0, 0, 0]);
        assert!(!outcome.unavailable);
        assert_eq!(world.failures("b").await, 1);
    });
}
