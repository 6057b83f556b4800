//! Measures suites and prints their figures: `measure [--smoke] [suite]...`, all without any.
#![allow(
    clippy::print_stderr,
    reason = "a command line tool reports its failures on standard error"
)]

use std::process::ExitCode;

use postbox_benches::{Effort, Figures, SUITES};

fn main() -> ExitCode {
    let mut effort = Effort::Full;
    let mut wanted = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--smoke" => effort = Effort::Smoke,
            name if SUITES.iter().any(|suite| suite.name == name) => wanted.push(argument),
            unknown => {
                let known: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
                eprintln!("measure: no suite {unknown:?}; there are {}", known.join(", "));
                return ExitCode::from(2);
            }
        }
    }
    let mut figures = Figures::printed();
    for suite in SUITES {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == suite.name) {
            continue;
        }
        if let Err(error) = (suite.measure)(effort, &mut figures) {
            eprintln!("measure: {}: {error}", suite.name);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
