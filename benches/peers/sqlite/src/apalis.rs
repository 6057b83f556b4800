//! apalis-sqlite: a job pushed in the transaction of a business row, and its worker with a handler that does nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use ::apalis::prelude::*;
use apalis_sqlite::{Config, SqliteStorage, queries};
use postbox_benches::{Failure, Request, clients, request};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::runtime::Runtime;

const QUEUE: &str = "bench";
const PAYLOAD: usize = 256;
/// It takes ten messages a poll by default; this is what ours takes.
const BATCH: usize = 256;
/// A drain that is slow is cut here: its rate is steady.
const LIMIT: Duration = Duration::from_secs(4);

/// Commits a second by so many clients: one business row and one job each.
pub(crate) fn commits(runtime: &Runtime, count: u32, span: Duration) -> Result<f64, Failure> {
    let directory = tempfile::tempdir()?;
    let pool = runtime.block_on(pool(&directory.path().join("peer.db")))?;
    let push: Request = request(move |number| {
        let pool = pool.clone();
        async move {
            let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
            let row = sqlx::query("INSERT INTO business (id, body) VALUES (?, ?)");
            let id = i64::try_from(number)?;
            row.bind(id).bind(&[7_u8; 64][..]).execute(&mut *tx).await?;
            queries::push_tasks(&mut *tx, QUEUE, &[TaskBuilder::new(encoded()).build()]).await?;
            tx.commit().await?;
            Ok(())
        }
    });
    Ok(clients(runtime, count, span, &push, async { Ok(()) })?.per_second)
}

/// Jobs a second of a backlog.
pub(crate) fn drain(runtime: &Runtime, rows: u32) -> Result<f64, Failure> {
    let directory = tempfile::tempdir()?;
    let handled = Arc::new(AtomicUsize::new(0));
    let rows = rows as usize;
    let took = runtime.block_on(async {
        let pool = pool(&directory.path().join("peer.db")).await?;
        let tasks: Vec<_> = (0..rows).map(|_| TaskBuilder::new(encoded()).build()).collect();
        let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
        queries::push_tasks(&mut *tx, QUEUE, &tasks).await?;
        tx.commit().await?;
        let config = Config::default().queue(QUEUE).batch_size(BATCH);
        let backend = SqliteStorage::<String>::new(&pool).with_config(config);
        let seen = handled.clone();
        let handle = move |job: String, worker: WorkerContext| {
            let seen = seen.clone();
            async move {
                std::hint::black_box(&job);
                if seen.fetch_add(1, Relaxed) + 1 == rows {
                    worker.stop()?;
                }
                Ok::<_, BoxDynError>(())
            }
        };
        let worker = WorkerBuilder::new(QUEUE).backend(backend).build(handle);
        let start = Instant::now();
        let _ = tokio::time::timeout(LIMIT, worker.run()).await;
        Ok::<_, Failure>(start.elapsed())
    })?;
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    let handled = handled.load(Relaxed) as f64;
    Ok(handled / took.as_secs_f64())
}

/// Its set-up leaves a connection with `synchronous = OFF` behind, so the schema is made by a pool of its own.
async fn pool(path: &Path) -> Result<SqlitePool, Failure> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .busy_timeout(Duration::from_secs(20))
        .journal_mode(SqliteJournalMode::Wal);
    let schema = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options.clone())
        .await?;
    SqliteStorage::setup(&schema).await?;
    let business = "CREATE TABLE business (id INTEGER PRIMARY KEY, body BLOB NOT NULL)";
    sqlx::query(business).execute(&schema).await?;
    schema.close().await;
    let options = options.synchronous(SqliteSynchronous::Full);
    Ok(SqlitePoolOptions::new()
        .max_connections(5)
        .connect_with(options)
        .await?)
}

fn encoded() -> Vec<u8> {
    format!("\"{}\"", "p".repeat(PAYLOAD)).into_bytes()
}
