//! What is printed while the acts run: the elapsed time, a name, a figure, a remark. It measures nothing else.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Counts from when it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeline(Instant);

impl Timeline {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// A new act.
    pub(crate) fn act(&self, name: &str) {
        println!("\n{}  {name}", self.elapsed());
    }

    /// A figure of the act, with a remark that may be empty.
    pub(crate) fn figure(&self, what: &str, figure: impl Display, remark: impl Display) {
        let line = format!("{}    {what:<34} {figure:>6}  {remark}", self.elapsed());
        println!("{}", line.trim_end());
    }

    fn elapsed(&self) -> String {
        format!("{:>6} ms", self.0.elapsed().as_millis())
    }
}

/// Microseconds as milliseconds, with a fraction where there would be no other digit.
pub(crate) fn millis(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        _ => format!("{} ms", micros / 1000),
    }
}

/// A duration the same way.
pub(crate) fn took(duration: Duration) -> String {
    millis(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}
