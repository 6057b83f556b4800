//! Runs counted cases: `count list`, `count run <case> <steps>` (under callgrind, say), `count allocations <case>`.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a command line tool prints its results"
)]

use std::alloc::System;
use std::process::ExitCode;

use postbox_benches::{Case, cases};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments.as_slice() {
        ["list"] => {
            for case in cases() {
                println!("{}\t{}\t{}", case.name, case.steps, case.units);
            }
        }
        ["run", name, steps] => {
            let (Some(case), Ok(steps)) = (find(name), steps.parse()) else {
                return usage();
            };
            (case.run)(steps);
        }
        ["allocations", name] => {
            let Some(case) = find(name) else { return usage() };
            // Twice as many steps, less as many: without what start-up allocates.
            let (once, twice) = (allocations(case, case.steps), allocations(case, case.steps * 2));
            println!("{}", twice.saturating_sub(once));
        }
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn find(name: &str) -> Option<&'static Case> {
    cases().find(|case| case.name == name)
}

fn allocations(case: &Case, steps: u64) -> usize {
    let region = Region::new(ALLOCATOR);
    (case.run)(steps);
    let change = region.change();
    change.allocations + change.reallocations
}

fn usage() -> ExitCode {
    eprintln!("count list | count run <case> <steps> | count allocations <case>");
    ExitCode::from(2)
}
