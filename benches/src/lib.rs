//! What Postbox costs. A suite is a module here: it measures times side by side, and lists cases whose instructions and
//! allocations are counted. What to do with the figures is for the programs and `cargo xtask bench`.
//!
//! ```
//! use postbox_benches::{Effort, Figures, SUITES};
//!
//! let suite = SUITES.iter().find(|suite| suite.name == "executors").unwrap();
//! (suite.measure)(Effort::Smoke, &mut Figures::silent())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod dispatch;
mod executors;
mod figures;
mod in_memory;
mod join;
mod latency;
mod load;
mod postgres;
mod publisher;
mod rates;
mod shop;
mod side_by_side;
mod sqlite;

pub use dispatch::{Drain, Slab};
pub use executors::Backlog;
pub use figures::{Effort, Figures};
pub use in_memory::{Filled, Nowhere, spin};
pub use join::{Board, Child, Ours, Round, SIZES};
pub use load::{Answers, Request, TaskFailure, clients, request, runtime};
pub use publisher::{Boxed, Lent, Same, dynamic};
pub use rates::{OnPostgres, sqlite_commits, sqlite_drain};
pub use side_by_side::{Contender, nanoseconds, quantile, side_by_side};

/// What can go wrong with a benchmark: a store, a server, a file.
pub type Failure = Box<dyn std::error::Error>;

/// One area of measurement.
#[derive(Debug)]
pub struct Suite {
    /// Its name on the command line.
    pub name: &'static str,
    /// Measures, and writes each figure down.
    pub measure: fn(Effort, &mut Figures) -> Result<(), Failure>,
    /// What is counted, not timed.
    pub cases: &'static [Case],
}

/// Something whose instructions and allocations are counted: run once with [`steps`](Self::steps) and once with twice as
/// many, so that the difference is free of what start-up costs.
#[derive(Debug)]
pub struct Case {
    /// Its name: suite, what, size.
    pub name: &'static str,
    /// How many steps one run makes. Under callgrind a step should be worth a few thousand instructions in all.
    pub steps: u64,
    /// What a step counts for, such as the messages of a batch.
    pub units: u64,
    /// Does that many steps. Its cost must be a constant plus something proportional to them.
    pub run: fn(u64),
}

/// All suites, in the order of the tables.
pub const SUITES: &[Suite] = &[
    join::SUITE,
    dispatch::SUITE,
    publisher::SUITE,
    sqlite::SUITE,
    postgres::SUITE,
    latency::SUITE,
    executors::SUITE,
];

/// All counted cases.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    SUITES.iter().flat_map(|suite| suite.cases)
}
