//! Runs the steps of a plan, one after the other, up to the first that fails.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::plan::{Mode, Step};
use crate::report::{Outcome, Report, Row, seconds};
use crate::toolchain::{NIGHTLY, cargo};

/// Runs `steps` with `execute`; after a failure the rest is only listed.
pub(crate) fn all(steps: Vec<Step>, mut execute: impl FnMut(&Step) -> Result<(), String>) -> Report {
    let mut report = Report::default();
    let mut stopped = false;
    for step in steps {
        let started = Instant::now();
        let outcome = if stopped {
            Outcome::NotRun
        } else {
            one(&step, &mut execute)
        };
        let took = if stopped {
            Duration::ZERO
        } else {
            started.elapsed()
        };
        match &outcome {
            Outcome::Passed => println!("<== {} passed in {}", step.name, seconds(took)),
            Outcome::Skipped(why) => println!("<== skipped: {why}"),
            Outcome::Failed(why) => println!("<== {} FAILED in {}: {why}", step.name, seconds(took)),
            Outcome::NotRun => {}
        }
        stopped |= matches!(outcome, Outcome::Failed(_));
        report.rows.push(Row {
            name: step.name,
            command: step.to_string(),
            outcome,
            took,
        });
    }
    report
}

fn one(step: &Step, execute: &mut impl FnMut(&Step) -> Result<(), String>) -> Outcome {
    println!("\n==> {}: {step}", step.name);
    match &step.mode {
        Mode::Skip(why) => Outcome::Skipped(why.clone()),
        Mode::Fail(why) => Outcome::Failed(why.clone()),
        Mode::Run => execute(step).map_or_else(Outcome::Failed, |()| Outcome::Passed),
    }
}

/// Runs one cargo command in `root`, with variables beside the step's own. All steps share cargo's target directory:
/// `CARGO_TARGET_DIR` when it is set, the workspace's otherwise.
pub(crate) fn step(step: &Step, root: &Path, variables: &[(&str, &OsStr)]) -> Result<(), String> {
    // Only rustup knows of other toolchains than ours, and it is found where ours was.
    let is_nightly = step.args.first() == Some(&NIGHTLY);
    let program = if is_nightly { "cargo".into() } else { cargo() };
    let mut command = Command::new(program);
    command
        .args(&step.args)
        .envs(step.env)
        .envs(variables.iter().filter(|(_, value)| !value.is_empty()).copied())
        .current_dir(root);
    let (status, last_line) = match step.last_line {
        None => (command.status(), None),
        Some(_) => passed_on(&mut command).map_or_else(|e| (Err(e), None), |(s, line)| (Ok(s), Some(line))),
    };
    let status = status.map_err(|error| format!("cargo did not start: {error}"))?;
    if !status.success() {
        return Err(status.to_string());
    }
    match (step.last_line, last_line) {
        (Some(judge), Some(line)) => judge(&line).map_err(|why| format!("its last line was {line:?}: {why}")),
        _ => Ok(()),
    }
}

/// Runs `command`, passes its standard output on as it comes, and keeps the last line that is not blank.
fn passed_on(command: &mut Command) -> io::Result<(ExitStatus, String)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut last = String::new();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            writeln!(io::stdout(), "{line}")?;
            if !line.trim().is_empty() {
                last = line;
            }
        }
    }
    Ok((child.wait()?, last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;
    use crate::toolchain::Toolchain;

    fn steps() -> Vec<Step> {
        let toolchain = Toolchain {
            rustfmt: true,
            clippy: true,
            nextest: false,
            bare_metal: false,
            miri: false,
            ci: false,
        };
        plan::test(toolchain, Path::new("/nowhere"), plan::Around::default())
    }

    #[test]
    fn the_first_failure_stops_the_rest() {
        let mut ran = Vec::new();
        let report = all(steps(), |step| {
            ran.push(step.name);
            if step.name == "tests" {
                Err(String::from("exit status: 101"))
            } else {
                Ok(())
            }
        });
        assert_eq!(ran.last(), Some(&"tests"));
        assert!(!report.succeeded());
        let docs = report.rows.iter().find(|row| row.name == "docs").unwrap();
        assert_eq!(docs.outcome, Outcome::NotRun);
    }

    #[test]
    fn what_is_skipped_is_not_run() {
        let report = all(steps(), |step| {
            assert_ne!(step.name, "quickstart");
            assert_ne!(step.name, "core: check on bare metal");
            assert_ne!(step.name, "join in miri");
            Ok(())
        });
        assert!(report.succeeded());
    }

    #[test]
    fn the_last_line_of_a_step_is_judged() {
        let judged = |judge| {
            let mut step = steps().remove(0);
            step.args = vec!["--version"];
            step.last_line = Some(judge);
            super::step(&step, Path::new("."), &[])
        };
        assert_eq!(
            judged(|line| if line.starts_with("cargo ") {
                Ok(())
            } else {
                Err(line.into())
            }),
            Ok(())
        );
        assert!(judged(|_| Err(String::from("no"))).is_err());
    }

    #[test]
    fn a_command_that_fails_is_a_failure() {
        let mut step = steps().remove(0);
        step.args = vec!["no-such-command-of-cargo"];
        assert!(super::step(&step, Path::new("."), &[]).is_err());
    }
}
