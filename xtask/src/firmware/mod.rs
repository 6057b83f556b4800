//! `cargo xtask firmware`: builds the tests of `examples/firmware`, runs them under QEMU, and says which passed.

mod budget;
mod compiler;
mod machine;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use compiler::Compiler;

use crate::report::seconds;
use crate::toolchain::cargo;

const THUMBV7M: &str = "thumbv7m-none-eabi";
const THUMBV6M: &str = "thumbv6m-none-eabi";

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
    /// By the program of the host that has the test's name, with these arguments after the machine and the binary.
    Host(&'static [&'static str]),
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
    run("bench", "mps2-an385", THUMBV7M, How::Counted),
    run("powercut", "mps2-an385", THUMBV7M, How::Alone),
    run("portable", "every target", THUMBV6M, How::Portable),
];

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
            How::Portable => PORTABLE.iter().try_for_each(|target| portable(firmware, target)),
            _ => build(firmware, *run).and_then(|elf| execute(firmware, *run, &elf)),
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

/// Builds one binary for one machine; returns where it is until the next build.
fn build(firmware: &Path, run: Run) -> Result<PathBuf, String> {
    // Its network is a feature, since nothing else needs that much code.
    let network = if run.test == "device" { "net" } else { "" };
    let features = [run.machine, network].join(" ");
    let what = [
        "--package",
        "firmware",
        "--bin",
        run.test,
        "--features",
        &features,
    ];
    let target = compile(firmware, &what, run.target)?;
    Ok(target.join(run.target).join("release").join(run.test))
}

/// Builds the page for firmware authors, and so core, the stores and the adapter for devices, for a target.
fn portable(firmware: &Path, target: &str) -> Result<(), String> {
    compile(firmware, &["--package", "sensor"], target)?;
    println!("core, heapless, flash and embassy build for {target}");
    Ok(())
}

/// Runs cargo for a target; where the target directory is.
fn compile(firmware: &Path, what: &[&str], triple: &str) -> Result<PathBuf, String> {
    let compiler = Compiler::find(triple)?;
    let target = firmware.join("target").join(compiler.name());
    let mut command = Command::new(cargo());
    command
        .args(["build", "--quiet", "--release", "--locked", "--target", triple])
        .args(what)
        .current_dir(firmware)
        .env("CARGO_TARGET_DIR", &target);
    compiler.configure(&mut command, triple);
    let status = command
        .status()
        .map_err(|error| format!("cargo did not start: {error}"))?;
    if !status.success() {
        return Err(format!("the build failed: {status}"));
    }
    Ok(target)
}

/// Sizes of `tasks` on two machines; neither may have any part of an allocator.
fn sizes(firmware: &Path) -> Result<Vec<budget::Figure>, String> {
    let mut figures = Vec::new();
    for (name, machine, target) in [
        ("tasks thumbv7m", "mps2-an385", THUMBV7M),
        ("tasks thumbv6m", "microbit", THUMBV6M),
    ] {
        let elf = build(firmware, run("tasks", machine, target, How::Virtual))?;
        let elf = std::fs::read(&elf).map_err(|error| format!("{}: {error}", elf.display()))?;
        if budget::allocates(&elf) {
            return Err(format!("{name} has an allocator"));
        }
        figures.extend(budget::sizes(name, &elf)?);
    }
    Ok(figures)
}

fn execute(firmware: &Path, run: Run, elf: &Path) -> Result<(), String> {
    let patience = Duration::from_secs(300);
    match run.how {
        How::Portable => Ok(()),
        How::Counted => {
            let counted = machine::run(run.machine, elf, &["-icount", "shift=10,sleep=off"], patience)?;
            let mut figures = sizes(firmware)?;
            figures.extend(budget::printed(&counted));
            print!("{}", budget::check(&firmware.join("budget.txt"), &figures)?);
            Ok(())
        }
        How::Alone => {
            print!("{}", machine::run(run.machine, elf, &[], patience)?);
            Ok(())
        }
        How::Host(arguments) => {
            let mut host = Command::new(cargo());
            host.args(["run", "--quiet", "--release", "--locked", "--package", "host"])
                .args(["--bin", run.test, "--", run.machine])
                .arg(elf)
                .args(arguments)
                .current_dir(firmware)
                .env("CARGO_TARGET_DIR", firmware.join("target/host"));
            let mut host = host
                .spawn()
                .map_err(|error| format!("cargo did not start: {error}"))?;
            let status = machine::wait(&mut host, patience)?;
            if status.success() {
                Ok(())
            } else {
                Err(format!("the host ended with {status}"))
            }
        }
        How::Virtual => {
            let icount = ["-icount", "shift=4,sleep=off"];
            let first = machine::run(run.machine, elf, &icount, patience)?;
            print!("{first}");
            let second = machine::run(run.machine, elf, &icount, patience)?;
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
