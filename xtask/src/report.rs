//! What happened, as a table and one closing line that counts. Runs nothing.

use std::fmt;
use std::time::Duration;

/// What became of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Skipped(String),
    Failed(String),
    /// An earlier step failed.
    NotRun,
}

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The command as a user would type it.
    pub(crate) command: String,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

/// All rows, in the order of the plan.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// True when something passed and nothing failed.
    pub(crate) fn succeeded(&self) -> bool {
        self.failed().is_none() && self.count(|outcome| *outcome == Outcome::Passed) > 0
    }

    fn failed(&self) -> Option<(&Row, &str)> {
        self.rows.iter().find_map(|row| match &row.outcome {
            Outcome::Failed(why) => Some((row, why.as_str())),
            _ => None,
        })
    }

    fn count(&self, wanted: impl Fn(&Outcome) -> bool) -> usize {
        self.rows.iter().filter(|row| wanted(&row.outcome)).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .rows
            .iter()
            .map(|row| row.name.len())
            .max()
            .unwrap_or_default();
        writeln!(f, "\n==> summary")?;
        for row in &self.rows {
            let (word, note) = match &row.outcome {
                Outcome::Passed => ("passed", ""),
                Outcome::Skipped(why) => ("skipped", why.as_str()),
                Outcome::Failed(why) => ("FAILED", why.as_str()),
                Outcome::NotRun => ("not run", ""),
            };
            let line = format!(
                "{:<width$}  {word:<7}  {:>7}  {note}",
                row.name,
                seconds(row.took)
            );
            writeln!(f, "  {}", line.trim_end())?;
        }
        if let Some((row, why)) = self.failed() {
            writeln!(
                f,
                "\n{} failed: {why}\nto repeat it:\n\n    {}\n",
                row.name, row.command
            )?;
        }
        let word = if self.succeeded() { "ok" } else { "FAILED" };
        writeln!(
            f,
            "xtask test {word}: {} passed, {} skipped, {} failed, {} not run, of {} steps in {}",
            self.count(|outcome| *outcome == Outcome::Passed),
            self.count(|outcome| matches!(outcome, Outcome::Skipped(_))),
            self.count(|outcome| matches!(outcome, Outcome::Failed(_))),
            self.count(|outcome| *outcome == Outcome::NotRun),
            self.rows.len(),
            seconds(self.rows.iter().map(|row| row.took).sum()),
        )
    }
}

/// `12.3 s`, right for reading, not for measuring.
pub(crate) fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &'static str, outcome: Outcome) -> Row {
        Row {
            name,
            command: format!("cargo {name}"),
            outcome,
            took: Duration::from_millis(1_500),
        }
    }

    #[test]
    fn the_last_line_counts() {
        let report = Report {
            rows: vec![
                row("fmt", Outcome::Passed),
                row("check", Outcome::Skipped(String::from("target not installed"))),
                row("test", Outcome::Failed(String::from("exit status: 101"))),
                row("doc", Outcome::NotRun),
            ],
        };
        let text = report.to_string();
        let last = "xtask test FAILED: 1 passed, 1 skipped, 1 failed, 1 not run, of 4 steps in 6.0 s";
        assert_eq!(text.lines().last(), Some(last));
        assert!(!report.succeeded());
    }

    #[test]
    fn a_failure_repeats_the_command() {
        let report = Report {
            rows: vec![row("test", Outcome::Failed(String::from("exit status: 101")))],
        };
        assert!(report.to_string().contains("\n    cargo test\n"));
    }

    #[test]
    fn skips_do_not_fail_but_skipping_everything_does() {
        let skipped = || row("check", Outcome::Skipped(String::new()));
        assert!(
            Report {
                rows: vec![row("fmt", Outcome::Passed), skipped()]
            }
            .succeeded()
        );
        assert!(
            !Report {
                rows: vec![skipped()]
            }
            .succeeded()
        );
    }
}
