//! The loop of the backstop, for virtual minutes on end: outages, poison, hints, shutdown.
#![allow(
    clippy::expect_used,
    clippy::large_futures,
    reason = "a panic is the report, and a test has room"
)]

mod support;

use std::time::Duration;

use futures_util::future::join;
use postbox::backstop::{Backstop, BackstopConfig, BackstopReport};
use postbox::claim::Status;
use postbox::dispatcher::OutboxDispatcher;
use postbox::id::WorkerId;
use postbox::store::{ClaimRequest, OutboxOperator, OutboxStore, Which};
use postbox::testing::VirtualClock;
use postbox::time::Clock;

use support::faulty::{Faults, Faulty};
use support::script::{Script, Step};
use support::{World, config, keyed, message, secs};

/// Runs a backstop until `test` is over.
async fn backstop<S: OutboxStore>(
    world: &World,
    store: S,
    script: &Script,
    test: impl Future<Output = ()>,
) -> BackstopReport {
    let dispatcher: OutboxDispatcher<S, Script, VirtualClock> =
        OutboxDispatcher::new(store, script.clone(), config(1, secs(30))).with_timer(world.clock.clone());
    let mut backstop = Backstop::new(dispatcher, BackstopConfig::new());
    backstop.run(test).await.expect("good settings")
}

#[test]
fn ten_minutes_of_outage_kill_nothing_and_are_not_stormed() {
    for step in [Step::Unavailable, Step::Hang] {
        let world = World::new();
        let script = Script::new(&world.clock);
        script.otherwise(step);
        world.run(async {
            let names: Vec<String> = (0..100).map(|n| format!("m-{n:03}")).collect();
            world.commit(names.iter().map(|id| message(id)).collect()).await;
            let report = backstop(&world, world.store.clone(), &script, async {
                world.sleep(secs(600)).await;
                assert_eq!(world.counts().await.dead, 0);
                for name in &names {
                    assert_eq!(world.failures(name).await, 0, "{step:?}");
                }
                let attempts = script.attempts().len();
                assert!(attempts <= 60, "{step:?}: {attempts}");
                script.otherwise(Step::Take);
                world.sleep(secs(90)).await;
            })
            .await;
            assert_eq!(report.published, 100, "{step:?}");
            assert_eq!(report.dead, 0);
        });
    }
}

#[test]
fn poison_delays_no_other_key() {
    for step in [Step::Retryable, Step::Panic, Step::Hang] {
        let world = World::new();
        let script = Script::new(&world.clock);
        script.on("poison", &[step]);
        world.run(async {
            world
                .commit(vec![keyed("poison", "bad"), keyed("behind", "bad")])
                .await;
            backstop(&world, world.store.clone(), &script, async {
                world.sleep(secs(60)).await;
                for n in 0..60 {
                    world
                        .commit(vec![keyed(&format!("m-{n}"), &format!("k-{n}"))])
                        .await;
                    world.sleep(secs(1)).await;
                }
                world.sleep(secs(60)).await;
            })
            .await;
            assert_eq!(script.taken().len(), 60, "{step:?}");
            assert_eq!(script.attempts_of("behind"), 0, "{step:?}");
            assert_eq!(world.status("behind").await, Some(Status::Pending));
        });
    }
}

#[test]
fn hints_faster_than_the_poll_do_not_starve_what_becomes_due_by_time() {
    let world = World::new();
    let script = Script::new(&world.clock);
    world.run(async {
        world.commit(vec![message("late").with_delay(secs(5))]).await;
        backstop(&world, world.store.clone(), &script, async {
            let start = world.clock.now();
            let mut n = 0;
            while script.attempts_of("late") == 0 {
                world.enqueue(&[&format!("m-{n}")]).await;
                n += 1;
                world.sleep(Duration::from_millis(10)).await;
                assert!(world.clock.now().since(start) < secs(7), "it is starved");
            }
        })
        .await;
    });
}

#[test]
fn a_backlog_takes_no_time() {
    let world = World::new();
    let script = Script::new(&world.clock);
    world.run(async {
        let backlog = (0..1_000).map(|n| message(&format!("m-{n}"))).collect();
        world.commit(backlog).await;
        let start = world.clock.now();
        let report = backstop(&world, world.store.clone(), &script, async {
            world.sleep(Duration::from_millis(1)).await;
        })
        .await;
        assert_eq!(report.published, 1_000);
        assert!(world.clock.now().since(start) <= Duration::from_millis(1));
    });
}

