//! pgmq, installed as plain SQL: a message sent in the transaction of a business row; read in batches and deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pgmq::PGMQueueExt;
use postbox_benches::{Failure, Request, TaskFailure, clients, request};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const QUEUE: &str = "orders";
const PAYLOAD: usize = 256;
const BATCH: i32 = 1_000;

#[derive(Clone, Deserialize, Serialize)]
struct Placed {
    data: String,
}

/// Commits a second by so many clients: one business row and one message each.
pub(crate) fn commits(runtime: &Runtime, url: &str, count: u32, span: Duration) -> Result<f64, Failure> {
    let (queue, pool) = runtime.block_on(fresh(url, count))?;
    let send: Request = request(move |_| {
        let (queue, pool) = (queue.clone(), pool.clone());
        async move {
            let mut tx = pool.begin().await?;
            let row = sqlx::query("INSERT INTO peer_orders (body) VALUES ($1)");
            row.bind("b".repeat(100)).execute(&mut *tx).await?;
            queue.send_with_cxn(QUEUE, &placed(), &mut *tx).await?;
            tx.commit().await?;
            Ok(())
        }
    });
    Ok(clients(runtime, count, span, &send, async { Ok(()) })?.per_second)
}

/// Messages a second of a backlog, by so many workers.
pub(crate) fn drain(runtime: &Runtime, url: &str, workers: u32, rows: usize) -> Result<f64, Failure> {
    let took = runtime.block_on(async {
        let (queue, pool) = fresh(url, workers).await?;
        let messages = vec![placed(); 1_000];
        let mut left = rows;
        while left > 0 {
            let some = left.min(messages.len());
            queue
                .send_batch(QUEUE, messages.get(..some).unwrap_or_default())
                .await?;
            left -= some;
        }
        sqlx::query("VACUUM ANALYZE pgmq.q_orders").execute(&pool).await?;
        let seen = Arc::new(AtomicUsize::new(0));
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..workers {
            let (queue, seen) = (queue.clone(), seen.clone());
            tasks.spawn(async move {
                while seen.load(Relaxed) < rows {
                    let batch = queue
                        .read_batch::<Placed, serde_json::Value>(QUEUE, 60, BATCH)
                        .await?;
                    let ids: Vec<i64> = batch.iter().map(|message| message.msg_id).collect();
                    std::hint::black_box(&batch);
                    if !ids.is_empty() {
                        queue.delete_batch(QUEUE, &ids).await?;
                    }
                    seen.fetch_add(ids.len(), Relaxed);
                }
                Ok::<_, TaskFailure>(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done?.map_err(|error| -> Failure { error })?;
        }
        Ok::<_, Failure>(start.elapsed())
    })?;
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    let rows = rows as f64;
    Ok(rows / took.as_secs_f64())
}

/// An empty queue, and a connection a client.
async fn fresh(url: &str, connections: u32) -> Result<(PGMQueueExt, PgPool), Failure> {
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .min_connections(connections)
        .test_before_acquire(false)
        .connect(url)
        .await?;
    let queue = PGMQueueExt::new_with_pool(pool.clone()).await;
    queue.install_sql_from_embedded().await?;
    // It is not there the first time.
    let _ = queue.drop_queue(QUEUE).await;
    queue.create(QUEUE).await?;
    sqlx::query("DROP TABLE IF EXISTS peer_orders")
        .execute(&pool)
        .await?;
    let orders =
        "CREATE TABLE peer_orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL)";
    sqlx::query(orders).execute(&pool).await?;
    Ok((queue, pool))
}

fn placed() -> Placed {
    Placed {
        data: "x".repeat(PAYLOAD),
    }
}
