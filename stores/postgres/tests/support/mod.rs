//! What the tests of this store share: a server, a schema of their own that is gone afterwards, and short words.
#![allow(dead_code, reason = "each test binary uses its own part of it")]
#![allow(unreachable_pub, reason = "the binaries include this file")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use postbox::aggregate::{Birth, CommitBatch, EventRecord, StreamIdentity, StreamWrite};
use postbox::claim::Verdict;
use postbox::id::WorkerId;
use postbox::lease::Lease;
use postbox::message::{Codec, HeaderBuf, MessageRef, OutboxMessage};
use postbox::publisher::{AsyncMessagePublisher, PublishError};
use postbox::store::{ClaimRef, ClaimRequest, ClaimedMessage, OutboxStore, Settlement, Which};
use postbox::time::Instant;
use postbox_postgres::sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use postbox_postgres::sqlx::{AssertSqlSafe, Row};
use postbox_postgres::{
    Identifier, Names, PostgresClaimed, PostgresOptions, PostgresOutboxStore, PostgresRepository, sqlx,
};

pub const A: WorkerId = WorkerId::new(1);
pub const B: WorkerId = WorkerId::new(u64::MAX);
pub const LEASE: Duration = Duration::from_secs(10);

/// One runtime for all tests of a binary: pools belong to the runtime that made them.
pub static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
});

/// Runs a test on the runtime. Without a server it says so and does nothing.
pub fn on_server<F: Future<Output = ()>>(test: impl FnOnce(String) -> F) {
    match std::env::var("POSTBOX_TEST_POSTGRES_URL") {
        Ok(url) => RUNTIME.block_on(test(url)),
        Err(_) => eprintln!("skipped: no POSTBOX_TEST_POSTGRES_URL; `cargo xtask test` starts a server"),
    }
}

/// A schema of one test.
pub struct Place {
    pub url: String,
    pub names: Names,
}

impl Place {
    pub fn new(url: String) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let schema = format!("t{}_{number}_{}", std::process::id(), WorkerId::random());
        let names = Names::new(Identifier::new(schema).expect("a good name"));
        Self { url, names }
    }

    /// Behind a pooler that follows no prepared statements: `POSTBOX_TEST_POSTGRES_PREPARED=no`.
    pub fn options(&self) -> PostgresOptions {
        let not = std::env::var("POSTBOX_TEST_POSTGRES_PREPARED").is_ok_and(|it| it == "no");
        PostgresOptions::new()
            .with_names(self.names.clone())
            .with_prepared(!not)
    }

    /// A pool of so many connections, whose sessions carry the schema's name.
    pub async fn pool(&self, connections: u32) -> PgPool {
        self.pool_with(connections, |options| options).await
    }

    /// The same, acting as another role.
    pub async fn pool_as(&self, connections: u32, role: &Identifier) -> PgPool {
        self.pool_with(connections, |options| options.options([("role", role.as_str())]))
            .await
    }

    async fn pool_with(
        &self,
        connections: u32,
        with: impl FnOnce(PgConnectOptions) -> PgConnectOptions,
    ) -> PgPool {
        let options: PgConnectOptions = self.url.parse().expect("a good url");
        PgPoolOptions::new()
            .max_connections(connections)
            .test_before_acquire(false)
            .connect_with(with(options.application_name(self.names.schema().as_str())))
            .await
            .expect("a server")
    }

    pub async fn open(&self) -> PostgresRepository {
        self.open_with(self.options()).await
    }

    pub async fn open_with(&self, options: PostgresOptions) -> PostgresRepository {
        options.open(self.pool(4).await).await.expect("a store")
    }

    /// `{}` in the text becomes the schema's name.
    pub fn sql(&self, text: &str) -> String {
        text.replace("{}", &format!("\"{}\"", self.names.schema()))
    }
}

/// The schema goes as the test ends; after a panic it stays, to be looked at.
impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let (url, drop) = (self.url.clone(), self.sql("DROP SCHEMA IF EXISTS {} CASCADE"));
        let gone = std::thread::spawn(move || {
            RUNTIME.block_on(async {
                use sqlx::Connection;
                if let Ok(mut connection) = sqlx::PgConnection::connect(&url).await {
                    let _ = sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await;
                }
            });
        });
        let _ = gone.join();
    }
}

