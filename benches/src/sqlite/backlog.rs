//! Messages that wait: how fast they are published, and what a claim costs beside many of them.

use std::path::Path;
use std::time::{Duration, Instant};

use postbox::bus::BusPublisher;
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::WorkerId;
use postbox::store::{ClaimRequest, ClaimedMessage, HasOutboxStore, OutboxStore, Which};
use postbox_sqlite::SqliteRepository;
use postbox_sqlite::rusqlite::Connection;
use postbox_tokio::TokioTimer;
use tokio::runtime::Runtime;

use super::counted::complete;
use super::{by_hand, open};
use crate::load::{TaskFailure, micros, on_a_task, per_second};
use crate::shop::{Broker, PAYLOAD};
use crate::{Contender, Effort, Failure, Figures, quantile, side_by_side};

pub(super) fn measure(effort: Effort, figures: &mut Figures, runtime: &Runtime) -> Result<(), Failure> {
    let rows = effort.pick(300, 20_000);
    for batch in [100, 256, 1_000] {
        let ours = |keys| move || drain(runtime, rows, keys, batch);
        let contenders = vec![
            Contender::new("by hand, without order", move || by_hand::drain(rows, batch)),
            Contender::new("Postbox, no keys", ours(None)),
            Contender::new("Postbox, a key each", ours(Some(rows))),
            Contender::new("Postbox, 2,000 keys", ours(Some(rows / 10))),
        ];
        let row = format!("batches of {batch}");
        side_by_side(
            figures,
            "sqlite-backlog",
            row,
            super::ROUNDS.min(effort.rounds()),
            contenders,
        )?;
    }
    claims(effort, figures, runtime)
}

/// Messages a second that a dispatcher publishes.
pub(crate) fn drain(runtime: &Runtime, rows: u32, keys: Option<u32>, batch: usize) -> Result<f64, Failure> {
    let (directory, repository) = open()?;
    fill(directory.path(), 0, rows, keys)?;
    let broker = Broker::noting(0);
    let config = DispatchConfig::new(WorkerId::random());
    let dispatcher = OutboxDispatcher::new(repository.outbox_store(), BusPublisher::new(broker), config)
        .with_timer(TokioTimer);
    let work = async move {
        let start = Instant::now();
        let mut published = 0;
        loop {
            let outcome = dispatcher.dispatch_batch(batch).await?;
            published += outcome.published;
            if outcome.claimed == 0 {
                break;
            }
        }
        if published == rows as usize {
            return Ok(per_second(published, start.elapsed()));
        }
        Err(TaskFailure::from(format!("published {published} of {rows}")))
    };
    on_a_task(runtime, work)
}

/// Claims of a hundred and their settlement, beside more and more rows that could be claimed, and rows that cannot.
fn claims(effort: Effort, figures: &mut Figures, runtime: &Runtime) -> Result<(), Failure> {
    for waiting in effort.pick([300, 400, 500], [1_000, 100_000, 1_000_000]) {
        let (directory, repository) = open()?;
        fill(directory.path(), 0, waiting, Some(waiting))?;
        let row = format!("{waiting} waiting");
        figures.add(
            "sqlite-claims",
            row,
            "100 claimed and settled (µs)",
            cost(runtime, &repository)?,
        )?;
    }
    let many = effort.pick(300, 100_000);
    let (directory, repository) = open()?;
    fill(directory.path(), 0, many, Some(many))?;
    runtime.block_on(lease_all(&repository, many))?;
    fill(directory.path(), many, 1_000, Some(1_000))?;
    let row = format!("1000 waiting, {many} leased");
    figures.add(
        "sqlite-claims",
        row,
        "100 claimed and settled (µs)",
        cost(runtime, &repository)?,
    )?;
    let (directory, repository) = open()?;
    fill(directory.path(), 0, many, Some(1))?;
    runtime.block_on(lease_all(&repository, 1))?;
    fill(directory.path(), many, 1_000, Some(1_000))?;
    let row = format!("1000 waiting, {many} blocked");
    figures.add(
        "sqlite-claims",
        row,
        "100 claimed and settled (µs)",
        cost(runtime, &repository)?,
    )?;
    Ok(())
}

/// The median of a few.
fn cost(runtime: &Runtime, repository: &SqliteRepository) -> Result<f64, Failure> {
    let store = repository.outbox_store();
    let work = async move {
        let mut costs = Vec::new();
        // The first brings pages in.
        for turn in 0..9 {
            let start = Instant::now();
            let claimed = store.claim(&request(100, Duration::from_secs(30))).await?;
            let settlements = claimed.iter().map(|claimed| complete(claimed.claim()));
            store.settle(&settlements.collect::<Vec<_>>()).await?;
            if turn > 0 && claimed.len() == 100 {
                costs.push(micros(start.elapsed()));
            }
        }
        Ok::<_, TaskFailure>(quantile(&mut costs, 0.5))
    };
    on_a_task(runtime, work)
}

async fn lease_all(repository: &SqliteRepository, rows: u32) -> Result<(), Failure> {
    let store = repository.outbox_store();
    let mut leased = 0;
    while leased < rows as usize {
        leased += store.claim(&request(1_000, Duration::from_hours(1))).await?.len();
    }
    Ok(())
}

fn request(limit: usize, lease: Duration) -> ClaimRequest<'static> {
    ClaimRequest {
        worker: WorkerId::new(7),
        lease,
        limit,
        max_abandoned: 5,
        which: Which::Due,
    }
}

/// Stores messages as any program may, of so many keys in turn.
fn fill(directory: &Path, from: u32, rows: u32, keys: Option<u32>) -> Result<(), Failure> {
    let connection = Connection::open(directory.join("shop.db"))?;
    connection.busy_timeout(Duration::from_secs(20))?;
    connection.pragma_update(None, "synchronous", "off")?;
    let key = keys.map_or(String::from("NULL"), |keys| {
        format!("format('order/%012d', {from} + n % {})", keys.max(1))
    });
    connection.execute_batch(&format!(
        "WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n + 1 < {rows})
         INSERT INTO postbox_outbox (id, name, key, payload)
         SELECT format('m%012d', {from} + n), 'order.placed', {key}, zeroblob({PAYLOAD}) FROM c;
         PRAGMA wal_checkpoint(truncate)"
    ))?;
    Ok(())
}
