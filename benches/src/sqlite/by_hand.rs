//! What SQLite can do at most, by hand: one thread that writes, and everybody who waits in one transaction. Nothing of
//! Postbox is in here.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use postbox_sqlite::rusqlite::{self, Connection, params};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::Failure;
use crate::load::{clients, per_second, request};
use crate::shop::{BODY, PAYLOAD};

/// As little as there can be: the row id is the order.
const LEAN: &str = "
CREATE TABLE business (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE outbox (seq INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL,
  due INTEGER NOT NULL DEFAULT 0, holder INTEGER, attempts INTEGER NOT NULL DEFAULT 0);";
const LEAN_ROWS: [&str; 2] = [
    "INSERT INTO business (id, body) VALUES (?1, ?2)",
    "INSERT INTO outbox (seq, topic, payload) VALUES (?1, ?2, ?3)",
];
const CLAIM: &str = "UPDATE outbox SET due = ?2, holder = 1, attempts = attempts + 1
 WHERE seq IN (SELECT seq FROM outbox WHERE due <= ?1 ORDER BY seq LIMIT ?3) RETURNING seq, topic, payload, attempts";

/// How a request becomes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grouping {
    /// A transaction each.
    Alone,
    /// All that wait in one, a savepoint each.
    Together,
    /// The same, into the tables of Postbox.
    SameTables,
}

struct Order {
    number: u64,
    done: oneshot::Sender<bool>,
}

/// Commits a second: a business row and an outbox row each, which nobody publishes.
pub(super) fn commits(
    runtime: &Runtime,
    grouping: Grouping,
    count: u32,
    span: Duration,
) -> Result<f64, Failure> {
    let directory = tempfile::tempdir()?;
    let connection = open(
        &directory.path().join("by-hand.db"),
        grouping == Grouping::SameTables,
    )?;
    let (sender, orders): (Sender<Order>, _) = channel();
    let writer = std::thread::spawn(move || write(&connection, &orders, grouping));
    let place = request(move |number| {
        let sender = sender.clone();
        async move {
            let (done, answer) = oneshot::channel();
            sender
                .send(Order { number, done })
                .map_err(|_| "the writer is gone")?;
            if answer.await? {
                Ok(())
            } else {
                Err("refused".into())
            }
        }
    });
    let answers = clients(runtime, count, span, &place, async { Ok(()) })?;
    drop(place);
    match writer.join() {
        Ok(Ok(())) => Ok(answers.per_second),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err("the writer panicked".into()),
    }
}

fn open(path: &Path, same_tables: bool) -> Result<Connection, Failure> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.set_prepared_statement_cache_capacity(64);
    if same_tables {
        postbox_sqlite::migrate(&mut connection)?;
    } else {
        connection.execute_batch(LEAN)?;
    }
    Ok(connection)
}

/// The thread that writes.
fn write(connection: &Connection, orders: &Receiver<Order>, grouping: Grouping) -> rusqlite::Result<()> {
    let run = |sql: &str| connection.prepare_cached(sql)?.execute([]).map(drop);
    while let Ok(first) = orders.recv() {
        let mut group = vec![first];
        if grouping != Grouping::Alone {
            group.extend(orders.try_iter().take(1023));
        }
        run("BEGIN IMMEDIATE")?;
        let mut done = Vec::with_capacity(group.len());
        for order in &group {
            if grouping == Grouping::Alone {
                done.push(store(connection, order.number).is_ok());
                continue;
            }
            run("SAVEPOINT one")?;
            let stored = match grouping {
                Grouping::SameTables => store_alike(connection, order.number).is_ok(),
                _ => store(connection, order.number).is_ok(),
            };
            if !stored {
                run("ROLLBACK TO one")?;
            }
            run("RELEASE one")?;
            done.push(stored);
        }
        run("COMMIT")?;
        for (order, done) in group.into_iter().zip(done) {
            let _ = order.done.send(done);
        }
    }
    Ok(())
}

fn store(connection: &Connection, number: u64) -> rusqlite::Result<()> {
    let [business, outbox] = LEAN_ROWS;
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    let (body, payload): (&[u8], &[u8]) = (&[b'b'; BODY], &[b'x'; PAYLOAD]);
    connection
        .prepare_cached(business)?
        .execute(params![number, body])?;
    connection
        .prepare_cached(outbox)?
        .execute(params![number, "order.placed", payload])?;
    Ok(())
}

/// An event and a message as Postbox stores them, but nothing is looked up before.
fn store_alike(connection: &Connection, number: u64) -> rusqlite::Result<()> {
    const EVENT: &str = "INSERT INTO postbox_events (stream_type, stream_id, sequence, name, version, codec, \
        codec_version, recorded_at, metadata, payload) VALUES ('order', ?1, 1, 'Placed', 1, 'json', 1, ?2, '', ?3)";
    const MESSAGE: &str = "INSERT INTO postbox_outbox (id, name, key, state, due, worker, attempt, committed_at, payload) \
        VALUES (?1, 'order.placed', ?2, 1, ?3, 7, 1, ?3, ?4)";
    let (body, payload): (&[u8], &[u8]) = (&[b'b'; BODY], &[b'x'; PAYLOAD]);
    let time = 1_700_000_000_000_000_i64 + i64::try_from(number).unwrap_or_default();
    connection
        .prepare_cached(EVENT)?
        .execute(params![format!("o{number:012}"), time, body])?;
    connection.prepare_cached(MESSAGE)?.execute(params![
        format!("m{number:012}"),
        format!("order/{number:012}"),
        time,
        payload
    ])?;
    Ok(())
}

/// Messages a second, claimed and deleted in batches.
pub(super) fn drain(rows: u32, batch: usize) -> Result<f64, Failure> {
    let directory = tempfile::tempdir()?;
    let connection = open(&directory.path().join("by-hand.db"), false)?;
    connection.execute_batch(&format!(
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows})
         INSERT INTO outbox (seq, topic, payload) SELECT n, 'order.placed', zeroblob({PAYLOAD}) FROM c"
    ))?;
    let start = Instant::now();
    let mut drained = 0;
    loop {
        let mut claim = connection.prepare_cached(CLAIM)?;
        let claimed = claim.query_map(params![1, i64::MAX, i64::try_from(batch)?], |row| {
            std::hint::black_box(row.get::<_, Vec<u8>>(2)?);
            row.get::<_, i64>(0)
        })?;
        let claimed: Vec<i64> = claimed.collect::<Result<_, _>>()?;
        let (Some(first), Some(last)) = (claimed.first(), claimed.last()) else {
            return Ok(per_second(drained, start.elapsed()));
        };
        drained += claimed.len();
        connection
            .prepare_cached("DELETE FROM outbox WHERE seq BETWEEN ?1 AND ?2")?
            .execute([first, last])?;
    }
}
