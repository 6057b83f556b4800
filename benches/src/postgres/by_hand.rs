//! What sqlx and PostgreSQL can do at most, by hand: as few statements as there can be, in a table without order, ids or
//! retries. Nothing of Postbox is in here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use postbox_postgres::sqlx::postgres::PgPool;
use postbox_postgres::sqlx::{self, Row};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::Server;
use crate::load::{self, Request, TaskFailure};
use crate::shop::{BODY, PAYLOAD};

pub(super) const BUSINESS: &str = "INSERT INTO bench_shop.orders (body) VALUES ($1)";
const OUTBOX: &str = "INSERT INTO bench_shop.outbox (topic, payload) VALUES ('order.placed', $1)";
const BOTH: &str = "WITH o AS (INSERT INTO bench_shop.orders (body) VALUES ($1)) \
    INSERT INTO bench_shop.outbox (topic, payload) VALUES ('order.placed', $2)";
const CLAIMED: &str = "WITH o AS (INSERT INTO bench_shop.orders (body) VALUES ($1)) \
    INSERT INTO bench_shop.outbox (topic, payload, lease_until, attempts) \
    VALUES ('order.placed', $2, now() + interval '30 s', 1) RETURNING id";
const CLAIM: &str = "UPDATE bench_shop.outbox o SET lease_until = now() + interval '30 s', attempts = attempts + 1 \
    FROM (SELECT id FROM bench_shop.outbox WHERE lease_until < now() ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED) c \
    WHERE o.id = c.id RETURNING o.id, o.topic, o.payload";
const DELETE: &str = "DELETE FROM bench_shop.outbox WHERE id = ANY($1)";
/// How long settlements wait for company.
const LINGER: Duration = Duration::from_millis(20);

/// What a request stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// The business row, by one statement.
    Business,
    /// That and an outbox row, by one statement.
    Both,
    /// The same in a transaction: four round trips.
    Transaction,
    /// Both by one statement, the outbox row claimed; it is deleted later, with others.
    WholeLife,
}

/// How many outbox rows are still to be deleted.
#[derive(Clone, Debug, Default)]
pub(super) struct Settled(Arc<AtomicU64>);

impl Settled {
    pub(super) async fn wait(&self) {
        while self.0.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }
}

pub(super) fn request(server: &Server, write: Write) -> (Request, Option<Settled>) {
    let pool = server.pool.clone();
    let settled = Settled::default();
    let (sender, receiver) = unbounded_channel();
    let completer = std::sync::Mutex::new(Some((receiver, pool.clone(), settled.clone())));
    let left = settled.clone();
    let place = load::request(move |_| {
        let (pool, sender, left) = (pool.clone(), sender.clone(), left.clone());
        let first = completer.lock().ok().and_then(|mut completer| completer.take());
        async move {
            if let Some((receiver, pool, settled)) = first.filter(|_| write == Write::WholeLife) {
                tokio::spawn(complete(receiver, pool, settled));
            }
            let (body, payload) = ("b".repeat(BODY), vec![b'x'; PAYLOAD]);
            match write {
                Write::Business => {
                    sqlx::query(BUSINESS).bind(body).execute(&pool).await?;
                }
                Write::Both => {
                    sqlx::query(BOTH).bind(body).bind(payload).execute(&pool).await?;
                }
                Write::Transaction => {
                    let mut transaction = pool.begin().await?;
                    sqlx::query(BUSINESS)
                        .bind(body)
                        .execute(&mut *transaction)
                        .await?;
                    sqlx::query(OUTBOX)
                        .bind(payload)
                        .execute(&mut *transaction)
                        .await?;
                    transaction.commit().await?;
                }
                Write::WholeLife => {
                    let row = sqlx::query(CLAIMED)
                        .bind(body)
                        .bind(payload)
                        .fetch_all(&pool)
                        .await?;
                    let id: i64 = row.first().ok_or("no row")?.try_get(0)?;
                    left.0.fetch_add(1, Ordering::SeqCst);
                    sender.send(id)?;
                }
            }
            Ok(())
        }
    });
    (place, (write == Write::WholeLife).then_some(settled))
}

/// Deletes what was published, with what comes meanwhile.
async fn complete(
    mut receiver: UnboundedReceiver<i64>,
    pool: PgPool,
    settled: Settled,
) -> Result<(), TaskFailure> {
    let mut batch = Vec::new();
    while receiver.recv_many(&mut batch, 1_000).await > 0 {
        tokio::time::sleep(LINGER).await;
        while batch.len() < 1_000
            && let Ok(id) = receiver.try_recv()
        {
            batch.push(id);
        }
        sqlx::query(DELETE).bind(&batch).execute(&pool).await?;
        settled.0.fetch_sub(batch.len() as u64, Ordering::SeqCst);
        batch.clear();
    }
    Ok(())
}

/// Claims and deletes until there is nothing, or enough; returns how many.
pub(super) async fn drain(
    pool: PgPool,
    batch: i64,
    enough: Arc<AtomicU64>,
    most: u64,
) -> Result<(), TaskFailure> {
    let mut connection = pool.acquire().await?;
    while enough.load(Ordering::Relaxed) < most {
        let rows = sqlx::query(CLAIM).bind(batch).fetch_all(&mut *connection).await?;
        if rows.is_empty() {
            break;
        }
        let mut ids = Vec::with_capacity(rows.len());
        for row in &rows {
            std::hint::black_box(row.try_get::<&[u8], _>(2)?);
            ids.push(row.try_get::<i64, _>(0)?);
        }
        sqlx::query(DELETE).bind(&ids).execute(&mut *connection).await?;
        enough.fetch_add(ids.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}
