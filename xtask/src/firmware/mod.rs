//! `cargo xtask firmware`: builds the tests of `examples/firmware`, runs them under QEMU, and says which passed.

mod build;
mod compiler;
mod elf;
mod machine;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::budget;
use crate::report::seconds;
use crate::toolchain::cargo;

const THUMBV7M: &str = "thumbv7m-none-eabi";
const THUMBV6M: &str = "thumbv6m-none-eabi";

/// How long a machine may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// A test of the firmware on one machine.
#[derive(Clone, Copy, Debug)]
struct Run {
    test: &'static str,
    machine: &'static str,
    target: &'static str,
    how: How,
}

/// What the machine is run with.
#[derive(Clone, Copy, Debug)]
enum How {
    /// Virtual time that counts instructions and skips idle time; twice, and both must print the same.
    Virtual,
    /// The same, each instruction 1024 ns; what it prints is held against the budget, with the sizes of `tasks`.
    Counted,
    /// No machine: the parts for devices are built for each of [`PORTABLE`].
    Portable,
    /// Real time, until it ends.
    Alone,
    /// By the program of the host that has the binary's name, with these arguments after the machine and the binary.
    Host(&'static [&'static str]),
    /// The same, and the program of `examples/bridge` as the last argument.
    Bridge(&'static [&'static str]),
}

/// A thousand messages, the first acknowledgement of every fiftieth swallowed.
const SERIAL: How = How::Host(&["1000", "50"]);
/// Ten resets, at moments that this seed draws.
const RESETS: How = How::Host(&["10", "1"]);

/// What devices run on: with and without compare-and-swap, with an operating system and without.
const PORTABLE: &[&str] = &[
    THUMBV6M,
    THUMBV7M,
    "thumbv7em-none-eabihf",
    "riscv32imac-unknown-none-elf",
    "riscv32imc-unknown-none-elf",
    "wasm32-unknown-unknown",
];

/// Every run, in the order of cost.
const RUNS: &[Run] = &[
    run("tasks", "mps2-an385", THUMBV7M, How::Virtual),
    run("tasks", "lm3s6965evb", THUMBV7M, How::Virtual),
    run("tasks", "microbit", THUMBV6M, How::Virtual),
    run("backstop", "mps2-an385", THUMBV7M, How::Virtual),
    run("uart", "mps2-an385", THUMBV7M, SERIAL),
    run("uart", "lm3s6965evb", THUMBV7M, SERIAL),
    run("uart", "microbit", THUMBV6M, SERIAL),
    run("device", "mps2-an385", THUMBV7M, RESETS),
    run("bridge", "mps2-an385", THUMBV7M, How::Bridge(&["10", "2"])),
    run("bench", "mps2-an385", THUMBV7M, How::Counted),
    run("powercut", "mps2-an385", THUMBV7M, How::Alone),
    run("portable", "every target", THUMBV6M, How::Portable),
];

impl Run {
    /// The binary that it runs: the bridge is tested with the device's.
    const fn binary(&self) -> &'static str {
        match self.how {
            How::Bridge(_) => "device",
            _ => self.test,
        }
    }
}

const fn run(test: &'static str, machine: &'static str, target: &'static str, how: How) -> Run {
    Run {
        test,
        machine,
        target,
        how,
    }
}

/// Runs the tests with these names, or all.
pub(crate) fn firmware(root: &Path, names: &[String]) -> ExitCode {
    match chosen(names).and_then(|runs| all(&root.join("examples/firmware"), &runs)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("cargo xtask firmware: {why}");
            ExitCode::FAILURE
        }
    }
}

fn chosen(names: &[String]) -> Result<Vec<Run>, String> {
    let known = |name: &&String| !RUNS.iter().any(|run| run.test == name.as_str());
    if let Some(unknown) = names.iter().find(known) {
        let mut tests: Vec<_> = RUNS.iter().map(|run| run.test).collect();
        tests.dedup();
        return Err(format!(
            "there is no test {unknown:?}; there are {}",
            tests.join(", ")
        ));
    }
    let asked = |run: &&Run| names.is_empty() || names.iter().any(|name| name == run.test);
    Ok(RUNS.iter().filter(asked).copied().collect())
}

