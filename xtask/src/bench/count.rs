//! Counts instead of times: instructions (under callgrind) and allocations of each case, a unit of its work, against
//! the budget.

use std::path::Path;
use std::process::Command;

use crate::budget::{self, Figure};
use crate::debian;
use crate::toolchain::{cargo, ci};

/// Counts every case and holds it against `benches/budget.txt`.
pub(super) fn check(root: &Path) -> Result<(), String> {
    let build = [
        "build",
        "--release",
        "--quiet",
        "--package",
        "postbox-benches",
        "--bin",
        "count",
    ];
    output(Command::new(cargo()).args(build).current_dir(root))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let program = target
        .join("release")
        .join(format!("count{}", std::env::consts::EXE_SUFFIX));
    let has_valgrind = valgrind()?;
    let mut figures = Vec::new();
    for line in output(Command::new(&program).arg("list"))?.lines() {
        figures.extend(case(&program, line, has_valgrind)?);
    }
    print!("{}", budget::check(&root.join("benches/budget.txt"), &figures)?);
    Ok(())
}

/// The figures of one case, from its line in the list: name, steps, units a step.
fn case(program: &Path, line: &str, has_valgrind: bool) -> Result<Vec<Figure>, String> {
    let parts: Vec<&str> = line.split('\t').collect();
    let wrong = || format!("not a case: {line:?}");
    let [name, steps, units] = *parts.as_slice() else {
        return Err(wrong());
    };
    let steps: u64 = steps.parse().map_err(|_| wrong())?;
    let units = steps * units.parse::<u64>().map_err(|_| wrong())?;
    let allocations = output(Command::new(program).args(["allocations", name]))?;
    let allocations: u64 = allocations
        .trim()
        .parse()
        .map_err(|_| format!("{name}: {allocations:?}"))?;
    let each = (allocations * 1_000).div_ceil(units.max(1));
    let mut figures = vec![(format!("{name} allocations/1000"), each)];
    if has_valgrind {
        let (once, twice) = (
            instructions(program, name, steps)?,
            instructions(program, name, steps * 2)?,
        );
        figures.push((
            format!("{name} instructions"),
            twice.saturating_sub(once) / units.max(1),
        ));
    }
    Ok(figures)
}

/// How many instructions one run takes in all.
fn instructions(program: &Path, name: &str, steps: u64) -> Result<u64, String> {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program);
    let output = command.args(["run", name, &steps.to_string()]).output();
    let output = output.map_err(|error| format!("valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    collected(&said).ok_or_else(|| format!("{name}: callgrind counted nothing:\n{said}"))
}

/// The number behind `Collected :` in what callgrind says.
fn collected(said: &str) -> Option<u64> {
    let after = said.split_once("Collected :")?.1;
    after.split_whitespace().next()?.parse().ok()
}

/// Whether there is valgrind; installs it where that is known to work. Under CI there must be one.
fn valgrind() -> Result<bool, String> {
    let is_there = || Command::new("valgrind").arg("--version").output().is_ok();
    if is_there() {
        return Ok(true);
    }
    match debian::install(&["valgrind"]) {
        Ok(()) => Ok(is_there()),
        Err(why) if ci() => Err(format!("CI must count instructions: {why}")),
        Err(why) => {
            println!("WARNING: instructions are not counted: {why}");
            Ok(false)
        }
    }
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!(
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callgrind_collected_is_found() {
        let said = "==1== Events    : Ir\n==1== Collected : 12345\n==1==\n";
        assert_eq!(collected(said), Some(12_345));
        assert_eq!(collected("nothing"), None);
    }
}
