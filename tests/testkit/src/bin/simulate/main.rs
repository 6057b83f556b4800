//! Runs seeded worlds, replays one, or breaks the scenarios off everywhere: what `cargo xtask simulate` calls.

mod heapless;
mod stores;

use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use clap::Parser;
use postbox_testkit::{Outcome, Report, SCENARIOS, Scenario, simulate, world_of};
use stores::Store;

/// Simulates crashes, stalls, outages and lost answers over the real engines and a real store.
#[derive(Debug, Parser)]
#[command(name = "simulate", bin_name = "cargo xtask simulate")]
struct Cli {
    /// How many seeds.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// Which store.
    #[arg(long, value_enum, default_value_t = Store::Hashmap)]
    store: Store,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Replays this seed and prints its history.
    #[arg(long)]
    seed: Option<u64>,
    /// Instead of seeds: every crash, pair of crashes, store fault and panic of every scenario.
    #[arg(long)]
    everywhere: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let sound = match (cli.everywhere, cli.seed) {
        (true, _) => everywhere(cli.store),
        (false, Some(seed)) => replay(cli.store, seed),
        (false, None) => storms(&cli),
    };
    if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn storms(cli: &Cli) -> bool {
    let store = cli.store;
    let start = Instant::now();
    let seeds = cli.from..cli.from.saturating_add(cli.seeds);
    let report = simulate(seeds, |seed, faults| store.open(seed, faults));
    println!(
        "{} worlds over {} in {:.1} s",
        report.seeds,
        store.name(),
        start.elapsed().as_secs_f64()
    );
    for seed in &report.failed {
        println!(
            "replay: cargo xtask simulate --store {} --seed {seed}",
            store.name()
        );
    }
    println!("{report}");
    report.violations == 0
}

/// The story of a seed's world, or of the message that the first violation is about.
fn tell(store: Store, seed: u64) -> Outcome {
    let outcome = world_of(seed, None, |seed, faults| store.open(seed, faults));
    println!("{}", outcome.timeline());
    for violation in &outcome.violations {
        println!("{violation}");
    }
    outcome
}

fn replay(store: Store, seed: u64) -> bool {
    let outcome = tell(store, seed);
    let mut report = Report::default();
    report.add(seed, &outcome);
    println!("{report}");
    report.violations == 0
}

/// A thread a scenario; the totals in one line.
fn everywhere(store: Store) -> bool {
    let explore = |scenario: &Scenario| {
        let explorer = store.explorer().with_storms(0);
        let explorer = if scenario.pairs {
            explorer.with_pairs()
        } else {
            explorer
        };
        explorer.explore(scenario.fill)
    };
    let start = Instant::now();
    let results = thread::scope(|scope| {
        let threads = SCENARIOS
            .iter()
            .map(|scenario| scope.spawn(move || explore(scenario)));
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect::<Vec<_>>()
    });
    let (mut points, mut pairs, mut faults, mut panics, mut violations) = (0, 0, 0, 0, 0);
    for (scenario, result) in SCENARIOS.iter().zip(results) {
        match result {
            Ok(Ok(explored)) => {
                println!("{:<30} {explored}", scenario.name);
                points += explored.crashes;
                pairs += explored.pairs;
                faults += explored.store_faults;
                panics += explored.panics;
            }
            Ok(Err(failure)) => {
                println!("{}: {failure}", scenario.name);
                violations += failure.outcome.violations.len();
            }
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    println!(
        "{} scenarios over {} in {:.1} s",
        SCENARIOS.len(),
        store.name(),
        start.elapsed().as_secs_f64()
    );
    println!(
        "crash points {points} pairs {pairs} store faults {faults} panics {panics} violations {violations}"
    );
    violations == 0
}