fn all(firmware: &Path, runs: &[Run]) -> Result<(), String> {
    machine::present()?;
    let mut failed = Vec::new();
    for run in runs {
        let name = format!("{} on {}", run.test, run.machine);
        println!("\n==> {name}");
        let started = Instant::now();
        let result = match run.how {
            How::Portable => PORTABLE
                .iter()
                .try_for_each(|target| build::portable(firmware, target)),
            _ => build::binary(firmware, *run).and_then(|elf| execute(firmware, *run, &elf)),
        };
        let took = seconds(started.elapsed());
        match result {
            Ok(()) => println!("<== {name} passed in {took}"),
            Err(why) => {
                println!("<== {name} FAILED in {took}: {why}");
                failed.push(name);
            }
        }
    }
    if failed.is_empty() {
        println!("\nxtask firmware ok: {} passed", runs.len());
        Ok(())
    } else {
        Err(format!("failed: {}", failed.join(", ")))
    }
}

/// Sizes of `tasks` on two machines; neither may have any part of an allocator.
fn sizes(firmware: &Path) -> Result<Vec<budget::Figure>, String> {
    let mut figures = Vec::new();
    for (name, machine, target) in [
        ("tasks thumbv7m", "mps2-an385", THUMBV7M),
        ("tasks thumbv6m", "microbit", THUMBV6M),
    ] {
        let elf = build::binary(firmware, run("tasks", machine, target, How::Virtual))?;
        let elf = std::fs::read(&elf).map_err(|error| format!("{}: {error}", elf.display()))?;
        if elf::allocates(&elf) {
            return Err(format!("{name} has an allocator"));
        }
        figures.extend(elf::sizes(name, &elf)?);
    }
    Ok(figures)
}

/// Runs the host's program for a binary.
fn hosted(
    firmware: &Path,
    run: Run,
    elf: &Path,
    arguments: &[&str],
    last: Option<&Path>,
) -> Result<(), String> {
    let mut host = Command::new(cargo());
    host.args(["run", "--quiet", "--release", "--locked", "--package", "host"])
        .args(["--bin", run.binary(), "--", run.machine])
        .arg(elf)
        .args(arguments)
        .args(last)
        .current_dir(firmware)
        .env("CARGO_TARGET_DIR", firmware.join("target/host"));
    let mut host = host
        .spawn()
        .map_err(|error| format!("cargo did not start: {error}"))?;
    let status = machine::wait(&mut host, PATIENCE)?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the host ended with {status}"))
    }
}

fn execute(firmware: &Path, run: Run, elf: &Path) -> Result<(), String> {
    match run.how {
        How::Portable => Ok(()),
        How::Counted => {
            let counted = machine::run(run.machine, elf, &["-icount", "shift=10,sleep=off"], PATIENCE)?;
            let mut figures = sizes(firmware)?;
            figures.extend(budget::printed(&counted));
            print!("{}", budget::check(&firmware.join("budget.txt"), &figures)?);
            Ok(())
        }
        How::Alone => {
            print!("{}", machine::run(run.machine, elf, &[], PATIENCE)?);
            Ok(())
        }
        How::Host(arguments) => hosted(firmware, run, elf, arguments, None),
        How::Bridge(arguments) => hosted(firmware, run, elf, arguments, Some(&build::bridge(firmware)?)),
        How::Virtual => {
            let icount = ["-icount", "shift=4,sleep=off"];
            let first = machine::run(run.machine, elf, &icount, PATIENCE)?;
            print!("{first}");
            let second = machine::run(run.machine, elf, &icount, PATIENCE)?;
            if first == second {
                Ok(())
            } else {
                Err(format!("the second run printed something else: {second}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_names_all_tests_run() {
        assert_eq!(chosen(&[]).unwrap().len(), RUNS.len());
    }

    #[test]
    fn a_test_runs_on_all_its_machines() {
        assert_eq!(chosen(&[String::from("tasks")]).unwrap().len(), 3);
    }

    #[test]
    fn an_unknown_test_is_refused_with_a_list() {
        let why = chosen(&[String::from("tusks")]).unwrap_err();
        assert!(why.contains("tusks") && why.contains("tasks"), "{why}");
    }
}
