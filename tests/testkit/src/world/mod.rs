//! A world: one database, one broker, some processes, callers, and a time that only the world moves.

mod clock;
mod node;
mod outcome;
mod schedule;
mod slot;
mod state;
mod tuning;

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use postbox::aggregate::{CommitBatch, Repository, RepositoryError};
use postbox::message::OutboxMessage;
use postbox::store::OutboxOperator;
use postbox::testing::VirtualClock;
use postbox::time::{Clock, Instant};
use postbox_hashmap::HashMapRepository;
use serde_json::Value;

use crate::backing::{Backing, Inline, at_once};
use crate::check::{Promise, at_the_end};
use crate::dice::Dice;
use crate::faults::Faults;
use crate::history::Event;
use crate::sabotage::Sabotage;
use crate::store::SimRepository;

pub use clock::NodeTimer;
pub use node::Node;
pub use outcome::Outcome;
pub(crate) use state::{Limits, Operation, Sim, State, StoreFaults, millis};
pub(crate) use tuning::Tuning;

/// What planted panics carry.
pub(crate) const PANIC: &str = "a panic on purpose";

/// One publish window of the backstop, and one message each of the two callers and the two consumers.
const WINDOW: usize = postbox::publisher::WINDOW + 4;

/// A command that a caller sends to whichever process takes it first.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) at: Instant,
    pub(crate) command: String,
    /// The message that the command is to enqueue.
    pub(crate) message: String,
    pub(crate) input: Value,
}

type Program = Box<dyn Fn(Node) -> Pin<Box<dyn Future<Output = ()>>>>;
type Demand = Box<dyn Fn(&SimRepository) -> Result<(), String>>;

/// Processes over one database and one broker, in virtual time.
///
/// A scenario adds processes and callers and runs it; what happens in between depends on the seed and the
/// faults, and on nothing else: no thread, no real time, no address of memory. The same world twice is the
/// same history twice.
pub struct World {
    sim: Sim,
    tuning: Tuning,
    programs: Vec<Program>,
    demands: Vec<Demand>,
    /// After these polls, counted over all nodes, the polled node dies.
    crash_after: BTreeSet<u64>,
    /// After these, it is told to stop.
    stop_after: BTreeSet<u64>,
    /// How often each process has to have started before the world may end.
    starts: u32,
    polls: u64,
}

