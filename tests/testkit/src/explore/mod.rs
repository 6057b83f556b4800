//! A scenario in every way it may go: a crash at every await, every pair of crashes, a failing store at every
//! operation, a panic at every call, and storms.

mod case;

use std::fmt;

use postbox::aggregate::Repository;
use postbox::store::OutboxOperator;
use postbox::testing::VirtualClock;

pub use case::{Case, UnknownCase};

use crate::faults::Faults;
use crate::world::{Outcome, World};

/// The variable that names a case to be repeated alone.
const CASE: &str = "POSTBOX_CASE";

/// Tries a scenario over a store in RAM: see [`Explorer`], whose defaults it has.
///
/// ```
/// use std::time::Duration;
/// use postbox::aggregate::{Aggregate, AggregateRepository, Entity};
/// use postbox::bus::RunOptions;
/// use postbox::message::OutboxMessage;
/// use postbox::service::{Context, HandlerResult, Service};
/// use postbox_testkit::{SimRepository, explore};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Default)]
/// # struct Order { entity: Entity }
/// # #[derive(Serialize, Deserialize)]
/// # enum OrderEvent { Placed { id: String } }
/// # impl Aggregate for Order {
/// #     type Event = OrderEvent;
/// #     const TYPE: &'static str = "order";
/// #     fn entity(&self) -> &Entity { &self.entity }
/// #     fn entity_mut(&mut self) -> &mut Entity { &mut self.entity }
/// #     fn apply(&mut self, event: &OrderEvent) {
/// #         let OrderEvent::Placed { id } = event;
/// #         self.entity.set_id(id);
/// #     }
/// # }
///
/// type Orders = AggregateRepository<SimRepository, Order>;
///
/// async fn place(ctx: &Context<'_, Orders>) -> HandlerResult {
///     let id: String = ctx.input()?;
///     let mut order = Order::default();
///     order.record(OrderEvent::Placed { id: id.clone() })?;
///     let placed = OutboxMessage::create(id, "order.placed", b"{}".to_vec())?;
///     ctx.commit_outbox(&mut order, placed).await?;
///     Ok(().into())
/// }
///
/// let explored = explore(|world| {
///     world.node(|node| async move {
///         let orders = Orders::new(node.repository());
///         let app = node.attach(Service::with_repo(orders).command("order.place").handle(place));
///         let _ = node.run(&app, RunOptions::idempotent()).await;
///     });
///     world.command(Duration::ZERO, "order.place", "o-1", "o-1".into());
/// });
/// println!("{}", explored.unwrap());
/// ```
///
/// # Errors
/// The first [`Failure`]: what was broken, how to repeat it, and the story of the message.
pub fn explore(scenario: impl Fn(&mut World)) -> Result<Explored, Box<Failure>> {
    Explorer::new().explore(scenario)
}

type Open = Box<dyn Fn(u64, Faults) -> World>;

/// How a scenario is tried.
pub struct Explorer {
    open: Open,
    storms: u64,
    pairs: bool,
}

/// What was tried, and held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explored {
    /// Polls at which a process died.
    pub crashes: u64,
    /// Pairs of such polls, and of a shutdown with a crash.
    pub pairs: u64,
    /// Operations at which the store failed, each in four ways.
    pub store_faults: u64,
    /// Calls at which a publisher or a handler panicked.
    pub panics: u64,
    /// Seeds.
    pub storms: u64,
    /// Messages committed in all of them.
    pub messages: u64,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            crashes,
            pairs,
            store_faults,
            panics,
            storms,
            messages,
        } = self;
        write!(
            f,
            "crash points {crashes} pairs {pairs} store faults {store_faults} panics {panics} storms {storms} \
             messages {messages} violations 0"
        )
    }
}

/// A promise was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// In which case.
    pub case: Case,
    /// What happened in it.
    pub outcome: Outcome,
}