/// A role of the tests, one for the whole server: rights are granted a schema.
pub fn role(name: &str) -> Identifier {
    Identifier::new(format!("postbox_test_{name}")).expect("a good name")
}

/// Makes the roles, if no other test has.
pub async fn roles(pool: &PgPool) {
    for name in ["enqueue", "relay"] {
        let sql = format!(
            "DO $$ BEGIN CREATE ROLE {}; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
            role(name)
        );
        execute(pool, sql).await;
    }
}

pub async fn execute(pool: &PgPool, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(pool)
        .await
        .expect("a good statement");
}

/// One number.
pub async fn number(pool: &PgPool, sql: String) -> i64 {
    let rows = sqlx::raw_sql(AssertSqlSafe(sql))
        .fetch_all(pool)
        .await
        .expect("a good statement");
    rows.first().expect("a row").try_get(0).expect("a number")
}

pub fn due(worker: WorkerId, limit: usize) -> ClaimRequest<'static> {
    ClaimRequest {
        worker,
        lease: LEASE,
        limit,
        max_abandoned: 3,
        which: Which::Due,
    }
}

pub async fn claim(store: &PostgresOutboxStore, worker: WorkerId, limit: usize) -> Vec<PostgresClaimed> {
    store.claim(&due(worker, limit)).await.expect("a claim")
}

pub fn ids(batch: &[PostgresClaimed]) -> Vec<&str> {
    batch.iter().map(|claimed| claimed.message().id).collect()
}

pub fn settlement(claim: ClaimRef<i64>, verdict: Verdict) -> Settlement<'static, i64> {
    Settlement {
        claim,
        verdict,
        error: "",
    }
}

pub async fn complete(store: &PostgresOutboxStore, claims: &[ClaimRef<i64>]) -> usize {
    let settlements: Vec<_> = claims
        .iter()
        .map(|claim| settlement(*claim, Verdict::Complete))
        .collect();
    store.settle(&settlements).await.expect("a settlement").applied()
}

pub fn message(id: &str) -> OutboxMessage {
    OutboxMessage::create(id, "thing.done", format!("{{\"id\":\"{id}\"}}")).expect("a good message")
}

pub fn keyed(id: &str, key: &str) -> OutboxMessage {
    message(id).with_key(key).expect("a good key")
}

pub fn batch(messages: Vec<OutboxMessage>) -> CommitBatch {
    CommitBatch {
        messages,
        ..CommitBatch::new()
    }
}

pub fn birth(worker: WorkerId) -> Birth {
    let lease = Lease::new(LEASE).expect("a good lease");
    Birth { worker, lease }
}

pub fn born(messages: Vec<OutboxMessage>, worker: WorkerId) -> CommitBatch {
    CommitBatch {
        claim: Some(birth(worker)),
        ..batch(messages)
    }
}

pub fn stream(id: &str) -> StreamIdentity {
    StreamIdentity::new("thing", id).expect("a good name")
}

/// `count` events on top of version `expected`.
pub fn write(id: &str, expected: u64, count: u64) -> StreamWrite {
    let event = |sequence| EventRecord {
        name: "Done".into(),
        version: 1,
        codec: Codec::JSON,
        payload: br#""Done""#.to_vec(),
        sequence,
        recorded_at: Instant::ZERO,
        metadata: HeaderBuf::new(),
    };
    StreamWrite {
        stream: stream(id),
        expected,
        events: (1..=count).map(|n| event(expected + n)).collect(),
    }
}

/// A publisher that takes everything, and remembers it. Clones share the memory.
#[derive(Clone, Debug, Default)]
pub struct Recorder(pub Arc<Mutex<Vec<String>>>);

impl AsyncMessagePublisher for Recorder {
    type Error = std::convert::Infallible;

    async fn publish(&self, message: MessageRef<'_>) -> Result<(), PublishError<Self::Error>> {
        self.0
            .lock()
            .expect("nobody panics here")
            .push(message.id.to_owned());
        Ok(())
    }
}