impl World {
    /// Over a store in RAM.
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self::over(seed, faults, |clock| HashMapRepository::new().with_clock(clock))
    }

    /// Over another store that lives by the given clock and of which every operation completes at its first
    /// poll.
    pub fn over<R>(seed: u64, faults: Faults, open: impl FnOnce(VirtualClock) -> R) -> Self
    where
        R: Repository<OutboxStore: OutboxOperator<Key: Send, Wakeup: Send> + Send + Sync>
            + Send
            + Sync
            + 'static,
    {
        let clock = VirtualClock::new();
        let backing: Arc<dyn Backing> = Arc::new(Inline::new(open(clock.clone())));
        let mut dice = Dice::new(seed);
        let tuning = Tuning::of(&mut dice);
        let limits = Limits {
            failures: tuning.retry.max_failures,
            abandoned: tuning.retry.max_abandoned,
            lease: tuning.lease,
            window: WINDOW,
        };
        let state = State::new(clock.clone(), dice, faults, limits);
        Self {
            sim: Sim::new(clock, backing, state),
            tuning,
            programs: Vec::new(),
            demands: Vec::new(),
            crash_after: BTreeSet::new(),
            stop_after: BTreeSet::new(),
            starts: 1,
            polls: 0,
        }
    }

    /// Adds a process. Its program runs from the start of the world, and from its beginning after every crash
    /// and shutdown.
    pub fn node<F: Future<Output = ()> + 'static>(
        &mut self,
        program: impl Fn(Node) -> F + 'static,
    ) -> &mut Self {
        self.programs.push(Box::new(move |node| Box::pin(program(node))));
        self
    }

    /// Adds a caller: after `delay` it sends a command to whichever process serves it first. The command
    /// enqueues the message `message`, if it enqueues one: that is how the world knows whether what the caller
    /// is told is true.
    pub fn command(&mut self, delay: Duration, command: &str, message: &str, input: Value) -> &mut Self {
        let mut state = self.sim.lock();
        let at = state.now() + delay;
        let place = state.requests.partition_point(|request| request.at <= at);
        let (command, message) = (command.to_owned(), message.to_owned());
        state.requests.insert(
            place,
            Request {
                at,
                command,
                message,
                input,
            },
        );
        drop(state);
        self
    }

    /// Adds something that must be true when all is over; what is returned says why it is not.
    pub fn demand(&mut self, demand: impl Fn(&SimRepository) -> Result<(), String> + 'static) -> &mut Self {
        self.demands.push(Box::new(demand));
        self
    }

    /// Lets the broker turn a message away: so many times, or for ever.
    pub fn turn_away(&mut self, message: &str, times: Option<u32>) -> &mut Self {
        let mut state = self.sim.lock();
        let number = state.ledger.number(message);
        state.broker.turns_away.insert(number, times);
        drop(state);
        self
    }

    /// Goes on until every process has started so often: for programs that do one thing at their first start,
    /// and the rest at the next.
    pub const fn start_at_least(&mut self, times: u32) -> &mut Self {
        self.starts = times;
        self
    }

    /// Plants a bug.
    pub fn sabotage(&mut self, bug: Sabotage) -> &mut Self {
        self.sim.lock().sabotage = Some(bug);
        self
    }

    /// Lets the process that is polled at the given polls of this world (from 1) die after it.
    pub fn crash_after(&mut self, polls: &[u64]) -> &mut Self {
        self.crash_after.extend(polls);
        self
    }

    /// Tells the process that is polled at the given polls of this world to stop; it starts again later.
    pub fn stop_after(&mut self, polls: &[u64]) -> &mut Self {
        self.stop_after.extend(polls);
        self
    }

    /// Commits messages before anything runs, pending, with no state of their own.
    pub fn preload(&mut self, messages: Vec<OutboxMessage>) -> Result<&mut Self, RepositoryError> {
        let batch = CommitBatch {
            messages,
            ..CommitBatch::new()
        };
        at_once(SimRepository::direct(self.sim.clone()).commit(batch))?;
        Ok(self)
    }

    /// Lets the publisher panic at its n-th call.
    pub fn panic_at_publish(&mut self, call: u64) -> &mut Self {
        self.sim.lock().panics.publisher = call;
        self
    }

    /// Lets the n-th handler that asks [`Node::may_panic`] panic.
    pub fn panic_in_handler(&mut self, call: u64) -> &mut Self {
        self.sim.lock().panics.handler = call;
        self
    }

    /// Lets the store fail at an operation, and from then on for a while; `applied` ones take effect and lose
    /// their answer.
    pub fn fail_store(&mut self, operation: u64, lasts: Duration, applied: bool) -> &mut Self {
        self.sim.lock().store = StoreFaults {
            from: operation,
            lasts,
            applied,
            ..StoreFaults::none()
        };
        self
    }

    /// Runs it to its end and checks every promise.
    pub fn run(mut self) -> Outcome {
        self.play();
        let direct = SimRepository::direct(self.sim.clone());
        for demand in &self.demands {
            if let Err(detail) = demand(&direct) {
                self.sim.lock().violated(Promise::Invariant, None, detail);
            }
        }
        let mut state = self.sim.lock();
        at_the_end(&mut state);
        Outcome {
            violations: std::mem::take(&mut state.violations),
            messages: state.ledger.commits,
            crashes: state
                .history
                .count(|event| matches!(event, Event::Crashed { .. } | Event::Panicked { .. })),
            history: std::mem::take(&mut state.history),
            polls: self.polls,
            operations: state.store.operations,
            publishes: state.broker.publishes,
            handlers: state.handlers,
            names: state
                .ledger
                .records
                .iter()
                .map(|record| record.id.clone())
                .collect(),
        }
    }

    /// Says, for the checks at the end, how often a message had its effect.
    pub(crate) fn note_effects(sim: &Sim, message: &str, effects: u32) {
        let mut state = sim.lock();
        let number = state.ledger.number(message);
        if let Some(record) = state.ledger.of(number) {
            record.consumed = true;
            record.effects = effects;
        }
    }

    pub(crate) fn dice(&self) -> Dice {
        let mut state = self.sim.lock();
        Dice::new(state.dice.next())
    }

    pub(crate) const fn sim(&self) -> &Sim {
        &self.sim
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("now", &self.sim.clock.now())
            .field("nodes", &self.programs.len())
            .finish_non_exhaustive()
    }
}
