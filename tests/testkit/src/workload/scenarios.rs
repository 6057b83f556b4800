//! The short stories of the engines, to be broken off at every await.

use std::time::Duration;

use postbox::backstop::{Backstop, BackstopConfig};
use postbox::message::OutboxMessage;
use postbox::service::Session;
use serde_json::{Value, json};

use super::service::{ADD, ADDED, service};
use super::{Size, demand_effects, run};
use crate::world::World;

/// A story, and whether it is short enough for every pair of crashes.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is about.
    pub name: &'static str,
    /// Fills a world with it.
    pub fill: fn(&mut World),
    /// Whether every pair of crashes is tried.
    pub pairs: bool,
}

/// The stories that the project tries on every store.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "commit_outbox",
        fill: commit_outbox,
        pairs: true,
    },
    Scenario {
        name: "dispatch_batch",
        fill: dispatch_batch,
        pairs: true,
    },
    Scenario {
        name: "backstop pass",
        fill: backstop_pass,
        pairs: true,
    },
    Scenario {
        name: "consumer with inbox",
        fill: consumer,
        pairs: true,
    },
    Scenario {
        name: "shutdown",
        fill: shutdown,
        pairs: true,
    },
    Scenario {
        name: "three commands, two processes",
        fill: together,
        pairs: false,
    },
];

const SMALL: Size = Size {
    nodes: 1,
    commands: 1,
    keys: 2,
};

/// A process dispatches one command and ends; whatever it leaves is for the next start.
fn commit_outbox(world: &mut World) {
    world.node(|node| async move {
        if node.starts() > 1 {
            return run(node).await;
        }
        let app = node.attach(service(&node));
        // The caller is the process itself: it hears nothing if it dies.
        let _ = app
            .service()
            .dispatch(ADD, addition("m1", "k0"), Session::new())
            .await;
    });
    world.start_at_least(2);
    demand_effects(world, SMALL);
}

/// One pass by hand over three messages of two keys.
fn dispatch_batch(world: &mut World) {
    preload(world);
    world.node(|node| async move {
        if node.starts() > 1 {
            return run(node).await;
        }
        let app = node.attach(service(&node));
        let dispatcher = app.dispatcher().with_timer(node.timer());
        let _ = Box::pin(dispatcher.dispatch_batch(32)).await;
    });
    world.start_at_least(2);
    demand_effects(world, SMALL);
}

/// The backstop alone, until it has done its work.
fn backstop_pass(world: &mut World) {
    preload(world);
    world.node(|node| async move {
        let app = node.attach(service(&node));
        let dispatcher = app.dispatcher().with_timer(node.timer());
        let mut backstop = Backstop::new(dispatcher, BackstopConfig::new());
        let _ = Box::pin(backstop.run(node.stopped())).await;
    });
}

/// An event with an effect and a command that follows from it.
fn consumer(world: &mut World) {
    if let Some(message) = announcement("m0", "k0") {
        // A fresh world has no message of this id.
        let _ = world.preload(vec![message]);
    }
    world.node(run);
    demand_effects(world, SMALL);
}

/// A process that stops by itself in the middle of its work, and starts again.
fn shutdown(world: &mut World) {
    preload(world);
    world.node(|node| async move {
        if node.starts() > 1 {
            return run(node).await;
        }
        let app = node.attach(service(&node));
        let Ok(options) = super::options() else {
            return;
        };
        let soon = async {
            for _ in 0..12 {
                postbox::join::yield_now().await;
            }
        };
        let _ = app.run_with(node.timer(), soon, options).await;
    });
    world.start_at_least(2);
    world.command(Duration::ZERO, ADD, "m1", addition("m1", "k0"));
    demand_effects(world, SMALL);
}

/// The whole service.
fn together(world: &mut World) {
    world.node(run).node(run);
    for (id, tally) in [("m0", "k0"), ("m1", "k0"), ("m2", "k1")] {
        world.command(Duration::ZERO, ADD, id, addition(id, tally));
    }
    let size = Size {
        nodes: 2,
        commands: 3,
        keys: 2,
    };
    super::demand_agreement(world, size);
    demand_effects(world, size);
}

fn preload(world: &mut World) {
    let messages = [("p1", "k0"), ("p2", "k1"), ("p4", "k0")];
    let messages = messages.iter().filter_map(|(id, tally)| announcement(id, tally));
    // A fresh world has no message of these ids.
    let _ = world.preload(messages.collect());
}

fn announcement(id: &str, tally: &str) -> Option<OutboxMessage> {
    let payload = addition(id, tally).to_string();
    let message = OutboxMessage::create(id, ADDED, payload).ok()?;
    message.with_key(format!("tally/{tally}")).ok()
}

fn addition(id: &str, tally: &str) -> Value {
    json!({ "tally": tally, "message": id, "later": false })
}
