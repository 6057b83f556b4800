//! `cargo xtask bench`: measures everything and writes the tables and charts of `benches/README.md` anew; with `--check`
//! it counts instead of timing, and holds the counts against `benches/budget.txt`.

mod chart;
mod count;
mod readme;
mod table;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::plan::Step;
use crate::postgres::{self, Durability};
use crate::toolchain::{cargo, workspace_root};
use table::Tables;

/// Programs that measure: a manifest, and the suite that it belongs to, if it is not all of them.
const PROGRAMS: &[(&str, Option<&str>)] = &[
    ("benches/Cargo.toml", None),
    ("benches/peers/join/Cargo.toml", Some("join")),
    ("benches/peers/memory/Cargo.toml", Some("dispatch")),
    ("benches/peers/postgres/Cargo.toml", Some("postgres")),
    ("benches/peers/sqlite/Cargo.toml", Some("sqlite")),
];

/// `cargo xtask bench [suite]...`; `--check` counts, `--smoke` runs everything once and writes nothing.
pub(crate) fn bench(check: bool, smoke: bool, suites: &[String]) -> ExitCode {
    let root = workspace_root();
    let done = if check {
        count::check(&root)
    } else {
        measure(&root, smoke, suites)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("cargo xtask bench: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Every benchmark, once and small: whether it runs, not how fast.
pub(crate) fn smoke() -> [Step; 2] {
    [
        Step::cargo(
            "benchmarks: criterion, once each",
            "bench -p postbox-benches -- --test",
        ),
        Step::cargo(
            "benchmarks: tables, once and small",
            "run --release -p postbox-benches --bin measure -- --smoke",
        ),
    ]
}

fn measure(root: &Path, smoke: bool, suites: &[String]) -> Result<(), String> {
    let server = postgres::Server::start(Durability::Full)?;
    let mut tables = Tables::default();
    let is_asked_for = |suite: Option<&str>| {
        suites.is_empty() || suite.is_none_or(|suite| suites.iter().any(|asked| asked == suite))
    };
    for (manifest, _) in PROGRAMS.iter().filter(|(_, suite)| is_asked_for(*suite)) {
        let mut command = Command::new(cargo());
        command
            .args([
                "run",
                "--release",
                "--quiet",
                "--manifest-path",
                manifest,
                "--bin",
                "measure",
                "--",
            ])
            .args(smoke.then_some("--smoke"))
            .args(suites)
            .env(postgres::URL, &server.url)
            .current_dir(root)
            .stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| format!("cargo did not start: {error}"))?;
        for line in child
            .stdout
            .take()
            .into_iter()
            .flat_map(|out| BufReader::new(out).lines())
        {
            let line = line.map_err(|error| format!("{manifest}: {error}"))?;
            println!("{line}");
            tables.read(&line);
        }
        let status = child.wait().map_err(|error| format!("{manifest}: {error}"))?;
        if !status.success() {
            return Err(format!("{manifest}: {status}"));
        }
    }
    if smoke {
        return if tables.is_empty() {
            Err(String::from("nothing was measured"))
        } else {
            Ok(())
        };
    }
    write(&root.join("benches"), &tables)
}

/// Puts each table that was measured in its place of the README, and draws it.
fn write(benches: &Path, tables: &Tables) -> Result<(), String> {
    let path = benches.join("README.md");
    let wrong = |error: std::io::Error| format!("{}: {error}", benches.display());
    let mut text = fs::read_to_string(&path).map_err(wrong)?;
    text = readme::replace(&text, "machine", &readme::machine())?;
    fs::create_dir_all(benches.join("charts")).map_err(wrong)?;
    for table in tables.iter() {
        text = readme::replace(&text, &table.name, &table.markdown())?;
        let chart = benches.join("charts").join(format!("{}.svg", table.name));
        fs::write(chart, chart::svg(table)).map_err(wrong)?;
    }
    fs::write(&path, text).map_err(wrong)
}
