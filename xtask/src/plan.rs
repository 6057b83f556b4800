//! What `cargo xtask test` will do, as data. Nothing runs here.

use std::fmt;
use std::path::Path;

use crate::bench;
use crate::simulation;
use crate::toolchain::{BARE_METAL, NIGHTLY, Toolchain};
use crate::{bouncer, postgres, quickstart};

/// One cargo command and what becomes of it.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) args: Vec<&'static str>,
    pub(crate) env: Option<(&'static str, &'static str)>,
    pub(crate) mode: Mode,
    /// Judges the last line of the output; with it, standard output is read and passed on.
    pub(crate) last_line: Option<Judge>,
}

/// Says what is wrong with a line, if anything.
pub(crate) type Judge = fn(&str) -> Result<(), String>;

/// Decided before anything runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Run,
    Skip(String),
    Fail(String),
}

impl Step {
    pub(crate) fn cargo(name: &'static str, command: &'static str) -> Self {
        Self {
            name,
            args: command.split(' ').collect(),
            env: None,
            mode: Mode::Run,
            last_line: None,
        }
    }

    pub(crate) fn mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }
}

/// The command as a user would type it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((key, value)) = self.env {
            write!(f, "{key}='{value}' ")?;
        }
        write!(f, "cargo {}", self.args.join(" "))
    }
}

/// What there is beside the toolchain.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Around<'a> {
    /// Why there is no database server to test with.
    pub(crate) no_server: Option<&'a str>,
    /// Why there is no pooler to put before it.
    pub(crate) no_pooler: Option<&'a str>,
    /// Whether servers can be started and killed at will.
    pub(crate) programs: bool,
}

/// The steps of `cargo xtask test`, cheapest first where the order is free.
pub(crate) fn test(toolchain: Toolchain, root: &Path, around: Around<'_>) -> Vec<Step> {
    let Around {
        no_server,
        no_pooler,
        programs,
    } = around;
    let rustfmt = || component("rustfmt", toolchain.rustfmt, toolchain.ci);
    let clippy = || component("clippy", toolchain.clippy, toolchain.ci);
    let mut steps = vec![
        Step::cargo("format", "fmt --all --check").mode(rustfmt()),
        // With -p: a workspace build unifies features and would hide what core lacks on its own.
        Step::cargo(
            "core: build without features",
            "build -p postbox --no-default-features",
        ),
        Step::cargo(
            "core: lint without features",
            "clippy -p postbox --no-default-features -- -D warnings",
        )
        .mode(clippy()),
        Step::cargo(
            "core: lint with alloc",
            "clippy -p postbox --no-default-features --features alloc -- -D warnings",
        )
        .mode(clippy()),
        Step::cargo(
            "core: lint with all features",
            "clippy -p postbox --all-features -- -D warnings",
        )
        .mode(clippy()),
        bare_metal(toolchain),
        Step::cargo(
            "core: test without features",
            "test -p postbox --no-default-features",
        ),
        Step::cargo(
            "core: test with alloc",
            "test -p postbox --no-default-features --features alloc",
        ),
        Step::cargo(
            "lint",
            "clippy --workspace --all-targets --all-features -- -D warnings",
        )
        .mode(clippy()),
        postgres::needed(tests(toolchain), no_server),
        postgres::needed(bouncer::step(toolchain, no_pooler), no_server),
        postgres::faults(programs),
        Step::cargo("doctests", "test --workspace --doc --all-features"),
        Step {
            env: Some(("RUSTDOCFLAGS", "-Dwarnings")),
            ..Step::cargo("docs", "doc --workspace --no-deps --all-features")
        },
        schedules(),
        miri(toolchain),
        quickstart(root, "quickstart", "run --release -p quickstart"),
        postgres::needed(
            quickstart(
                root,
                "quickstart on postgres",
                "run --release -p quickstart -- --database-url env:POSTBOX_TEST_POSTGRES_URL",
            ),
            no_server,
        ),
        quickstart(
            root,
            "quickstart on smol",
            "run --release -p quickstart --no-default-features --features smol",
        ),
        quickstart(
            root,
            "quickstart on async-std",
            "run --release -p quickstart --no-default-features --features async-std",
        ),
    ];
    steps.extend(simulation::steps());
    steps.extend(bench::smoke().map(|step| postgres::needed(step, no_server)));
    steps
}

/// Loom's primitives instead of real ones: everything is compiled anew, so it has a target directory of its own.
fn schedules() -> Step {
    Step {
        env: Some(("RUSTFLAGS", "--cfg loom")),
        ..Step::cargo(
            "schedules",
            "test -p postbox -p postbox-sqlite --lib --target-dir target/loom schedules",
        )
    }
}

/// A toolchain without the component is fine for a user and a mistake for CI.
fn component(name: &str, present: bool, ci: bool) -> Mode {
    match (present, ci) {
        (true, _) => Mode::Run,
        (false, false) => Mode::Skip(format!(
            "WARNING: {name} is not installed (`rustup component add {name}`)"
        )),
        (false, true) => Mode::Fail(format!("{name} is not installed, and CI must not skip it")),
    }
}

fn bare_metal(toolchain: Toolchain) -> Step {
    const COMMAND: &str = "check -p postbox --no-default-features --target thumbv7em-none-eabihf";
    debug_assert!(COMMAND.ends_with(BARE_METAL));
    let mode = if toolchain.bare_metal {
        Mode::Run
    } else {
        Mode::Skip(String::from("target not installed"))
    };
    Step::cargo("core: check on bare metal", COMMAND).mode(mode)
}

fn tests(toolchain: Toolchain) -> Step {
    if toolchain.nextest {
        Step::cargo("tests", "nextest run --workspace --all-features")
    } else {
        Step::cargo("tests", "test --workspace --all-features --tests --lib --bins")
    }
}

/// The only unsafe code, in an interpreter that sees undefined behaviour.
fn miri(toolchain: Toolchain) -> Step {
    const COMMAND: &str = "+nightly miri test -p postbox --target-dir target/miri --test join_allocations \
        --test join_owners --test join_random --test join_threads --test join_turns";
    debug_assert!(COMMAND.starts_with(NIGHTLY));
    let mode = if toolchain.miri {
        Mode::Run
    } else {
        let how = "`rustup component add miri rust-src --toolchain nightly`";
        Mode::Skip(format!("no nightly toolchain with miri ({how})"))
    };
    Step::cargo("join in miri", COMMAND).mode(mode)
}

fn quickstart(root: &Path, name: &'static str, command: &'static str) -> Step {
    let present = root.join("examples/quickstart/Cargo.toml").is_file();
    let mode = if present {
        Mode::Run
    } else {
        Mode::Skip(String::from("examples/quickstart does not exist yet"))
    };
    Step {
        last_line: Some(quickstart::judge),
        ..Step::cargo(name, command).mode(mode)
    }
}

#[cfg(test)]
mod tests;
