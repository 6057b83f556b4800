//! Messages that wait: how fast workers publish them, beside a million, and beside a session that sees old rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use postbox::bus::BusPublisher;
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::WorkerId;
use postbox::store::HasOutboxStore;
use postbox_postgres::sqlx;
use postbox_tokio::TokioTimer;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::{Server, block, by_hand};
use crate::load::{TaskFailure, per_second};
use crate::shop::{Broker, PAYLOAD};
use crate::{Contender, Effort, Failure, Figures, side_by_side};

/// Figures are medians of so many.
const ROUNDS: usize = 3;
/// Messages of a batch.
const BATCH: u16 = 1_000;

/// What waits.
#[derive(Clone, Copy, Debug)]
enum Rows {
    /// In the table of the limit by hand.
    ByHand,
    /// In Postbox's, without keys.
    Free,
    /// In Postbox's, of so many keys in turn.
    Keys(u32),
}

pub(super) fn measure(
    effort: Effort,
    figures: &mut Figures,
    runtime: &Runtime,
    server: &Server,
) -> Result<(), Failure> {
    let count = effort.pick(300, 20_000);
    for workers in [1, 4] {
        let run = |name, rows| {
            Contender::new(name, move || {
                fill(runtime, server, rows, count)?;
                drain(runtime, server, rows, workers, count.into())
            })
        };
        let contenders = vec![
            run("by hand, without order", Rows::ByHand),
            run("Postbox, no keys", Rows::Free),
            run("Postbox, a key each", Rows::Keys(count)),
            run("Postbox, 2,000 keys", Rows::Keys(count / 10)),
        ];
        let row = format!("{workers} worker{}", if workers == 1 { "" } else { "s" });
        side_by_side(
            figures,
            "postgres-backlog",
            row,
            ROUNDS.min(effort.rounds()),
            contenders,
        )?;
    }
    old_snapshot(effort, figures, runtime, server, count)?;
    million(effort, figures, runtime, server)
}

/// The same while another session has an old snapshot open, so that nothing can be cleaned up.
fn old_snapshot(
    effort: Effort,
    figures: &mut Figures,
    runtime: &Runtime,
    server: &Server,
    count: u32,
) -> Result<(), Failure> {
    let run = |name, rows, old: bool| {
        Contender::new(name, move || {
            fill(runtime, server, rows, count)?;
            let mut session = runtime.block_on(server.pool.acquire())?;
            if old {
                let sql = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM bench_shop.orders";
                runtime.block_on(sqlx::raw_sql(sql).execute(&mut *session))?;
            }
            let rate = drain(runtime, server, rows, 1, count.into())?;
            runtime.block_on(sqlx::raw_sql("ROLLBACK").execute(&mut *session))?;
            Ok(rate)
        })
    };
    for (row, rows) in [
        ("by hand", Rows::ByHand),
        ("Postbox, no keys", Rows::Free),
        ("Postbox, a key each", Rows::Keys(count)),
    ] {
        let contenders = vec![
            run("20,000 messages", rows, false),
            run("beside an old snapshot", rows, true),
        ];
        side_by_side(
            figures,
            "postgres-snapshot",
            row,
            ROUNDS.min(effort.rounds()),
            contenders,
        )?;
    }
    Ok(())
}

/// The same, of a million that wait; published for a while only.
fn million(effort: Effort, figures: &mut Figures, runtime: &Runtime, server: &Server) -> Result<(), Failure> {
    for (row, rows) in [("by hand", Rows::ByHand), ("Postbox, no keys", Rows::Free)] {
        for (column, waiting, wanted) in [
            ("20,000 wait", effort.pick(300, 20_000), 20_000),
            (
                "1,000,000 wait",
                effort.pick(600, 1_000_000),
                effort.pick(300, 200_000),
            ),
        ] {
            fill(runtime, server, rows, waiting)?;
            figures.add(
                "postgres-million",
                row,
                column,
                drain(runtime, server, rows, 1, wanted)?,
            )?;
        }
    }
    server.empty(runtime)
}

/// Fills the tables, which it empties first, and lets the server tidy up. Without triggers, as a restore does: the rows
/// are as they would have left them.
fn fill(runtime: &Runtime, server: &Server, rows: Rows, count: u32) -> Result<(), Failure> {
    let numbers = format!("generate_series(0, {}) n", count.saturating_sub(1));
    let payload = format!("convert_to(repeat('x', {PAYLOAD}), 'UTF8')");
    let into = |key: &str, blocked: &str| {
        format!(
            "INSERT INTO bench_postbox.outbox (id, name, key, blocked, payload) \
             SELECT 'm' || lpad(n::text, 12, '0'), 'order.placed', {key}, {blocked}, {payload} FROM {numbers}"
        )
    };
    let insert = match rows {
        Rows::ByHand => format!(
            "INSERT INTO bench_shop.outbox (topic, payload) SELECT 'order.placed', {payload} FROM {numbers}"
        ),
        Rows::Free => into("NULL", "false"),
        Rows::Keys(keys) => into(
            &format!("'order/' || lpad((n % {keys})::text, 12, '0')"),
            &format!("n >= {keys}"),
        ),
    };
    server.run(runtime, super::server::EMPTY)?;
    server.run(
        runtime,
        &format!("BEGIN; SET LOCAL session_replication_role = replica; {insert}; COMMIT"),
    )?;
    server.run(runtime, "VACUUM ANALYZE bench_shop.outbox")?;
    server.run(runtime, "VACUUM ANALYZE bench_postbox.outbox")?;
    server.run(runtime, "CHECKPOINT")
}

/// Messages a second that so many workers publish, of so many that wait, each of a key of its own or without one.
pub(crate) fn drained(
    runtime: &Runtime,
    server: &Server,
    workers: u32,
    count: u32,
    keyed: bool,
) -> Result<f64, Failure> {
    let rows = if keyed { Rows::Keys(count) } else { Rows::Free };
    fill(runtime, server, rows, count)?;
    drain(runtime, server, rows, workers, count.into())
}

/// Messages a second that so many workers publish, until there are none or this is enough.
fn drain(runtime: &Runtime, server: &Server, rows: Rows, workers: u32, most: u64) -> Result<f64, Failure> {
    let done = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    block(runtime, async {
        let mut tasks = JoinSet::new();
        for _ in 0..workers {
            let done = done.clone();
            if let Rows::ByHand = rows {
                tasks.spawn(by_hand::drain(server.pool.clone(), BATCH.into(), done, most));
                continue;
            }
            let config = DispatchConfig::new(WorkerId::random());
            let outbox = server.repository.outbox_store();
            let dispatcher = OutboxDispatcher::new(outbox, BusPublisher::new(Broker::noting(0)), config)
                .with_timer(TokioTimer);
            tasks.spawn(async move {
                while done.load(Ordering::Relaxed) < most {
                    let outcome = Box::pin(dispatcher.dispatch_batch(BATCH.into())).await?;
                    if outcome.claimed == 0 {
                        break;
                    }
                    done.fetch_add(outcome.published as u64, Ordering::Relaxed);
                }
                Ok(())
            });
        }
        while let Some(worker) = tasks.join_next().await {
            worker??;
        }
        Ok::<_, TaskFailure>(())
    })?;
    let took = start.elapsed();
    let done = done.load(Ordering::Relaxed);
    if done < most.min(100) {
        return Err(format!("published {done} of {most}").into());
    }
    Ok(per_second(usize::try_from(done)?, took))
}
