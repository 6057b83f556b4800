//! A backstop that hardly ever polls is on time all the same: it asks the store when the next message is due.
#![allow(
    clippy::expect_used,
    clippy::large_futures,
    reason = "a panic is the report, and a test has room"
)]

mod support;

use std::time::Duration;

use postbox::backstop::{Backstop, BackstopConfig, BackstopReport};
use postbox::dispatcher::OutboxDispatcher;
use postbox::id::WorkerId;
use postbox::store::{ClaimRequest, OutboxStore, Which};
use postbox::time::{Clock, Instant};

use support::script::{Script, Step};
use support::{World, config, message, secs};

/// Runs a backstop that polls once an hour, until `test` is over.
async fn backstop(world: &World, script: &Script, test: impl Future<Output = ()>) -> BackstopReport {
    let dispatcher = OutboxDispatcher::new(world.store.clone(), script.clone(), config(1, secs(30)));
    let rarely = BackstopConfig::new().with_poll(secs(3_600)).expect("a good poll");
    let mut backstop = Backstop::new(dispatcher.with_timer(world.clock.clone()), rarely);
    backstop.run(test).await.expect("good settings")
}

/// When each attempt began, since the start.
fn times(script: &Script, start: Instant) -> Vec<(Duration, String)> {
    let attempts = script.attempts().into_iter();
    attempts.map(|(at, id)| (at.since(start), id)).collect()
}

#[test]
fn delayed_messages_come_when_they_are_due_also_when_an_earlier_one_comes_late() {
    let world = World::new();
    let script = Script::new(&world.clock);
    let start = world.clock.now();
    let report = world.run(backstop(&world, &script, async {
        world.sleep(secs(1)).await;
        world.commit(vec![message("second").with_delay(secs(20))]).await;
        world.sleep(secs(4)).await;
        world.commit(vec![message("first").with_delay(secs(10))]).await;
        world.sleep(secs(60)).await;
    }));
    let expected = [
        (secs(15), String::from("first")),
        (secs(21), String::from("second")),
    ];
    assert_eq!(times(&script, start), expected);
    assert!(report.passes <= 8, "{} passes for two messages", report.passes);
}

#[test]
fn each_of_several_retries_comes_when_it_is_due() {
    let world = World::new();
    let script = Script::new(&world.clock);
    let names: Vec<String> = (0..8).map(|n| format!("m-{n}")).collect();
    for name in &names {
        script.on(
            name,
            &[Step::Retryable, Step::Retryable, Step::Retryable, Step::Take],
        );
    }
    let report = world.run(async {
        world.commit(names.iter().map(|id| message(id)).collect()).await;
        backstop(&world, &script, world.sleep(secs(120))).await
    });
    assert_eq!(report.published, 8);
    assert_eq!(script.attempts().len(), 32);
    assert!(report.passes <= 100, "{} passes", report.passes);
}

#[test]
fn the_claim_of_a_holder_that_is_gone_is_taken_over_when_its_lease_ends() {
    let world = World::new();
    let script = Script::new(&world.clock);
    let start = world.clock.now();
    world.run(async {
        world.commit(vec![message("left")]).await;
        let request = ClaimRequest {
            worker: WorkerId::new(7),
            lease: secs(30),
            limit: 1,
            max_abandoned: 10,
            which: Which::Due,
        };
        assert_eq!(world.store.claim(&request).await.expect("a claim").len(), 1);
        backstop(&world, &script, world.sleep(secs(60))).await;
    });
    assert_eq!(times(&script, start), [(secs(30), String::from("left"))]);
}
