//! The broker as a node sees it: over a network that delays, copies and loses, and down at times.

mod network;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use postbox::bus::{Bus, BusConsumer, BusFull};
use postbox::message::{Message, MessageRef};
use postbox::publisher::{FailureKind, PublishError};
use postbox::time::Instant;

use crate::check::Promise;
use crate::history::{Event, MessageNo, NodeId};
use crate::sabotage::Sabotage;
use crate::store::SimError;
use crate::world::{PANIC, Sim};

pub(crate) use network::{Answer, Packet};
pub use source::{SimReceived, SimSource};

/// What the broker is up to.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    pub(crate) down_until: Option<Instant>,
    /// How often it still turns a message away; `None` in it: always.
    pub(crate) turns_away: BTreeMap<MessageNo, Option<u32>>,
    pub(crate) deliveries: u64,
    /// How many messages of each name it took.
    pub(crate) by_name: BTreeMap<String, u64>,
    /// The names that somebody has asked for.
    pub(crate) heard: BTreeSet<String>,
    /// So many publishes were begun.
    pub(crate) publishes: u64,
}

impl Broker {
    /// How many messages nobody ever asked for.
    pub(crate) fn unheard(&self) -> u64 {
        let unheard = self
            .by_name
            .iter()
            .filter(|(name, _)| !self.heard.contains(*name));
        unheard.map(|(_, count)| count).sum()
    }
}

/// A node's connection to the broker of its world: [`Node::bus`](crate::Node::bus).
///
/// What the broker takes, it hands to consumers through the real in-memory bus.
#[derive(Clone)]
pub struct SimBus {
    pub(crate) sim: Sim,
    pub(crate) node: NodeId,
}

impl SimBus {
    async fn transmit(&self, message: MessageRef<'_>) -> Result<(), PublishError<SimError>> {
        let number = {
            let mut state = self.sim.lock();
            state.broker.publishes += 1;
            if state.panics.publisher > 0 && state.broker.publishes == state.panics.publisher {
                let number = state.ledger.number(message.id);
                state.fails(number);
                drop(state);
                std::panic::resume_unwind(Box::new(PANIC));
            }
            if state.sabotaged(Sabotage::SaysPublishedUnsent) && state.dice.chance(250) {
                return Ok(());
            }
            state.ledger.number(message.id)
        };
        let sending = Sending::start(&self.sim, self.node, number, message);
        let answer = sending.await;
        let counts_outages = self.sim.lock().sabotaged(Sabotage::CountsOutages);
        match answer {
            Answer::Taken => Ok(()),
            Answer::Turned(FailureKind::Permanent) => Err(PublishError::Permanent(SimError::NotTaken)),
            Answer::Turned(FailureKind::Retryable) => Err(PublishError::Retryable(SimError::NotTaken)),
            Answer::Turned(FailureKind::Unavailable) if counts_outages => {
                Err(PublishError::Retryable(SimError::Down))
            }
            Answer::Turned(FailureKind::Unavailable) => Err(PublishError::Unavailable(SimError::Down)),
        }
    }
}

impl SimBus {
    fn hears(&self, names: &[&str]) {
        let names = names.iter().map(|name| (*name).to_owned());
        self.sim.lock().broker.heard.extend(names);
    }
}

impl Bus for SimBus {
    type Error = SimError;

    async fn send_message(&self, message: MessageRef<'_>) -> Result<(), PublishError<SimError>> {
        self.transmit(message).await
    }
    async fn publish_message(&self, message: MessageRef<'_>) -> Result<(), PublishError<SimError>> {
        self.transmit(message).await
    }
}

postbox::dyn_bus!(SimBus);

impl BusConsumer for SimBus {
    type Error = BusFull;
    type Source = SimSource;

    async fn listen(&self, commands: &[&str]) -> Result<SimSource, BusFull> {
        self.hears(commands);
        Ok(SimSource::new(
            self.sim.clone(),
            self.sim.bus.listen(commands).await?,
        ))
    }
    async fn subscribe(&self, events: &[&str], group: &str) -> Result<SimSource, BusFull> {
        self.hears(events);
        Ok(SimSource::new(
            self.sim.clone(),
            self.sim.bus.subscribe(events, group).await?,
        ))
    }
}

impl fmt::Debug for SimBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimBus")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// A message that was sent, until its answer arrives. The message is on its way whether this lives or not.
struct Sending<'a> {
    sim: &'a Sim,
    node: NodeId,
    message: MessageNo,
    packet: u64,
    since: Instant,
    answered: bool,
}

impl<'a> Sending<'a> {
    fn start(sim: &'a Sim, node: NodeId, number: MessageNo, message: MessageRef<'_>) -> Self {
        let mut state = sim.lock();
        state.log(Event::Sent {
            message: number,
            node,
        });
        let since = state.now();
        state.publishes(node, number, since);
        if let Some(under_way) = state.under_way.get_mut(node) {
            *under_way += 1;
            let (count, limit) = (*under_way, state.limits.window);
            if count > limit {
                let detail = format!("node {node} has {count} publishes under way, its limit is {limit}");
                state.violated(Promise::Limit, Some(number), detail);
            }
        }
        let packet = state.send(number, Message::from(message));
        Self {
            sim,
            node,
            message: number,
            packet,
            since,
            answered: false,
        }
    }
}

impl Future for Sending<'_> {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut state = self.sim.lock();
        let waiting = state.waiting.entry(self.packet).or_default();
        let Some(answer) = waiting.answer.take() else {
            waiting.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        drop(state);
        self.answered = true;
        Poll::Ready(answer)
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        let mut state = self.sim.lock();
        state.waiting.remove(&self.packet);
        if let Some(under_way) = state.under_way.get_mut(self.node) {
            *under_way = under_way.saturating_sub(1);
        }
        if state.crashing != Some(self.node) {
            state.publishes(self.node, self.message, self.since);
        }
        if !self.answered && state.crashing != Some(self.node) {
            let waited = state.now().since(self.since);
            state.gave_up(self.node, self.message, waited);
        }
    }
}