#[test]
fn the_messages_of_one_key_follow_each_other_at_once_and_in_order() {
    let world = World::new();
    let script = Script::new(&world.clock);
    world.run(async {
        let names: Vec<String> = (0..20).map(|n| format!("m-{n:02}")).collect();
        world
            .commit(names.iter().map(|id| keyed(id, "k")).collect())
            .await;
        backstop(&world, world.store.clone(), &script, async {
            world.sleep(Duration::from_millis(1)).await;
        })
        .await;
        assert_eq!(script.taken(), names);
    });
}

#[test]
fn store_errors_back_off_and_the_pause_starts_anew_after_a_success() {
    let world = World::new();
    let script = Script::new(&world.clock);
    let faults = Faults {
        claims: 4,
        ..Faults::default()
    };
    let store = Faulty::new(&world.store, faults);
    world.run(async {
        world.enqueue(&["a"]).await;
        let start = world.clock.now();
        let report = backstop(&world, store.clone(), &script, async {
            world.sleep(secs(30)).await;
            store.break_claims(1);
            world.sleep(secs(5)).await;
            world.enqueue(&["b"]).await;
            world.sleep(secs(2)).await;
        })
        .await;
        assert_eq!(report.store_errors, 5);
        assert_eq!(report.published, 2);
        let began = script.attempts()[0].0;
        assert_eq!(began.since(start), secs(1 + 2 + 4 + 8));
    });
}

#[test]
fn a_shutdown_finishes_what_is_under_way_and_gives_the_rest_back() {
    let world = World::new();
    let script = Script::new(&world.clock);
    script.otherwise(Step::Slow(secs(2)));
    world.run(async {
        let backlog = (0..20).map(|n| message(&format!("m-{n:02}"))).collect();
        world.commit(backlog).await;
        let start = world.clock.now();
        let report = backstop(&world, world.store.clone(), &script, async {
            world.sleep(secs(1)).await;
        })
        .await;
        assert_eq!(report.published, 8);
        assert_eq!(script.attempts().len(), 8);
        assert_eq!(world.clock.now().since(start), secs(2));
        assert_eq!(
            (world.counts().await.pending, world.counts().await.in_flight),
            (12, 0)
        );
        assert_eq!(world.failures("m-19").await, 0);
    });
}

#[test]
fn a_message_that_lapses_again_and_again_is_buried_with_a_reason_and_can_be_put_back() {
    let world = World::new();
    let script = Script::new(&world.clock);
    world.run(async {
        world.enqueue(&["a"]).await;
        for worker in 0..10 {
            let request = ClaimRequest {
                worker: WorkerId::new(worker + 100),
                lease: secs(1),
                limit: 1,
                max_abandoned: 10,
                which: Which::Due,
            };
            assert_eq!(world.store.claim(&request).await.expect("a claim").len(), 1);
            world.sleep(secs(1)).await;
        }
        backstop(&world, world.store.clone(), &script, world.sleep(secs(5))).await;
        assert_eq!(script.attempts().len(), 0);
        assert_eq!(world.status("a").await, Some(Status::Dead));
        assert!(!world.last_error("a").await.is_empty());

        assert_eq!(world.store.requeue(&["a"]).await.expect("a requeue"), 1);
        let report = backstop(&world, world.store.clone(), &script, world.sleep(secs(5))).await;
        assert_eq!(report.published, 1);
    });
}

#[test]
fn two_backstops_publish_everything_once() {
    let world = World::new();
    let script = Script::new(&world.clock);
    script.otherwise(Step::Slow(Duration::from_millis(100)));
    world.run(async {
        let backlog = (0..200).map(|n| message(&format!("m-{n}"))).collect();
        world.commit(backlog).await;
        let one = backstop(&world, world.store.clone(), &script, world.sleep(secs(20)));
        let two = backstop(&world, world.store.clone(), &script, world.sleep(secs(20)));
        let (one, two) = Box::pin(join(one, two)).await;
        assert_eq!(one.published + two.published, 200);
        assert_eq!(script.attempts().len(), 200);
    });
}

/// The passes that publish others meanwhile, and the empty one after them, do not make it wait for the poll.
#[test]
fn a_retry_comes_when_it_is_due_also_when_others_were_published() {
    let world = World::new();
    let script = Script::new(&world.clock);
    script.on("again", &[Step::Retryable, Step::Take]);
    world.run(async {
        world.enqueue(&["again", "fine"]).await;
        let report = backstop(&world, world.store.clone(), &script, world.sleep(secs(10))).await;
        assert_eq!(report.published, 2);
    });
    let attempts = script.attempts().into_iter().filter(|(_, id)| id == "again");
    let times: Vec<_> = attempts.map(|(at, _)| at).collect();
    let [first, second] = times.as_slice() else {
        unreachable!("two attempts")
    };
    assert!(second.since(*first) <= Duration::from_millis(200), "{times:?}");
}
