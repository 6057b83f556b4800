//! What the tests of the engines share: a scripted publisher, a store that fails on purpose, short words.
#![allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    clippy::unused_async,
    unreachable_pub,
    missing_docs,
    reason = "each test uses a part; a panic is the report"
)]

pub mod faulty;
pub mod sample;
pub mod script;

use std::time::Duration;

use postbox::aggregate::{CommitBatch, Repository};
use postbox::claim::Status;
use postbox::dispatcher::DispatchConfig;
use postbox::id::WorkerId;
use postbox::lease::Lease;
use postbox::message::OutboxMessage;
use postbox::store::{HasOutboxStore, OutboxCounts, OutboxOperator, StoredMessage};
use postbox::testing::{VirtualClock, run};
use postbox_hashmap::{HashMapOutboxStore, HashMapRepository};

/// A store in RAM that lives by a virtual clock.
pub struct World {
    pub clock: VirtualClock,
    pub repository: HashMapRepository,
    pub store: HashMapOutboxStore,
}

impl World {
    pub fn new() -> Self {
        let clock = VirtualClock::new();
        let repository = HashMapRepository::new().with_clock(clock.clone());
        let store = repository.outbox_store();
        Self {
            clock,
            repository,
            store,
        }
    }

    /// Commits messages, pending.
    pub async fn commit(&self, messages: Vec<OutboxMessage>) {
        let batch = CommitBatch {
            messages,
            ..CommitBatch::new()
        };
        self.repository.commit(batch).await.expect("a good commit");
    }

    pub async fn enqueue(&self, ids: &[&str]) {
        self.commit(ids.iter().map(|id| message(id)).collect()).await;
    }

    pub async fn counts(&self) -> OutboxCounts {
        self.store.counts().await.expect("counts")
    }

    pub async fn find(&self, id: &str) -> Option<StoredMessage> {
        self.store.find(id).await.expect("a look-up")
    }

    pub async fn status(&self, id: &str) -> Option<Status> {
        self.find(id).await.map(|found| found.entry.state().status())
    }

    pub async fn failures(&self, id: &str) -> u32 {
        self.find(id).await.expect("it is kept").entry.failures()
    }

    pub async fn last_error(&self, id: &str) -> String {
        let found = self.find(id).await.expect("it is kept");
        found.last_error.as_str().to_owned()
    }

    /// Runs a test to its end in virtual time.
    pub fn run<T>(&self, test: impl Future<Output = T>) -> T {
        run(&self.clock, test).expect("nothing waits for ever")
    }

    pub async fn sleep(&self, by: Duration) {
        use postbox::runtime::Timer;
        use postbox::time::Clock;
        self.clock.sleep_until(self.clock.now() + by).await;
    }
}

pub fn config(worker: u64, lease: Duration) -> DispatchConfig {
    let lease = Lease::new(lease).expect("a good lease");
    DispatchConfig::new(WorkerId::new(worker)).with_lease(lease)
}

pub fn message(id: &str) -> OutboxMessage {
    OutboxMessage::create(id, "thing.happened", b"{}".to_vec()).expect("a good message")
}

pub fn keyed(id: &str, key: &str) -> OutboxMessage {
    message(id).with_key(key).expect("a good key")
}

pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
