//! Runs the simulator, and judges it by its last line.

use std::process::{Command, ExitCode};

use crate::plan::Step;
use crate::toolchain::{cargo, workspace_root};

/// The simulator; its own arguments follow.
macro_rules! simulator {
    ($args:literal) => {
        concat!(
            "run --release -p postbox-testkit --features simulate --bin simulate -- ",
            $args
        )
    };
}

/// What CI simulates.
pub(crate) fn steps() -> [Step; 6] {
    let step = |name, command| Step {
        last_line: Some(judge),
        ..Step::cargo(name, command)
    };
    [
        step("simulation: storms over HashMap", simulator!("--seeds 200000")),
        step(
            "simulation: storms over SQLite",
            simulator!("--store sqlite --seeds 2000"),
        ),
        step(
            "simulation: storms over heapless",
            simulator!("--store heapless --seeds 20000"),
        ),
        step(
            "simulation: crashes everywhere over HashMap",
            simulator!("--everywhere"),
        ),
        step(
            "simulation: crashes everywhere over SQLite",
            simulator!("--store sqlite --everywhere"),
        ),
        step(
            "simulation: crashes everywhere over heapless",
            simulator!("--store heapless --everywhere"),
        ),
    ]
}

/// `cargo xtask simulate`.
pub(crate) fn chore(args: &[String]) -> ExitCode {
    let status = Command::new(cargo())
        .args(simulator!("").split_whitespace())
        .args(args)
        .current_dir(workspace_root())
        .status();
    if status.is_ok_and(|status| status.success()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Whether the last line says that something was simulated and no promise was broken.
fn judge(line: &str) -> Result<(), String> {
    let figure = |name: &str| {
        let after = line.split_once(name)?.1.trim_start();
        after.split(' ').next()?.parse::<u64>().ok()
    };
    match (
        figure("seeds").or_else(|| figure("crash points")),
        figure("violations"),
    ) {
        (Some(0) | None, _) => Err(String::from("nothing was simulated")),
        (_, Some(0)) => Ok(()),
        (_, Some(violations)) => Err(format!("{violations} promises were broken")),
        (_, None) => Err(String::from("`violations <number>` is not in it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_violations_is_accepted() {
        assert_eq!(judge("seeds 10 crashes 3 messages 80 violations 0"), Ok(()));
        assert_eq!(
            judge("crash points 198 pairs 22300 store faults 91 panics 36 violations 0"),
            Ok(())
        );
    }

    #[test]
    fn violations_and_doing_nothing_are_refused() {
        assert!(judge("seeds 10 crashes 3 messages 80 violations 1").is_err());
        assert!(judge("seeds 0 crashes 0 messages 0 violations 0").is_err());
        assert!(judge("").is_err());
    }
}
