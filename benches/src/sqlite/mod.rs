//! The SQLite store beside the limit by hand, on one disk in one run: commits that publish, a backlog, claims beside
//! many rows.

pub(crate) mod backlog;
mod by_hand;
mod counted;

use std::sync::Arc;
use std::time::Duration;

use postbox_sqlite::{SqliteOptions, SqliteRepository};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::load::{Answers, clients, runtime};
use crate::shop::{Broker, Noting, Stamps, sqlite};
use crate::{Contender, Effort, Failure, Figures, Suite, quantile, side_by_side};
use by_hand::Grouping;

pub(crate) const SUITE: Suite = Suite {
    name: "sqlite",
    measure,
    cases: counted::CASES,
};

/// Figures are medians of so many.
const ROUNDS: usize = 3;
/// How many clients commit at the same time.
const CLIENTS: [u32; 3] = [1, 8, 32];

fn measure(effort: Effort, figures: &mut Figures) -> Result<(), Failure> {
    let runtime = runtime()?;
    let span = Duration::from_millis(effort.pick(30, 500));
    for count in CLIENTS {
        let row = plural(count);
        commits(effort, figures, &runtime, (count, span), &row)?;
    }
    for count in CLIENTS {
        waits(effort, figures, &runtime, (count, span), &plural(count))?;
    }
    backlog::measure(effort, figures, &runtime)
}

fn plural(count: u32) -> String {
    format!("{count} client{}", if count == 1 { "" } else { "s" })
}

/// Commits a second: one event (or row) and one message each.
fn commits(
    effort: Effort,
    figures: &mut Figures,
    runtime: &Runtime,
    (count, span): (u32, Duration),
    row: &str,
) -> Result<(), Failure> {
    let by_hand = |grouping| move || by_hand::commits(runtime, grouping, count, span);
    let contenders = vec![
        Contender::new("by hand, group commit", by_hand(Grouping::Together)),
        Contender::new(
            "by hand, the same columns and indices",
            by_hand(Grouping::SameTables),
        ),
        Contender::new("by hand, a transaction each", by_hand(Grouping::Alone)),
        Contender::new("Postbox, published and settled", || {
            Ok(published(runtime, count, span)?.per_second)
        }),
        Contender::new("Postbox, left to a backstop", || {
            Ok(pending(runtime, count, span)?.per_second)
        }),
    ];
    side_by_side(
        figures,
        "sqlite-commits",
        row,
        ROUNDS.min(effort.rounds()),
        contenders,
    )?;
    Ok(())
}

/// How long a client waits: for the commit alone, and until its message is published too.
fn waits(
    effort: Effort,
    figures: &mut Figures,
    runtime: &Runtime,
    (count, span): (u32, Duration),
    row: &str,
) -> Result<(), Failure> {
    let mut alone = Quantiles::default();
    let mut whole = Quantiles::default();
    for round in 0..=ROUNDS.min(effort.rounds()) {
        let (first, second) = (pending(runtime, count, span)?, published(runtime, count, span)?);
        if round > 0 {
            alone.take(first.waits);
            whole.take(second.waits);
        }
    }
    for (name, alone, whole) in [("p50", alone.p50, whole.p50), ("p99", alone.p99, whole.p99)] {
        let mut ratios: Vec<f64> = whole
            .iter()
            .zip(&alone)
            .map(|(whole, alone)| whole / alone)
            .collect();
        for (what, mut values) in [("commit", alone), ("commit and publish", whole)] {
            let column = format!("{what}, {name} (µs)");
            figures.add("sqlite-waits", row, column, quantile(&mut values, 0.5))?;
        }
        let column = format!("commit and publish / commit, {name}");
        figures.add("sqlite-waits", row, column, quantile(&mut ratios, 0.5))?;
    }
    Ok(())
}

/// Of each round.
#[derive(Debug, Default)]
struct Quantiles {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Quantiles {
    fn take(&mut self, mut waits: Vec<f64>) {
        self.p50.push(quantile(&mut waits, 0.5));
        self.p99.push(quantile(&mut waits, 0.99));
    }
}

/// The whole life of messages: committed claimed, published, settled; all of it durable at the end.
pub(crate) fn published(runtime: &Runtime, count: u32, span: Duration) -> Result<Answers, Failure> {
    let (directory, repository) = open()?;
    let broker = Broker::noting(0);
    let place = sqlite::open(noting(&repository), Some(broker.clone()))?;
    let answers = clients(runtime, count, span, &place, async {
        Ok(repository.flush().await?)
    })?;
    drop(directory);
    Ok(answers)
}

/// Messages that are left pending.
fn pending(runtime: &Runtime, count: u32, span: Duration) -> Result<Answers, Failure> {
    let (directory, repository) = open()?;
    let place = sqlite::open(noting(&repository), None)?;
    let answers = clients(runtime, count, span, &place, async { Ok(()) })?;
    drop(directory);
    Ok(answers)
}

/// Nothing is noted.
fn noting(repository: &SqliteRepository) -> Noting<SqliteRepository> {
    Noting {
        repository: repository.clone(),
        stamps: Arc::new(Stamps::new(0)),
    }
}

/// A new database on disk; gone with the directory.
fn open() -> Result<(TempDir, SqliteRepository), Failure> {
    let directory = tempfile::tempdir()?;
    let repository = SqliteOptions::file(directory.path().join("shop.db")).open()?;
    Ok((directory, repository))
}
