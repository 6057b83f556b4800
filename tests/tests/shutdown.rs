//! Shutting a microservice down: what is in hand is finished, nothing new is taken, nothing is lost.
#![allow(
    clippy::expect_used,
    clippy::large_futures,
    reason = "a panic is the report, and a test has room"
)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use postbox::bus::RunOptions;
use postbox::message::{Message, MessageKind};
use postbox::runtime::Timer;
use postbox::service::{Context, HandlerResult, Session};
use postbox::time::Clock;
use serde_json::json;

use support::sample::{self, Repo, service};
use support::script::{ScriptedBus, Step};
use support::{World, secs};

static ENTERED: AtomicUsize = AtomicUsize::new(0);

/// Publishes what it commits, which takes as long as the scripted broker takes.
async fn slow(ctx: &Context<'_, Repo>) -> HandlerResult {
    ENTERED.fetch_add(1, Ordering::Relaxed);
    sample::add(ctx).await
}

#[test]
fn the_message_in_hand_is_finished_and_the_next_one_is_left() {
    let world = World::new();
    let app = service(&world.repository)
        .command("slow")
        .handle(slow)
        .with_bus(ScriptedBus::new(&world.clock));
    // The first publish hangs until it is given up, after the shutdown was asked for.
    app.bus().script.on("m-1", &[Step::Hang]);
    for id in ["m-1", "m-2"] {
        let payload = json!({ "tally": id, "message": id }).to_string();
        let command = Message::new("slow", MessageKind::Command, payload).with_id(id);
        app.bus().bus.push(command).expect("room");
    }
    world.run(async {
        let soon = world.clock.now() + secs(1);
        let shutdown = world.clock.sleep_until(soon);
        app.run_with(world.clock.clone(), shutdown, RunOptions::idempotent())
            .await
            .expect("a run");
        assert_eq!(ENTERED.load(Ordering::Relaxed), 1, "nothing new is taken");
        assert_eq!(
            sample::sum(app.service(), "m-1").await,
            1,
            "what was in hand is finished"
        );
        assert_eq!(sample::sum(app.service(), "m-2").await, 0);
        assert_eq!(app.bus().bus.len(), 1, "the next command is still there");
        assert!(
            world.find("m-1").await.is_some(),
            "what was not published stays in the outbox"
        );
    });
}

#[test]
fn a_timer_bounds_what_is_dispatched_outside_of_a_run() {
    let world = World::new();
    let app = service(&world.repository)
        .with_bus(ScriptedBus::new(&world.clock))
        .with_timer(world.clock.clone());
    app.bus().script.on("m", &[Step::Hang]);
    world.run(async {
        let before = world.clock.now();
        let input = json!({ "tally": "t", "message": "m" });
        let answer = app
            .service()
            .dispatch("tally.add", input, Session::new())
            .await
            .expect("a commit");
        assert!(
            answer.as_str().unwrap_or_default().starts_with("Released"),
            "{answer}"
        );
        assert_eq!(world.clock.now().since(before), secs(5), "half of the lease");
    });
}
