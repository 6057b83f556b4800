//! Many worlds: one a seed, each with a storm of its own.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::dice::Dice;
use crate::faults::Faults;
use crate::sabotage::Sabotage;
use crate::workload::{Size, fill};
use crate::world::{Outcome, World};

/// How many failed seeds a report keeps.
const KEPT: usize = 10;

/// What many worlds came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Worlds.
    pub seeds: u64,
    /// Processes that died in them.
    pub crashes: u64,
    /// Messages committed in them.
    pub messages: u64,
    /// Promises broken in them.
    pub violations: u64,
    /// The first few seeds in whose worlds one was.
    pub failed: Vec<u64>,
}

/// The one line that says it all.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seeds,
            crashes,
            messages,
            violations,
            ..
        } = self;
        write!(
            f,
            "seeds {seeds} crashes {crashes} messages {messages} violations {violations}"
        )
    }
}

impl Report {
    /// Adds one world.
    pub fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.seeds += 1;
        self.crashes += outcome.crashes;
        self.messages += outcome.messages;
        self.violations += outcome.violations.len() as u64;
        if !outcome.violations.is_empty() {
            self.failed.push(seed);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.crashes += other.crashes;
        self.messages += other.messages;
        self.violations += other.violations;
        self.failed.extend(&other.failed);
        self.failed.sort_unstable();
        self.failed.truncate(KEPT);
    }
}

/// The world of a seed. `open` makes it over some store.
///
/// ```
/// use postbox_testkit::{World, world_of};
///
/// let outcome = world_of(42, None, World::new);
/// assert!(outcome.violations.is_empty(), "{}", outcome.timeline());
/// ```
pub fn world_of(seed: u64, bug: Option<Sabotage>, open: impl FnOnce(u64, Faults) -> World) -> Outcome {
    let mut dice = Dice::new(seed ^ 0x5EED_5EED_5EED_5EED);
    let faults = Faults::storm(&mut dice);
    let size = Size::of(&mut dice);
    let mut world = open(seed, faults.clone());
    fill(&mut world, size, &faults);
    if let Some(bug) = bug {
        world.sabotage(bug);
    }
    world.run()
}

/// The worlds of many seeds, on all cores. Which thread has which seed changes nothing in them.
///
/// ```
/// use postbox_testkit::{World, simulate};
///
/// let report = simulate(0..100, World::new);
/// assert_eq!(report.violations, 0, "seeds {:?}", report.failed);
/// ```
pub fn simulate(seeds: std::ops::Range<u64>, open: impl Fn(u64, Faults) -> World + Sync) -> Report {
    let next = AtomicU64::new(seeds.start);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut report = Report::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return report;
            }
            report.add(seed, &world_of(seed, None, &open));
        }
    };
    let mut total = Report::default();
    thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for handle in handles {
            match handle.join() {
                Ok(report) => total.merge(&report),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    total
}
