//! One start of a process: what its program is given, and how it serves callers.

use std::fmt;

use postbox::aggregate::InboxStore;
use postbox::bus::{RunError, RunOptions};
use postbox::id::WorkerId;
use postbox::join::{Either, race};
use postbox::runtime::Timer;
use postbox::service::{HasRepo, Microservice, Service, Session};
use postbox::store::HasOutboxStore;
use postbox::sync::Stop;
use postbox::time::{Clock, Instant};
use postbox::wakeup::Wakeup;

use super::clock::NodeTimer;
use super::{Request, Sim, Tuning};
use crate::broker::SimBus;
use crate::history::{Event, NodeId};
use crate::sabotage::Sabotage;
use crate::store::SimRepository;

/// A process that was just started: its connections, its clock, and the word to stop.
#[derive(Clone)]
pub struct Node {
    pub(crate) sim: Sim,
    pub(crate) id: NodeId,
    pub(crate) start: u32,
    pub(crate) timer: NodeTimer,
    pub(crate) stop: Stop,
    pub(crate) tuning: Tuning,
}

impl Node {
    /// The database.
    pub fn repository(&self) -> SimRepository {
        SimRepository::new(self.sim.clone(), self.id)
    }

    /// The broker.
    pub fn bus(&self) -> SimBus {
        SimBus {
            sim: self.sim.clone(),
            node: self.id,
        }
    }

    /// The clock of this machine.
    pub fn timer(&self) -> NodeTimer {
        self.timer.clone()
    }

    /// The how-many-eth start of this process it is, from 1. A crash and a shutdown are followed by another.
    pub const fn starts(&self) -> u32 {
        self.start
    }

    /// Resolves when the process is told to stop.
    pub async fn stopped(&self) {
        if self.sim.lock().sabotaged(Sabotage::IgnoresStops) {
            std::future::pending::<()>().await;
        }
        self.stop.wait().await;
    }

    /// What a handler calls to be the one that panics, if [`World::panic_in_handler`](crate::World) says so.
    pub fn may_panic(&self) {
        let strikes = {
            let mut state = self.sim.lock();
            state.handlers += 1;
            state.panics.handler == state.handlers
        };
        if strikes {
            std::panic::resume_unwind(Box::new(super::PANIC));
        }
    }

    /// A worker id of this start, the same in every repetition.
    pub const fn worker_id(&self) -> WorkerId {
        WorkerId::new(((self.id as u64 + 1) << 32) | self.start as u64)
    }

    /// Attaches a service to the broker: with this start's worker id and the leases and retries of this world.
    pub fn attach<D>(&self, service: Service<D>) -> Microservice<D, SimBus> {
        service
            .with_bus(self.bus())
            .with_worker_id(self.worker_id())
            .with_publish_lease(self.tuning.lease)
            .with_retry(self.tuning.retry)
            .with_outage_backoff(self.tuning.outage)
            .with_timer(self.timer())
    }

    /// Runs a service until told to stop: its consumers, its backstop, and the callers of this world.
    ///
    /// # Errors
    /// As [`Microservice::run_with`].
    pub async fn run<D>(&self, app: &Microservice<D, SimBus>, options: RunOptions) -> Result<(), RunError>
    where
        D: HasRepo,
        D::Repo: HasOutboxStore + InboxStore,
    {
        let options = options.with_backstop(self.tuning.backstop);
        let running = app.run_with(self.timer(), self.stopped(), options);
        let callers = (self.serve(app.service()), self.serve(app.service()));
        futures_util::future::join3(running, callers.0, callers.1).await.0
    }

    /// Dispatches what callers ask for, one after the other, until told to stop.
    pub async fn serve<D>(&self, service: &Service<D>) {
        while let Some(request) = self.next_request().await {
            let in_hand = InHand::take(self, request);
            let Request { command, input, .. } = in_hand.request.clone();
            let result = service.dispatch(&command, input, Session::new()).await;
            in_hand.answer(result.is_ok());
        }
    }

    /// Waits for a caller; `None` when told to stop.
    async fn next_request(&self) -> Option<Request> {
        let mut watch = self.sim.requests.watch();
        loop {
            if self.stop.is_set() {
                return None;
            }
            let due = {
                let mut state = self.sim.lock();
                let now = state.now();
                match state.requests.front().map(|request| request.at) {
                    Some(at) if at <= now => return state.requests.pop_front(),
                    Some(at) => at.since(now),
                    None => Instant::MAX.since(now),
                }
            };
            let until = self.timer.now() + due;
            let next = race(watch.wait(), self.timer.sleep_until(until));
            if matches!(race(self.stop.wait(), next).await, Either::A(())) {
                return None;
            }
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

/// A request that a node works on; its caller hears nothing if the node dies.
struct InHand<'a> {
    node: &'a Node,
    request: Request,
    answered: bool,
}

impl<'a> InHand<'a> {
    fn take(node: &'a Node, request: Request) -> Self {
        let mut state = node.sim.lock();
        state.in_hand += 1;
        let message = state.ledger.number(&request.message);
        let node_id = node.id;
        state.log(Event::Requested {
            message,
            node: node_id,
        });
        drop(state);
        Self {
            node,
            request,
            answered: false,
        }
    }

    fn answer(mut self, ok: bool) {
        self.answered = true;
        let mut state = self.node.sim.lock();
        let message = state.ledger.number(&self.request.message);
        if let Some(record) = state.ledger.of(message) {
            record.told = Some(ok);
        }
        state.log(Event::Answered { message, ok });
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        let mut state = self.node.sim.lock();
        state.in_hand = state.in_hand.saturating_sub(1);
        if !self.answered {
            let message = state.ledger.number(&self.request.message);
            state.log(Event::Unanswered { message });
        }
    }
}
