//! What all parts of a world share, behind one lock that is never held across an await.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use postbox::bus::InMemoryBus;
use postbox::sync::{Bell, Stop};
use postbox::testing::VirtualClock;
use postbox::time::{Clock, Instant};

use crate::backing::Backing;
use crate::broker::{Broker, Packet};
use crate::check::{Ledger, Promise, Violation};
use crate::dice::Dice;
use crate::faults::Faults;
use crate::history::{Event, History, MessageNo, NodeId};
use crate::sabotage::Sabotage;
use crate::world::Request;

/// The handle that every part keeps.
#[derive(Clone)]
pub(crate) struct Sim {
    pub(crate) clock: VirtualClock,
    pub(crate) bus: InMemoryBus,
    pub(crate) backing: Arc<dyn Backing>,
    /// Rings when there is something to claim.
    pub(crate) hints: Bell,
    /// Rings when there is a request.
    pub(crate) requests: Bell,
    state: Arc<Mutex<State>>,
}

/// What changes.
pub(crate) struct State {
    clock: VirtualClock,
    pub(crate) dice: Dice,
    pub(crate) faults: Faults,
    pub(crate) storm_ends: Instant,
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) limits: Limits,
    pub(crate) ledger: Ledger,
    pub(crate) history: History,
    pub(crate) violations: Vec<Violation>,
    pub(crate) broker: Broker,
    /// Packets under way, by arrival.
    pub(crate) packets: BTreeMap<(Instant, u64), Packet>,
    pub(crate) next_packet: u64,
    /// Who waits for the answer to a packet, and the answer.
    pub(crate) waiting: BTreeMap<u64, Waiting>,
    pub(crate) requests: VecDeque<Request>,
    pub(crate) in_hand: usize,
    pub(crate) stops: Vec<Stop>,
    /// The node whose future is being dropped by a crash: what it leaves is no decision of its own.
    pub(crate) crashing: Option<NodeId>,
    pub(crate) panics: Panics,
    /// How many handlers asked whether they panic.
    pub(crate) handlers: u64,
    /// Counts the store's operations, and says which fail.
    pub(crate) store: StoreFaults,
    /// Publishes under way, by node.
    pub(crate) under_way: Vec<usize>,
    /// How often each node died.
    pub(crate) deaths: Vec<u32>,
    /// Until when each node last stood still.
    pub(crate) stalled_until: Vec<Instant>,
}

/// A packet's sender.
#[derive(Default)]
pub(crate) struct Waiting {
    pub(crate) answer: Option<crate::broker::Answer>,
    pub(crate) waker: Option<Waker>,
}

/// What the workers were told, to be held against what they do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) failures: u32,
    pub(crate) abandoned: u32,
    pub(crate) lease: Duration,
    /// Publishes under way in one node.
    pub(crate) window: usize,
}

/// Which call panics: 0 for none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Panics {
    pub(crate) publisher: u64,
    pub(crate) handler: u64,
}

/// Which of the store's operations fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreFaults {
    pub(crate) operations: u64,
    /// The first that fails; 0 for none.
    pub(crate) from: u64,
    /// For how long from then on all others fail too.
    pub(crate) lasts: Duration,
    pub(crate) until: Instant,
    /// Whether they take effect all the same.
    pub(crate) applied: bool,
}

/// What becomes of one operation of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Succeeds,
    Fails,
    LosesItsAnswer,
}

impl Sim {
    pub(crate) fn new(clock: VirtualClock, backing: Arc<dyn Backing>, state: State) -> Self {
        Self {
            clock,
            bus: InMemoryBus::new(),
            backing,
            hints: Bell::new(),
            requests: Bell::new(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// A panic of a scenario must not hide what it did.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One way over the network: nothing happens in it, but the world goes on, and a crash fits in.
    pub(crate) async fn hop(&self) {
        use postbox::runtime::Timer;
        let until = {
            let mut state = self.lock();
            let slow = state.faults.slow_hop;
            let range = state.faults.hop;
            state
                .happens(slow)
                .then(|| state.now() + millis(&mut state.dice, range))
        };
        match until {
            Some(until) => self.clock.sleep_until(until).await,
            None => postbox::join::yield_now().await,
        }
    }
}

impl State {
    pub(crate) fn new(clock: VirtualClock, dice: Dice, faults: Faults, limits: Limits) -> Self {
        let storm_ends = clock.now() + faults.lasts;
        Self {
            clock,
            dice,
            faults,
            storm_ends,
            sabotage: None,
            limits,
            ledger: Ledger::default(),
            history: History::default(),
            violations: Vec::new(),
            broker: Broker::default(),
            packets: BTreeMap::new(),
            next_packet: 0,
            waiting: BTreeMap::new(),
            requests: VecDeque::new(),
            in_hand: 0,
            stops: Vec::new(),
            crashing: None,
            panics: Panics::default(),
            handlers: 0,
            store: StoreFaults::none(),
            under_way: Vec::new(),
            deaths: Vec::new(),
            stalled_until: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(crate) fn log(&mut self, event: Event) {
        let now = self.now();
        self.history.push(now, event);
    }

    pub(crate) fn violated(&mut self, promise: Promise, message: Option<MessageNo>, detail: String) {
        let at = self.now();
        self.violations.push(Violation {
            promise,
            message,
            at,
            detail,
        });
    }

    /// Whether a fault strikes now. Never once the storm is over.
    pub(crate) fn happens(&mut self, permille: u32) -> bool {
        permille > 0 && self.now() < self.storm_ends && self.dice.chance(permille)
    }

    /// Whether this bug was planted.
    pub(crate) fn sabotaged(&self, bug: Sabotage) -> bool {
        self.sabotage == Some(bug)
    }

    /// What becomes of the store's next operation.
    pub(crate) fn operation(&mut self, node: NodeId, doing: &'static str) -> Operation {
        self.store.operations += 1;
        let StoreFaults {
            operations,
            from,
            lasts,
            until,
            applied,
        } = self.store;
        let now = self.now();
        if operations == from {
            self.store.until = now + lasts;
        }
        let scripted = operations == from || now < until;
        let (error, lost) = (self.faults.store_error, self.faults.store_answer_lost);
        if (scripted && !applied) || self.happens(error) {
            self.log(Event::StoreFailed { node, doing });
            return Operation::Fails;
        }
        if scripted || self.happens(lost) {
            self.log(Event::StoreAnswerLost { node, doing });
            return Operation::LosesItsAnswer;
        }
        Operation::Succeeds
    }
}

impl StoreFaults {
    pub(crate) const fn none() -> Self {
        Self {
            operations: 0,
            from: 0,
            lasts: Duration::ZERO,
            until: Instant::ZERO,
            applied: false,
        }
    }
}

/// A time out of a range.
pub(crate) fn millis(dice: &mut Dice, range: crate::faults::Millis) -> Duration {
    Duration::from_millis(dice.between(range))
}
