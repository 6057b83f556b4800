//! The scenes: what breaks, how often, and what is counted afterwards.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use postbox::claim::Verdict;
use postbox::id::WorkerId;
use postbox::message::OutboxMessage;
use postbox::store::{
    ClaimRequest, ClaimedMessage, HasOutboxStore, OutboxOperator, OutboxStore, Settlement, Which,
};
use postbox_postgres::sqlx::{AssertSqlSafe, Row};
use postbox_postgres::{PostgresRepository, sqlx};
use tokio::task::JoinSet;

use crate::cluster::{Cluster, Failure};
use crate::count::Count;
use crate::load::{Broker, Random, facts, open, read};
use crate::work::Work;

const CRASHES: usize = 20;

/// 64 writers with transactions of their own, which wait at random before they commit or roll back.
pub(crate) async fn writers() -> Result<Count, Failure> {
    const ROUNDS: u64 = 25;
    let cluster = Cluster::start()?;
    let (repository, broker) = (open(&cluster.url()).await?, Broker::memory());
    let sequences: Vec<String> = (0..12).map(|key| format!("CREATE SEQUENCE k{key};")).collect();
    let sql = format!(
        "CREATE TABLE truth (id text, key text, n bigint); {}",
        sequences.concat()
    );
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(repository.pool())
        .await?;
    let (work, mut writers) = (Work::start(&repository, &broker, 0, 4), JoinSet::new());
    for writer in 0..64 {
        let repository = repository.clone();
        writers.spawn(async move {
            let mut random = Random(writer);
            for round in 0..ROUNDS {
                let mut transaction = repository.pool().begin().await?;
                let (id, key) = (format!("{writer}-{round}"), format!("k{}", random.below(12)));
                random.sleep(Duration::from_millis(4)).await;
                let message = OutboxMessage::create(&id, "n", vec![])?.with_key(&*key)?;
                let _ = repository
                    .outbox_store()
                    .enqueue(&mut transaction, &[message], None)
                    .await?;
                // Numbered under the lock of the key, which is held until the end: in commit order.
                let note = format!("INSERT INTO truth SELECT '{id}', '{key}', nextval('{key}')");
                sqlx::raw_sql(AssertSqlSafe(note))
                    .execute(&mut *transaction)
                    .await?;
                random.sleep(Duration::from_millis(4)).await;
                if random.below(4) == 0 {
                    transaction.rollback().await?;
                } else {
                    transaction.commit().await?;
                }
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer??;
    }
    work.finish().await?;
    let truth = read(repository.pool(), "SELECT id, key, n FROM truth").await?;
    let rolled_back = usize::try_from(64 * ROUNDS)? - truth.len();
    let mut count = Count::of("64 writers, a quarter rolled back", &truth, &broker.taken());
    (count.faults, count.allowed) = (rolled_back, 0);
    Ok(count)
}

/// 16 dispatchers with leases of 200 ms that stall at random. The database keeps a log of its own: no lease was
/// taken over before it ended.
pub(crate) async fn stalls() -> Result<Count, Failure> {
    const LOG: &str = "
        CREATE TABLE taken_early (seq bigint, early interval);
        CREATE FUNCTION taken_over() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          INSERT INTO taken_early VALUES (OLD.seq, OLD.lease_until - clock_timestamp());
          RETURN NULL;
        END $$;
        CREATE TRIGGER taken_over AFTER UPDATE ON postbox.outbox FOR EACH ROW
          WHEN (NEW.attempt > OLD.attempt AND OLD.lease_until > clock_timestamp())
          EXECUTE FUNCTION taken_over()";
    let cluster = Cluster::start()?;
    let (repository, broker) = (open(&cluster.url()).await?, Broker::memory());
    sqlx::raw_sql(LOG).execute(repository.pool()).await?;
    let work = Work::start(&repository, &broker, 8, 0);
    let (over, mut stalled) = (work.over.clone(), JoinSet::new());
    for number in 0..16 {
        let (store, broker, over) = (repository.outbox_store(), broker.clone(), over.clone());
        stalled.spawn(async move {
            let (mut random, mut stalls) = (Random(number), 0_usize);
            loop {
                let batch = store
                    .claim(&ClaimRequest {
                        worker: WorkerId::new(number),
                        lease: Duration::from_millis(200),
                        limit: 8,
                        max_abandoned: u32::MAX,
                        which: Which::Due,
                    })
                    .await?;
                if batch.is_empty() {
                    if over.load(Ordering::SeqCst)
                        && store.counts().await? == postbox::store::OutboxCounts::default()
                    {
                        return Ok::<_, Failure>(stalls);
                    }
                    random.sleep(Duration::from_millis(10)).await;
                }
                for held in &batch {
                    broker.take(held.message().id)?;
                }
                if random.below(8) == 0 && !batch.is_empty() {
                    stalls += 1;
                    random.sleep(Duration::from_millis(500)).await;
                }
                let settlements: Vec<_> = batch.iter().map(|held| complete(held.claim())).collect();
                store.settle(&settlements).await?;
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    work.finish().await?;
    let mut stalls = 0;
    while let Some(worker) = stalled.join_next().await {
        stalls += worker??;
    }
    let mut count = Count::of(
        "16 dispatchers, leases of 200 ms, stalls",
        &facts(repository.pool()).await?,
        &broker.taken(),
    );
    // A stalled batch is delivered again, and again if that one stalls too.
    (count.faults, count.allowed) = (stalls, stalls * 8);
    count.overlaps = usize::try_from(number(&repository, "SELECT count(*) FROM taken_early").await?)?;
    Ok(count)
}

/// The server crashes, again and again, under load.
pub(crate) async fn crashes() -> Result<Count, Failure> {
    let cluster = Cluster::start()?;
    let (repository, broker) = (open(&cluster.url()).await?, Broker::memory());
    let work = Work::start(&repository, &broker, 8, 3);
    let mut random = Random(1);
    for _ in 0..CRASHES {
        tokio::time::sleep(Duration::from_millis(300 + random.below(300))).await;
        tokio::task::block_in_place(|| cluster.crash().and_then(|()| cluster.go_on()))?;
    }
    work.finish().await?;
    let mut count = Count::of(
        "the server is killed",
        &facts(repository.pool()).await?,
        &broker.taken(),
    );
    (count.faults, count.allowed) = (CRASHES, CRASHES * (8 + 8 + 3 * 16 + 256));
    Ok(count)
}

/// All sessions are terminated every 50 ms, for 10 s.
pub(crate) async fn terminations() -> Result<Count, Failure> {
    let cluster = Cluster::start()?;
    let (repository, broker) = (open(&cluster.url()).await?, Broker::memory());
    let killer = open(&cluster.url()).await?;
    let work = Work::start(&repository, &broker, 8, 3);
    let (start, mut sessions) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
        sessions += number(&killer, kill).await?;
    }
    work.finish().await?;
    let mut count = Count::of(
        "sessions are terminated every 50 ms",
        &facts(killer.pool()).await?,
        &broker.taken(),
    );
    count.faults = usize::try_from(sessions)?;
    count.allowed = count.faults * (8 + 16);
    Ok(count)
}

/// The database is dumped while messages wait and are in flight, and restored into a new cluster, which goes on.
pub(crate) async fn restore() -> Result<Count, Failure> {
    let (old, new) = (Cluster::start()?, Cluster::start()?);
    let (repository, broker) = (open(&old.url()).await?, Broker::memory());
    let work = Work::start(&repository, &broker, 8, 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    work.stop.store(true, Ordering::SeqCst);
    work.finish().await?;
    // Some more, half of which nobody publishes before the dump.
    let late = Work::start(&repository, &broker, 4, 0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    late.finish().await?;
    tokio::task::block_in_place(|| old.copy_to(&new))?;
    drop(repository);
    drop(old);
    let restored = open(&new.url()).await?;
    let waiting = restored.outbox_store().counts().await?;
    if waiting.pending == 0 {
        return Err("nothing waited when it was dumped".into());
    }
    let work = Work::start(&restored, &broker, 4, 2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    work.finish().await?;
    let mut count = Count::of(
        "dumped, and restored into a new server",
        &facts(restored.pool()).await?,
        &broker.taken(),
    );
    (count.faults, count.allowed) = (1, 4 + 16);
    Ok(count)
}

fn complete(claim: postbox::store::ClaimRef<i64>) -> Settlement<'static, i64> {
    Settlement {
        claim,
        verdict: Verdict::Complete,
        error: "",
    }
}

async fn number(repository: &PostgresRepository, sql: &'static str) -> Result<i64, Failure> {
    let rows = sqlx::raw_sql(sql).fetch_all(repository.pool()).await?;
    Ok(rows.first().ok_or("no row")?.try_get(0)?)
}
