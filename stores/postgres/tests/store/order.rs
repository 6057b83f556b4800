//! The order within a key, with writers and workers that really run at the same time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postbox::claim::Verdict;
use postbox::id::WorkerId;
use postbox::message::OutboxMessage;
use postbox::store::{
    ClaimRequest, ClaimedMessage, HasOutboxStore, OutboxCounts, OutboxOperator, OutboxStore,
};
use postbox_postgres::sqlx::postgres::PgPool;
use postbox_postgres::sqlx::{AssertSqlSafe, Row};
use postbox_postgres::{PostgresOutboxStore, sqlx};

use crate::support::*;

/// `SplitMix64`: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

const KEYS: u64 = 6;
const WRITERS: u64 = 12;
const WORKERS: u64 = 5;
const TRANSACTIONS: u64 = 60;

/// Transactions of a user: they enqueue, count under their key's lock, and commit late, or roll back.
async fn write(pool: PgPool, store: PostgresOutboxStore, place: Arc<Place>, writer: u64) -> u64 {
    let mut random = Random(writer);
    let mut committed = 0;
    for round in 0..TRANSACTIONS {
        let mut transaction = pool.begin().await.unwrap();
        if random.below(4) == 0 {
            let level = ["REPEATABLE READ", "SERIALIZABLE"][usize::from(random.below(2) == 0)];
            let set = format!("SET TRANSACTION ISOLATION LEVEL {level}");
            sqlx::raw_sql(AssertSqlSafe(set))
                .execute(&mut *transaction)
                .await
                .unwrap();
            // An old snapshot, taken long before the lock is.
            sqlx::raw_sql("SELECT 1")
                .execute(&mut *transaction)
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(random.below(5))).await;
        }
        let first = random.below(KEYS);
        let keys = (first..KEYS).take(1 + usize::try_from(random.below(2)).unwrap());
        let messages: Vec<OutboxMessage> = keys
            .map(|key| keyed(&format!("{writer}-{round}-{key}"), &format!("key-{key}")))
            .collect();
        let claim = (random.below(3) == 0).then(|| birth(WorkerId::new(1_000 + writer)));
        if store.enqueue(&mut transaction, &messages, claim).await.is_err() {
            continue; // a serialization failure: nothing happened
        }
        let mut told = true;
        for message in &messages {
            let (id, key) = (message.id(), message.as_ref().key.unwrap());
            let count = place.sql(&format!(
                "INSERT INTO {{}}.truth SELECT '{id}', '{key}', nextval('{{}}.{}')",
                key.replace('-', "_")
            ));
            told &= sqlx::raw_sql(AssertSqlSafe(count))
                .execute(&mut *transaction)
                .await
                .is_ok();
        }
        tokio::time::sleep(Duration::from_millis(random.below(4))).await;
        if told && random.below(6) > 0 && transaction.commit().await.is_ok() {
            committed += u64::try_from(messages.len()).unwrap();
        }
    }
    committed
}

/// A worker with short leases that fails, stalls and settles.
async fn work(
    store: PostgresOutboxStore,
    number: u64,
    over: Arc<AtomicBool>,
    delivered: Arc<Mutex<Vec<String>>>,
) {
    let mut random = Random(number << 32);
    loop {
        let request = ClaimRequest {
            lease: Duration::from_millis(150),
            max_abandoned: 1_000,
            ..due(WorkerId::new(number), 4)
        };
        let batch = store.claim(&request).await.unwrap();
        for held in &batch {
            delivered.lock().unwrap().push(held.message().id.to_owned());
        }
        let mut settlements = Vec::new();
        for held in &batch {
            let after = Duration::from_millis(random.below(5));
            let verdict = match random.below(12) {
                0 => Verdict::Retry { after },
                1 => Verdict::Release { after },
                2 => continue, // it stalls, and the lease lapses
                _ => Verdict::Complete,
            };
            settlements.push(settlement(held.claim(), verdict));
        }
        store.settle(&settlements).await.unwrap();
        if batch.is_empty() {
            if over.load(Ordering::SeqCst) && store.counts().await.unwrap() == OutboxCounts::default() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[test]
fn nothing_is_lost_and_every_key_keeps_its_commit_order_whoever_writes_and_whoever_works() {
    on_server(async |url| {
        let place = Arc::new(Place::new(url));
        let repository = place.open_with(place.options()).await;
        let (store, pool) = (repository.outbox_store(), place.pool(20).await);
        execute(
            &pool,
            place.sql("CREATE TABLE {}.truth (id text, key text, n bigint)"),
        )
        .await;
        for key in 0..KEYS {
            execute(&pool, place.sql(&format!("CREATE SEQUENCE {{}}.key_{key}"))).await;
        }
        let delivered = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS)
            .map(|n| tokio::spawn(write(pool.clone(), store.clone(), place.clone(), n)))
            .collect();
        let workers: Vec<_> = (1..=WORKERS)
            .map(|n| tokio::spawn(work(store.clone(), n, over.clone(), delivered.clone())))
            .collect();
        let mut committed = 0;
        for writer in writers {
            committed += writer.await.unwrap();
        }
        over.store(true, Ordering::SeqCst);
        for worker in workers {
            let left = tokio::time::timeout(Duration::from_mins(1), worker).await;
            left.expect("messages are left that nobody is given").unwrap();
        }
        // In the order of the first deliveries.
        let mut seen = BTreeMap::new();
        for (at, id) in delivered.lock().unwrap().iter().enumerate() {
            seen.entry(id.clone()).or_insert(at);
        }
        let truth = place.sql("SELECT id, key FROM {}.truth ORDER BY key, n");
        let rows = sqlx::raw_sql(AssertSqlSafe(truth))
            .fetch_all(&pool)
            .await
            .unwrap();
        assert_eq!(u64::try_from(rows.len()).unwrap(), committed);
        assert!(
            committed > WRITERS * TRANSACTIONS / 2,
            "only {committed}: nothing was tried"
        );
        let mut last: BTreeMap<String, usize> = BTreeMap::new();
        for row in rows {
            let (id, key): (String, String) = (row.get(0), row.get(1));
            let at = *seen
                .get(&id)
                .unwrap_or_else(|| panic!("{id} was never delivered"));
            if let Some(before) = last.insert(key.clone(), at) {
                assert!(before < at, "{id} of {key} came too early");
            }
        }
    });
}