/// The case, the violations, the story of the message that the first is about, and how to repeat it.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "in the case `{}`:", self.case)?;
        for violation in &self.outcome.violations {
            writeln!(f, "  {violation}")?;
        }
        writeln!(f, "\n{}", self.outcome.timeline())?;
        write!(
            f,
            "to repeat it alone, run the same command with {CASE}='{}' before it",
            self.case
        )
    }
}

impl std::error::Error for Failure {}

impl Explorer {
    /// Over a store in RAM; 200 storms; no pairs.
    pub fn new() -> Self {
        Self {
            open: Box::new(World::new),
            storms: 200,
            pairs: false,
        }
    }

    /// Over another store: see [`World::over`].
    pub fn over<R>(mut self, open: impl Fn(VirtualClock) -> R + 'static) -> Self
    where
        R: Repository<OutboxStore: OutboxOperator<Key: Send, Wakeup: Send> + Send + Sync>
            + Send
            + Sync
            + 'static,
    {
        self.open = Box::new(move |seed, faults| World::over(seed, faults, &open));
        self
    }

    /// Sets how many storms are tried.
    pub const fn with_storms(mut self, seeds: u64) -> Self {
        self.storms = seeds;
        self
    }

    /// Tries every pair of crashes too, and every crash after every shutdown: for short scenarios, since it
    /// takes as many worlds as the square of their polls.
    pub const fn with_pairs(mut self) -> Self {
        self.pairs = true;
        self
    }

    /// Tries a scenario in every case. The scenario is called once for every world and must fill each alike.
    ///
    /// # Errors
    /// The first [`Failure`].
    pub fn explore(&self, scenario: impl Fn(&mut World)) -> Result<Explored, Box<Failure>> {
        let mut explored = Explored::default();
        let attempt = |case: Case| self.attempt(case, &scenario);
        if let Some(case) = std::env::var(CASE).ok().and_then(|case| case.parse().ok()) {
            explored.messages = attempt(case)?.messages;
            return Ok(explored);
        }
        let mut count = |of: &mut u64, outcome: Outcome| {
            *of += 1;
            explored.messages += outcome.messages;
            outcome
        };
        let (mut crashes, mut pairs, mut store_faults, mut panics, mut storms) = (0, 0, 0, 0, 0);
        let calm = attempt(Case::Calm)?;
        for poll in 1..=calm.polls {
            let once = count(&mut crashes, attempt(Case::Crash(poll))?);
            for second in (poll + 1..=once.polls).take_while(|_| self.pairs) {
                count(&mut pairs, attempt(Case::Crashes(poll, second))?);
                count(&mut pairs, attempt(Case::StopAndCrash(poll, second))?);
            }
        }
        for at in 1..=calm.operations {
            count(&mut store_faults, attempt(Case::StoreFails(at))?);
            for case in [
                Case::StoreIsDown(at),
                Case::StoreAnswerLost(at),
                Case::StoreIsMute(at),
            ] {
                count(&mut 0, attempt(case)?);
            }
        }
        for call in 1..=calm.publishes {
            count(&mut panics, attempt(Case::PublisherPanics(call))?);
        }
        for call in 1..=calm.handlers {
            count(&mut panics, attempt(Case::HandlerPanics(call))?);
        }
        for seed in 0..self.storms {
            count(&mut storms, attempt(Case::Storm(seed))?);
        }
        let messages = explored.messages + calm.messages;
        Ok(Explored {
            crashes,
            pairs,
            store_faults,
            panics,
            storms,
            messages,
        })
    }

    fn attempt(&self, case: Case, scenario: &impl Fn(&mut World)) -> Result<Outcome, Box<Failure>> {
        let mut world = case.open(&*self.open);
        scenario(&mut world);
        let outcome = world.run();
        if outcome.violations.is_empty() {
            return Ok(outcome);
        }
        Err(Box::new(Failure { case, outcome }))
    }
}

impl Default for Explorer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Explorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Explorer")
            .field("storms", &self.storms)
            .field("pairs", &self.pairs)
            .finish_non_exhaustive()
    }
}
