//! Where figures go: one line each, which `cargo xtask bench` turns into tables and charts.

use std::fmt::Display;
use std::io::Write;

/// How much work a measurement may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Everything once and small: does it run at all?
    Smoke,
    /// Enough for figures that can be compared.
    Full,
}

impl Effort {
    /// One or the other.
    ///
    /// ```
    /// use postbox_benches::Effort;
    ///
    /// assert_eq!(Effort::Full.pick(10, 20_000), 20_000);
    /// ```
    pub fn pick<T>(self, smoke: T, full: T) -> T {
        match self {
            Self::Smoke => smoke,
            Self::Full => full,
        }
    }

    /// For a program that measures one suite: how much of it the command line asks for, `[--smoke] [suite]...`; `None`
    /// when it asks for other suites only.
    pub fn asked_for(suite: &str) -> Option<Self> {
        let (flags, suites): (Vec<String>, Vec<String>) = std::env::args()
            .skip(1)
            .partition(|argument| argument.starts_with("--"));
        let effort = if flags.is_empty() { Self::Full } else { Self::Smoke };
        (suites.is_empty() || suites.iter().any(|asked| asked == suite)).then_some(effort)
    }

    /// How often each contender has its turn: figures are medians of so many.
    pub fn rounds(self) -> usize {
        self.pick(1, 7)
    }
}

/// Takes figures as they come.
pub struct Figures {
    out: Box<dyn Write>,
}

impl Figures {
    /// Prints `figure`, table, row, column and value on standard output, tab-separated.
    pub fn printed() -> Self {
        Self {
            out: Box::new(std::io::stdout()),
        }
    }

    /// Takes them and says nothing.
    pub fn silent() -> Self {
        Self {
            out: Box::new(std::io::sink()),
        }
    }

    /// Writes down one cell of a table. Rows and columns stand in the order in which they first come.
    ///
    /// ```
    /// postbox_benches::Figures::silent().add("join", 64, "one woken (ns)", 15.2)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn add(
        &mut self,
        table: impl Display,
        row: impl Display,
        column: impl Display,
        value: f64,
    ) -> std::io::Result<()> {
        writeln!(self.out, "figure\t{table}\t{row}\t{column}\t{value}")?;
        self.out.flush()
    }
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}
