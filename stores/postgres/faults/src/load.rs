//! The work that is going on while things break: writers that commit and publish, dispatchers, and a broker in RAM
//! or in a file.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postbox::aggregate::{Birth, CommitBatch, EventRecord, Repository, StreamIdentity, StreamWrite};
use postbox::claim::Verdict;
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::WorkerId;
use postbox::lease::Lease;
use postbox::message::{Codec, HeaderBuf, MessageRef, OutboxMessage};
use postbox::publisher::{AsyncMessagePublisher, PublishError};
use postbox::store::{HasOutboxStore, OutboxOperator, OutboxStore, Settlement};
use postbox::sync::Mutex;
use postbox_postgres::sqlx::postgres::{PgPool, PgPoolOptions};
use postbox_postgres::sqlx::{AssertSqlSafe, Row};
use postbox_postgres::{PostgresOptions, PostgresRepository, sqlx};
use postbox_tokio::TokioTimer;

use crate::cluster::Failure;
use crate::count::Fact;

/// So long a claim is held when its holder is gone.
pub(crate) const LEASE: Duration = Duration::from_secs(1);
/// How long everything may take to be delivered once nothing breaks any more.
const PATIENCE: Duration = Duration::from_mins(1);
/// Keys that all writers share.
const KEYS: u64 = 24;

/// `SplitMix64`: small, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    pub(crate) async fn sleep(&mut self, most: Duration) {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1);
        tokio::time::sleep(Duration::from_micros(self.below(micros))).await;
    }
}

/// What was delivered, in order. Survives its process when it is a file.
#[derive(Clone)]
pub(crate) enum Broker {
    Memory(Arc<Mutex<Vec<String>>>),
    File(Arc<File>),
}

impl Broker {
    pub(crate) fn memory() -> Self {
        Self::Memory(Arc::default())
    }

    pub(crate) fn file(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self::File(Arc::new(file)))
    }

    pub(crate) fn take(&self, id: &str) -> std::io::Result<()> {
        match self {
            Self::Memory(taken) => taken.with(|taken| taken.push(id.to_owned())),
            // One write a line: lines of several processes do not mix.
            Self::File(file) => (&**file).write_all(format!("{id}\n").as_bytes())?,
        }
        Ok(())
    }

    pub(crate) fn taken(&self) -> Vec<String> {
        match self {
            Self::Memory(taken) => taken.with(|taken| taken.clone()),
            Self::File(_) => Vec::new(),
        }
    }
}

impl AsyncMessagePublisher for Broker {
    type Error = std::io::Error;

    async fn publish(&self, message: MessageRef<'_>) -> Result<(), PublishError<Self::Error>> {
        self.take(message.id).map_err(PublishError::Unavailable)
    }
}

/// A store whose pool gives up on a server that is away soon enough to be asked again. It has a timer, so that settlements
/// are gathered and connections handed on as in a service.
pub(crate) async fn open(url: &str) -> Result<PostgresRepository, Failure> {
    let pool = PgPoolOptions::new()
        .max_connections(40)
        .acquire_timeout(Duration::from_secs(2))
        .test_before_acquire(false)
        .connect(url)
        .await?;
    let options = PostgresOptions::new().with_timer(Arc::new(TokioTimer));
    Ok(options.open(pool).await?)
}

/// One writer: loads a stream, adds an event with its message, sometimes publishes it itself; until told to stop.
/// What fails is left: another commit comes.
pub(crate) async fn write(repository: PostgresRepository, broker: Broker, seed: u64, stop: Arc<AtomicBool>) {
    let mut random = Random(seed);
    while !stop.load(Ordering::SeqCst) {
        if step(&repository, &broker, &mut random).await.is_err() {
            random.sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn step(repository: &PostgresRepository, broker: &Broker, random: &mut Random) -> Result<(), Failure> {
    let key = format!("k{}", random.below(KEYS));
    let stream = StreamIdentity::new("thing", &key)?;
    let expected = repository
        .load(&stream, u64::MAX)
        .await?
        .map_or(0, |tail| tail.version);
    let id = format!("{key}:{}", expected + 1);
    let event = EventRecord {
        name: "Done".into(),
        version: 1,
        codec: Codec::JSON,
        payload: br#""Done""#.to_vec(),
        sequence: expected + 1,
        recorded_at: postbox::time::Instant::ZERO,
        metadata: HeaderBuf::new(),
    };
    let message = OutboxMessage::create(&id, "thing.done", b"{}".to_vec())?.with_key(key)?;
    let birth = Birth {
        worker: WorkerId::random(),
        lease: Lease::new(LEASE)?,
    };
    let batch = CommitBatch {
        streams: vec![StreamWrite {
            stream,
            expected,
            events: vec![event],
        }],
        messages: vec![message],
        claim: (random.below(2) == 0).then_some(birth),
        ..CommitBatch::new()
    };
    let committed = repository.commit(batch).await?;
    for message in committed.messages {
        if let Some(claim) = message.claim {
            broker.take(&message.id)?;
            let settlement = Settlement {
                claim,
                verdict: Verdict::Complete,
                error: "",
            };
            repository.outbox_store().settle_soon(&[settlement]).await?;
        }
    }
    Ok(())
}

/// One dispatcher, until nothing is left after it was told to stop.
pub(crate) async fn dispatch(
    repository: PostgresRepository,
    broker: Broker,
    stop: Arc<AtomicBool>,
) -> Result<(), Failure> {
    let store = repository.outbox_store();
    let config = DispatchConfig::new(WorkerId::random()).with_lease(Lease::new(LEASE)?);
    let dispatcher = OutboxDispatcher::new(store.clone(), broker, config).with_timer(TokioTimer);
    let mut stopped = None;
    loop {
        let idle = dispatcher
            .dispatch_batch(16)
            .await
            .is_ok_and(|outcome| outcome.claimed == 0);
        if !idle {
            continue;
        }
        if stop.load(Ordering::SeqCst) {
            let since = *stopped.get_or_insert_with(Instant::now);
            if store
                .counts()
                .await
                .is_ok_and(|counts| counts.pending + counts.in_flight == 0)
            {
                return Ok(());
            }
            if since.elapsed() > PATIENCE {
                return Err("messages are left that nobody is given".into());
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What is committed, from the streams themselves.
pub(crate) async fn facts(pool: &PgPool) -> Result<Vec<Fact>, Failure> {
    let sql = "SELECT stream_id || ':' || sequence, stream_id, sequence FROM postbox.events";
    read(pool, sql).await
}

pub(crate) async fn read(pool: &PgPool, sql: &'static str) -> Result<Vec<Fact>, Failure> {
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(pool).await?;
    let fact = |row: &sqlx::postgres::PgRow| {
        Ok(Fact {
            id: row.try_get(0)?,
            key: row.try_get(1)?,
            number: row.try_get(2)?,
        })
    };
    rows.iter().map(fact).collect()
}
