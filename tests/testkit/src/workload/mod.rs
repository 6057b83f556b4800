//! The service that the simulator tries: tallies that announce what was added, and boards that note each
//! announcement once.

mod scenarios;
mod service;

use std::time::Duration;

use postbox::aggregate::Repository;
use postbox::bus::{FailurePolicy, RunOptions};
use postbox::id::Invalid;
use serde_json::json;

use crate::backing::at_once;
use crate::dice::Dice;
use crate::faults::Faults;
use crate::store::SimRepository;
use crate::world::{Node, Sim, World};

pub use scenarios::{SCENARIOS, Scenario};
use service::{ADD, BOARD, NOTED, Tally, service};

/// How large a simulated world is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) nodes: u64,
    pub(crate) commands: u64,
    pub(crate) keys: u64,
}

impl Size {
    /// Most bugs show in a small world; a few need a large one.
    pub(crate) fn of(dice: &mut Dice) -> Self {
        if dice.below(4) > 0 {
            return Self {
                nodes: dice.between((1, 2)),
                commands: dice.between((1, 4)),
                keys: dice.between((1, 2)),
            };
        }
        Self {
            nodes: dice.between((1, 3)),
            commands: dice.between((1, 12)),
            keys: dice.between((1, 4)),
        }
    }
}

/// Fills a world: processes that run the service, callers, and demands for the end.
pub(crate) fn fill(world: &mut World, size: Size, faults: &Faults) {
    let mut dice = world.dice();
    for _ in 0..size.nodes {
        world.node(run);
    }
    let within = u64::try_from(faults.lasts.as_millis()).unwrap_or_default();
    for number in 0..size.commands {
        let id = format!("m{number}");
        let delay = Duration::from_millis(dice.below(within / 2 + 1));
        if dice.chance(faults.poison) {
            world.turn_away(&id, None);
        } else if dice.chance(faults.refused) {
            let times = dice.one_of(&[1_u32, 3, 30], 1);
            world.turn_away(&id, Some(times));
        }
        let tally = format!("k{}", dice.below(size.keys));
        let input = json!({ "tally": tally, "message": id, "later": dice.chance(50) });
        world.command(delay, ADD, &id, input);
    }
    demand_agreement(world, size);
    demand_effects(world, size);
}

fn demand_agreement(world: &mut World, size: Size) {
    world.demand(move |repository| state_and_messages_agree(repository, size));
}

fn demand_effects(world: &mut World, size: Size) {
    let sim = world.sim().clone();
    world.demand(move |repository| note_effects(&sim, repository, size));
}

/// What a process runs.
pub(crate) async fn run(node: Node) {
    let app = node.attach(service(&node));
    let Ok(options) = options() else {
        return;
    };
    // A failed run is a process that ends: its supervisor starts it again.
    let _ = node.run(&app, options).await;
}

fn options() -> Result<RunOptions, Invalid> {
    // A handler that panicked is tried again.
    Ok(RunOptions::inbox("board")?.with_failure_policy(FailurePolicy::Retry))
}

/// Each addition to a tally has its message, and the other way round.
fn state_and_messages_agree(repository: &SimRepository, size: Size) -> Result<(), String> {
    let mut added = Vec::new();
    for key in 0..size.keys {
        let tally = look(repository, &format!("k{key}"))?;
        added.extend(tally.map(|tally| tally.added).unwrap_or_default());
    }
    added.sort_unstable();
    let committed = repository.committed(|id| !id.ends_with(NOTED));
    if added == committed {
        return Ok(());
    }
    Err(format!(
        "the tallies have {added:?}, the messages committed are {committed:?}"
    ))
}

/// Counts how often each message is on a board.
fn note_effects(sim: &Sim, repository: &SimRepository, size: Size) -> Result<(), String> {
    let mut notes = Vec::new();
    for key in 0..size.keys {
        for id in [format!("k{key}{BOARD}"), format!("k{key}{NOTED}{BOARD}")] {
            notes.extend(
                look(repository, &id)?
                    .map(|board| board.notes)
                    .unwrap_or_default(),
            );
        }
    }
    for id in repository.committed(|_| true) {
        let effects = notes.iter().filter(|note| **note == id).count();
        World::note_effects(sim, &id, u32::try_from(effects).unwrap_or(u32::MAX));
    }
    Ok(())
}

fn look(repository: &SimRepository, id: &str) -> Result<Option<Tally>, String> {
    let tallies = repository.clone().aggregate::<Tally>();
    at_once(tallies.peek(id)).map_err(|error| error.to_string())
}
