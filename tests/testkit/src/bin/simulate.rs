//! Runs seeded worlds, or replays one: what `cargo xtask simulate` calls.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use postbox::testing::VirtualClock;
use postbox_sqlite::{Execution, SqliteOptions, SqliteRepository};
use postbox_testkit::{Faults, Report, World, simulate, world_of};

/// Simulates crashes, stalls, outages and lost answers over the real engines and a real store.
#[derive(Debug, Parser)]
struct Cli {
    /// How many seeds.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// Which store.
    #[arg(long, value_enum, default_value_t = Store::Hashmap)]
    store: Store,
    /// Replays this seed and prints its history.
    #[arg(long)]
    seed: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Store {
    Hashmap,
    Sqlite,
}

impl Store {
    fn open(self, seed: u64, faults: Faults) -> World {
        match self {
            Self::Hashmap => World::new(seed, faults),
            Self::Sqlite => World::over(seed, faults, sqlite),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Hashmap => "hashmap",
            Self::Sqlite => "sqlite",
        }
    }
}

#[expect(
    clippy::expect_used,
    reason = "a database in memory opens, or nothing can be simulated"
)]
fn sqlite(clock: VirtualClock) -> SqliteRepository {
    SqliteOptions::memory()
        .with_execution(Execution::Inline)
        .with_clock(Arc::new(clock))
        .open()
        .expect("a database in memory opens")
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let store = cli.store;
    let report = if let Some(seed) = cli.seed {
        let outcome = world_of(seed, None, |seed, faults| store.open(seed, faults));
        println!("{}", outcome.timeline());
        for violation in &outcome.violations {
            println!("{violation}");
        }
        let mut report = Report::default();
        report.add(seed, &outcome);
        report
    } else {
        let start = Instant::now();
        let report = simulate(cli.from..cli.from + cli.seeds, |seed, faults| {
            store.open(seed, faults)
        });
        let seconds = start.elapsed().as_secs_f64();
        println!("{} worlds over {} in {seconds:.1} s", report.seeds, store.name());
        report
    };
    if cli.seed.is_none() {
        for seed in &report.failed {
            println!(
                "replay: cargo xtask simulate --store {} --seed {seed}",
                store.name()
            );
        }
    }
    println!("{report}");
    if report.violations == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
