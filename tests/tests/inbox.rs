//! The inbox: each message has its effect once, however often it is delivered.
#![allow(
    clippy::expect_used,
    clippy::large_futures,
    reason = "a panic is the report, and a test has room"
)]

mod support;

use postbox::bus::RunOptions;
use postbox::message::{Message, MessageKind};
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
