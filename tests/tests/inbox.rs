//! The inbox: each message has its effect once, however often it is delivered.
#![allow(
    clippy::expect_used,
    clippy::large_futures,
    reason = "a panic is the report, and a test has room"
)]

mod support;

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Waker};

use postbox::aggregate::{InboxReceipt, Repository};
use postbox::bus::RunOptions;
use postbox::message::{Message, MessageKind};
use postbox::service::{Context, HandlerResult};
use serde_json::json;

use support::World;
use support::sample::{self, service};
use support::script::ScriptedBus;

fn event(id: &str, message: &str) -> Message {
    let payload = json!({ "tally": "t", "message": message }).to_string();
    Message::new("seen", MessageKind::Event, payload).with_id(id)
}

#[test]
fn two_handlers_of_an_event_have_their_effect_once_each_and_no_second_delivery_has_any() {
    let world = World::new();
    let app = service(&world.repository)
        .event("seen")
        .handle(sample::note)
        .event("seen")
        .handle(sample::note)
        .event("seen")
        .handle(sample::nothing)
        .with_bus(ScriptedBus::new(&world.clock));
    world.run(async {
        let options = RunOptions::inbox("tests").expect("a good name");
        for _ in 0..3 {
            app.bus().bus.push(event("m-1", "x")).expect("room");
            app.run(options.clone()).await.expect("a run");
            assert_eq!(sample::sum(app.service(), "t").await, 2);
        }
        assert!(app.bus().bus.is_empty());
    });
}

#[test]
fn ids_that_cannot_serve_are_dead_lettered_before_the_handler_runs() {
    let world = World::new();
    let app = service(&world.repository)
        .event("seen")
        .handle(sample::note)
        .with_bus(ScriptedBus::new(&world.clock));
    world.run(async {
        let long = "x".repeat(513);
        for id in ["", "  ", "a\nb", long.as_str()] {
            app.bus().bus.push(event(id, "x")).expect("room");
        }
        let options = RunOptions::inbox("tests").expect("a good name");
        app.run(options).await.expect("a run");
        assert_eq!(app.bus().bus.dead_letters().len(), 4);
        assert_eq!(sample::sum(app.service(), "t").await, 0);
    });
}

static CALLS: AtomicUsize = AtomicUsize::new(0);

async fn counted(ctx: &Context<'_, sample::Repo>) -> HandlerResult {
    CALLS.fetch_add(1, Ordering::Relaxed);
    sample::note(ctx).await
}

#[test]
fn a_second_delivery_is_acknowledged_without_running_the_handler() {
    let world = World::new();
    let app = service(&world.repository)
        .command("count")
        .handle(counted)
        .with_bus(ScriptedBus::new(&world.clock));
    world.run(async {
        let options = RunOptions::inbox("tests").expect("a good name");
        for _ in 0..3 {
            let payload = json!({ "tally": "t", "message": "x" }).to_string();
            let command = Message::new("count", MessageKind::Command, payload).with_id("m-1");
            app.bus().bus.push(command).expect("room");
            app.run(options.clone()).await.expect("a run");
        }
        assert_eq!(CALLS.load(Ordering::Relaxed), 1);
        assert_eq!(sample::sum(app.service(), "t").await, 1);
        assert!(app.bus().bus.is_empty(), "acknowledged, not dead");
    });
}

#[test]
fn a_handler_that_commits_nothing_leaves_a_receipt() {
    let world = World::new();
    let app = service(&world.repository)
        .event("seen")
        .handle(sample::nothing)
        .with_bus(ScriptedBus::new(&world.clock));
    world.run(async {
        app.bus().bus.push(event("m-1", "x")).expect("room");
        app.run(RunOptions::inbox("tests").expect("a good name"))
            .await
            .expect("a run");
        let receipt = InboxReceipt::new("tests", "m-1").expect("good names");
        let kept = Repository::has_receipt(&world.repository, &receipt)
            .await
            .expect("a look");
        assert!(kept);
    });
}

#[test]
fn a_consumer_that_dies_at_any_await_leaves_the_effect_once() {
    // The run is dropped after its n-th poll; the message comes back, and a whole run follows.
    for polls in 1..40 {
        let world = World::new();
        let app = service(&world.repository)
            .event("seen")
            .handle(sample::note)
            .with_bus(ScriptedBus::new(&world.clock));
        app.bus().bus.push(event("m-1", "x")).expect("room");
        let options = RunOptions::inbox("tests").expect("a good name");
        {
            let mut dying = pin!(app.run(options.clone()));
            let mut cx = TaskContext::from_waker(Waker::noop());
            for _ in 0..polls {
                if dying.as_mut().poll(&mut cx).is_ready() {
                    break;
                }
            }
        }
        world.run(async {
            app.run(options).await.expect("a run");
            assert_eq!(sample::sum(app.service(), "t").await, 1, "after {polls} polls");
            assert!(app.bus().bus.is_empty());
        });
    }
}

#[test]
fn a_message_without_an_id_is_refused_before_the_handler() {
    let world = World::new();
    let app = service(&world.repository)
        .event("seen")
        .handle(sample::note)
        .with_bus(ScriptedBus::new(&world.clock));
    world.run(async {
        let payload = json!({ "tally": "t", "message": "x" }).to_string();
        app.bus()
            .bus
            .push(Message::new("seen", MessageKind::Event, payload))
            .expect("room");
        app.run(RunOptions::inbox("tests").expect("a good name"))
            .await
            .expect("a run");
        assert_eq!(app.bus().bus.dead_letters().len(), 1);
        assert_eq!(sample::sum(app.service(), "t").await, 0);
    });
}
