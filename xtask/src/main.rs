//! The chores of the workspace, one subcommand each. Run it as `cargo xtask <chore>`.
#![allow(
    clippy::print_stderr,
    reason = "a command line tool reports its failures on standard error"
)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod bouncer;
mod budget;
mod container;
mod debian;
mod firmware;
mod host;
mod plan;
mod postgres;
mod programs;
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
    /// Runs a command beside a private PostgreSQL server, whose URL is in `POSTBOX_TEST_POSTGRES_URL`.
    Postgres {
        /// The command, for example: cargo nextest run -p postbox-postgres
        #[arg(trailing_var_arg = true, required = true)]
        command: Vec<String>,
    },
    /// The same behind PgBouncer in transaction mode, with two connections to the server and no prepared statements.
    Bouncer {
        /// The command, for example: cargo nextest run -p postbox-postgres --test pooled
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
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
    /// The benchmarks: writes the tables and charts of benches/README.md anew.
    Bench {
        /// Count instructions and allocations instead, and hold them against benches/budget.txt.
        #[arg(long, conflicts_with_all = ["smoke", "suites"])]
        check: bool,
        /// Run everything once and small, and write nothing.
        #[arg(long)]
        smoke: bool,
        /// The suites to measure; all without any.
        suites: Vec<String>,
    },
}

fn main() -> ExitCode {
    match Cli::parse().chore {
        Chore::Test => test(),
        Chore::Postgres { command } => beside(&command, false),
        Chore::Bouncer { command } => beside(&command, true),
        Chore::Simulate { args } => simulation::chore(&args),
        Chore::Firmware { tests } => {
            let root = toolchain::workspace_root();
            firmware::firmware(&root, &tests)
        }
        Chore::Bench { check, smoke, suites } => bench::bench(check, smoke, &suites),
    }
}

fn test() -> ExitCode {
    let toolchain = toolchain::Toolchain::probe();
    let root = toolchain::workspace_root();
    // Lives as long as the tests. Without one, the tests that need it must not look as if they had passed.
    let server = postgres::Server::start(postgres::Durability::None);
    let pooler = server
        .as_ref()
        .map_or(Ok(()), |server| bouncer::fits(&server.url));
    let around = plan::Around {
        no_server: server.as_ref().err().map(String::as_str),
        no_pooler: pooler.as_ref().err().map(String::as_str),
        programs: postgres::programs().is_some(),
    };
    let steps = plan::test(toolchain, &root, around);
    let programs = postgres::programs().unwrap_or_default();
    let url = server.as_ref().map_or("", |server| server.url.as_str());
    let variables = [
        (postgres::URL, url.as_ref()),
        (postgres::PROGRAMS, programs.as_os_str()),
    ];
    let report = run::all(steps, |step| run::step(step, &root, &variables));
    print!("{report}");
    if report.succeeded() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn beside(command: &[String], pooled: bool) -> ExitCode {
    match run_beside(command, pooled) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("cargo xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Whether a command succeeds beside a server, or beside a pooler before one.
fn run_beside(command: &[String], pooled: bool) -> Result<bool, String> {
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let server = postgres::Server::start(postgres::Durability::None)?;
    let mut command = std::process::Command::new(program);
    command.args(arguments).env(postgres::URL, &server.url);
    command.env(postgres::PROGRAMS, postgres::programs().unwrap_or_default());
    // Lives as long as the command.
    let bouncer = pooled.then(|| bouncer::Bouncer::start(&server.url)).transpose()?;
    if let Some(bouncer) = &bouncer {
        command
            .env(postgres::URL, &bouncer.url)
            .env(bouncer::PREPARED, "no");
    }
    let status = command.status().map_err(|error| format!("{program}: {error}"))?;
    Ok(status.success())
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
        assert!(matches!(cli.chore, Chore::Bench { check: true, .. }));
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
