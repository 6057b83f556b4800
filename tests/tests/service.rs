//! The immediate path, the runs of a microservice, and what handlers are refused.
#![allow(
    clippy::expect_used,
    clippy::large_futures,
    reason = "a panic is the report, and a test has room"
)]

mod support;

use std::time::Duration;

use postbox::bus::{FailurePolicy, RunError, RunOptions};
use postbox::claim::Status;
use postbox::dispatcher::DispatchError;
use postbox::message::{Message, MessageKind};
use postbox::service::{BuildError, HandlerError, Microservice, Session};
use serde_json::{Value, json};

use support::sample::{self, Repo, service};
use support::script::{ScriptedBus, Step};
use support::{World, secs};

type App = Microservice<Repo, ScriptedBus>;

fn app(world: &World) -> App {
    service(&world.repository).with_bus(ScriptedBus::new(&world.clock))
}

fn input(tally: &str, message: &str) -> Value {
    json!({ "tally": tally, "message": message })
}

async fn add(app: &App, tally: &str, message: &str) -> String {
    let answer = app
        .service()
        .dispatch("tally.add", input(tally, message), Session::new());
    let answer = answer.await.expect("the commit succeeds");
    answer.as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_commit_is_published_and_settled_at_once() {
    let world = World::new();
    let app = app(&world);
    world.run(async {
        assert_eq!(add(&app, "t", "m").await, "Published");
        assert!(world.find("m").await.is_none());
        assert_eq!(app.bus().script.taken(), ["m"]);
        assert_eq!(app.service().dependencies().inner().held_locks(), 0);
    });
}

#[test]
fn while_the_broker_is_down_a_commit_succeeds_and_is_published_later() {
    let world = World::new();
    let app = app(&world);
    app.bus().script.otherwise(Step::Unavailable);
    world.run(async {
        assert!(add(&app, "t", "m").await.starts_with("Released"));
        assert_eq!(world.failures("m").await, 0);
        app.bus().script.otherwise(Step::Take);
        world.sleep(secs(30)).await;
        let pass = app.dispatcher().dispatch_batch(8).await.expect("a pass");
        assert_eq!(pass.published, 1);
    });
}

#[test]
fn a_message_the_broker_will_never_take_is_dead_and_the_command_has_succeeded() {
    let world = World::new();
    let app = app(&world);
    app.bus().script.otherwise(Step::Permanent);
    world.run(async {
        assert!(add(&app, "t", "m").await.starts_with("Dead"));
        assert_eq!(world.status("m").await, Some(Status::Dead));
        assert_eq!(sample::sum(app.service(), "t").await, 1);
    });
}

#[test]
fn behind_a_failing_head_the_same_key_waits_and_others_go_on() {
    let world = World::new();
    let app = app(&world);
    app.bus().script.on("m-1", &[Step::Retryable, Step::Take]);
    world.run(async {
        assert!(add(&app, "t", "m-1").await.starts_with("Released"));
        assert_eq!(add(&app, "t", "m-2").await, "Deferred");
        assert_eq!(add(&app, "other", "m-3").await, "Published");
        world.sleep(secs(30)).await;
        for _ in 0..2 {
            app.dispatcher().dispatch_batch(8).await.expect("a pass");
        }
        assert_eq!(app.bus().script.taken(), ["m-3", "m-1", "m-2"]);
    });
}

#[test]
fn a_broker_that_hangs_does_not_hold_up_the_handler_for_ever() {
    let world = World::new();
    let app = app(&world);
    app.bus().script.otherwise(Step::Hang);
    world.run(async {
        let payload = input("t", "m").to_string();
        let bus = app.bus().bus.clone();
        bus.send("tally.add", payload).await.expect("room");
        app.run_with(
            world.clock.clone(),
            world.sleep(secs(20)),
            RunOptions::idempotent(),
        )
        .await
        .expect("a run");
        assert!(bus.is_empty(), "the command was acknowledged");
        assert_eq!(sample::sum(app.service(), "t").await, 1);
        assert_eq!(world.failures("m").await, 0);
    });
}

#[test]
fn without_a_bus_a_message_is_pending_and_a_run_is_refused() {
    let world = World::new();
    let service = service(&world.repository);
    world.run(async {
        let answer = service
            .dispatch("tally.add", input("t", "m"), Session::new())
            .await;
        assert_eq!(answer.expect("the commit succeeds"), json!("Pending"));
        assert_eq!(service.run(RunOptions::idempotent()).await, Err(RunError::NoBus));
    });
}

#[test]
fn a_refused_setting_is_returned_by_every_path() {
    let world = World::new();
    let app = app(&world).with_publish_lease(Duration::ZERO);
    world.run(async {
        let refused = app
            .service()
            .dispatch("tally.add", input("t", "m"), Session::new())
            .await;
        assert!(matches!(refused, Err(HandlerError::Invalid(_))), "{refused:?}");
        assert_eq!(sample::sum(app.service(), "t").await, 0);
        let refused = app.dispatcher().dispatch_batch(1).await;
        assert!(matches!(refused, Err(DispatchError::Invalid(_))));
        let refused = app.run(RunOptions::idempotent()).await;
        assert!(matches!(refused, Err(RunError::Refused(_))));
    });
    assert!(matches!(app.build(), Err(BuildError::Invalid(_))));
}

#[test]
fn two_handlers_for_a_command_are_refused_everywhere() {
    let world = World::new();
    let twice = || {
        service(&world.repository)
            .command("tally.add")
            .handle(sample::add)
    };
    assert!(matches!(
        twice().build(),
        Err(BuildError::DuplicateCommand { .. })
    ));
    world.run(async {
        let refused = twice()
            .dispatch("tally.add", input("t", "m"), Session::new())
            .await;
        assert!(matches!(refused, Err(HandlerError::Build(_))));
        let app = twice().with_bus(ScriptedBus::new(&world.clock));
        let refused = app.run(RunOptions::idempotent()).await;
        assert!(matches!(refused, Err(RunError::Refused(_))));
    });
}

#[test]
fn bad_commands_are_refused_by_type() {
    let world = World::new();
    let service = service(&world.repository)
        .command("guarded")
        .guarded(|ctx| ctx.has_fields(&["id"]), sample::nothing);
    world.run(async {
        let call = |name, input| service.dispatch(name, input, Session::new());
        let refused = call("guarded", json!({})).await.expect_err("no id");
        assert!(matches!(refused, HandlerError::Refused { .. }) && !refused.is_retryable());
        assert!(call("guarded", json!({ "id": 1 })).await.is_ok());
        let unknown = call("no.such", json!({})).await;
        assert!(matches!(unknown, Err(HandlerError::Unknown { .. })));
        let message = Message::new("tally.add", MessageKind::Command, b"{ not json".to_vec());
        let undecodable = service.dispatch_message(&message).await.expect_err("no JSON");
        assert!(matches!(undecodable, HandlerError::Input { .. }) && !undecodable.is_retryable());
    });
}

#[test]
fn a_command_that_an_event_handler_enqueued_is_handled_before_the_run_returns() {
    let world = World::new();
    let app = service(&world.repository)
        .event("tally.added")
        .handle(sample::follow_up)
        .event("tally.added")
        .handle(sample::nothing)
        .command("tally.note")
        .handle(sample::note)
        .with_bus(ScriptedBus::new(&world.clock));
    world.run(async {
        let bus = app.bus().bus.clone();
        bus.send("tally.add", input("t", "m").to_string())
            .await
            .expect("room");
        app.run(RunOptions::idempotent()).await.expect("a run");
        assert_eq!(sample::sum(app.service(), "notes").await, 1);
        assert!(bus.is_empty());
        assert_eq!(world.counts().await.pending, 0);
    });
}

#[test]
fn a_handler_that_panics_is_dead_lettered_its_lock_is_freed_and_the_run_goes_on() {
    let world = World::new();
    let app = service(&world.repository)
        .command("panics")
        .handle(sample::panics)
        .with_bus(ScriptedBus::new(&world.clock));
    world.run(async {
        let bus = app.bus().bus.clone();
        bus.send("panics", b"secret".to_vec()).await.expect("room");
        bus.send("tally.add", input("held", "m").to_string())
            .await
            .expect("room");
        app.run(RunOptions::idempotent()).await.expect("a run");
        assert_eq!(sample::sum(app.service(), "held").await, 1);
        let letters = bus.dead_letters();
        assert_eq!(letters.len(), 1);
        assert_eq!(app.service().dependencies().inner().held_locks(), 0);
        assert!(!format!("{letters:?} {app:?}").contains("secret"));
    });
}

#[test]
fn a_stop_lets_the_other_consumer_finish_its_message_and_loses_nothing() {
    let world = World::new();
    let app = service(&world.repository)
        .event("bad")
        .handle(sample::fails)
        .with_bus(ScriptedBus::new(&world.clock));
    app.bus().script.otherwise(Step::Slow(secs(2)));
    world.run(async {
        let bus = app.bus().bus.clone();
        bus.send("tally.add", input("t", "m").to_string())
            .await
            .expect("room");
        bus.publish("bad", b"{}".to_vec()).await.expect("room");
        let options = RunOptions::idempotent().with_failure_policy(FailurePolicy::Stop);
        let ended = app
            .run_with(world.clock.clone(), std::future::pending(), options)
            .await;
        assert!(matches!(ended, Err(RunError::Stopped { .. })), "{ended:?}");
        assert_eq!(app.bus().script.taken(), ["m"]);
        assert_eq!(bus.len(), 2, "the bad event, and the one just published");
        assert!(bus.dead_letters().is_empty());
    });
}
