//! The chores of the workspace, one subcommand each. Run it as `cargo xtask <chore>`.
#![allow(
    clippy::print_stderr,
    reason = "a command line tool reports its failures on standard error"
)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod firmware;
mod plan;
mod quickstart;
mod report;
mod run;
mod simulation;
mod toolchain;

/// The chores of the Postbox workspace.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Everything CI checks: format, lints, feature builds, tests, docs, and the quickstart end to end.
    Test,
    /// Crashes, stalls and lost answers in virtual time, by seed: see `cargo xtask simulate --help`.
    #[command(disable_help_flag = true)]
    Simulate {
        /// Passed on to the simulator.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// The stores and engines on bare metal, under QEMU; installs what that needs on Debian, as root.
    Firmware {
        /// The tests to run; all without any.
        tests: Vec<String>,
    },
    /// The benchmarks (not built yet).
    Bench {
        /// Compare with the recorded figures instead of printing new ones.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    match Cli::parse().chore {
        Chore::Test => test(),
        Chore::Simulate { args } => simulation::chore(&args),
        Chore::Firmware { tests } => {
            let root = toolchain::workspace_root();
            firmware::firmware(&root, &tests)
        }
        Chore::Bench { check: true } => not_built("bench --check"),
        Chore::Bench { check: false } => not_built("bench"),
    }
}

fn test() -> ExitCode {
    let toolchain = toolchain::Toolchain::probe();
    let root = toolchain::workspace_root();
    let report = run::all(plan::test(toolchain, &root), |step| run::step(step, &root));
    print!("{report}");
    if report.succeeded() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A chore that is planned but absent must not look like one that passed.
fn not_built(chore: &str) -> ExitCode {
    eprintln!("cargo xtask {chore}: not built yet");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bench_takes_a_check_flag() {
        let cli = Cli::try_parse_from(["xtask", "bench", "--check"]).unwrap();
        assert!(matches!(cli.chore, Chore::Bench { check: true }));
    }

    #[test]
    fn simulate_passes_its_arguments_on() {
        let cli = Cli::try_parse_from(["xtask", "simulate", "--seeds", "10", "--store", "sqlite"]).unwrap();
        let Chore::Simulate { args } = cli.chore else {
            unreachable!("it is the chore that was asked for");
        };
        assert_eq!(args, ["--seeds", "10", "--store", "sqlite"]);
    }

    #[test]
    fn an_unknown_chore_is_refused() {
        assert!(Cli::try_parse_from(["xtask", "tset"]).is_err());
    }
}
