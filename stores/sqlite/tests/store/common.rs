//! What the tests of this store share: stores in virtual time, files that go away, and a plain `block_on`.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use postbox::aggregate::{
    Birth, CommitBatch, Committed, EventRecord, Repository, RepositoryError, StreamIdentity, StreamWrite,
};
use postbox::claim::Verdict;
use postbox::id::WorkerId;
use postbox::lease::Lease;
use postbox::message::{Codec, HeaderBuf, OutboxMessage};
use postbox::store::{
    ClaimRef, ClaimRequest, ClaimedMessage, HasOutboxStore, OutboxOptions, OutboxStore, Settlement, Which,
};
use postbox::testing::VirtualClock;
use postbox::time::Instant;
use postbox_sqlite::{Execution, SqliteClaimed, SqliteOptions, SqliteOutboxStore, SqliteRepository};

pub(crate) const A: WorkerId = WorkerId::new(1);
pub(crate) const B: WorkerId = WorkerId::new(u64::MAX);
pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// Polls on this thread until the end.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// A folder that is gone afterwards.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("postbox-sqlite-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("outbox.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A store in memory, inline, in virtual time.
pub(crate) struct Bench {
    pub(crate) clock: VirtualClock,
    pub(crate) repository: SqliteRepository,
    pub(crate) store: SqliteOutboxStore,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(SqliteOptions::memory(), OutboxOptions::new())
    }

    pub(crate) fn with(options: SqliteOptions, outbox: OutboxOptions) -> Self {
        let clock = VirtualClock::new();
        let repository = options
            .with_clock(Arc::new(clock.clone()))
            .with_execution(Execution::Inline)
            .with_outbox(outbox)
            .open()
            .unwrap();
        let store = repository.outbox_store();
        Self {
            clock,
            repository,
            store,
        }
    }

    pub(crate) fn commit(&self, messages: Vec<OutboxMessage>) -> Committed<i64> {
        block_on(self.repository.commit(batch(messages))).unwrap()
    }

    pub(crate) fn commit_claimed(&self, messages: Vec<OutboxMessage>) -> Committed<i64> {
        block_on(self.repository.commit(claimed(batch(messages), A))).unwrap()
    }

    pub(crate) fn claim(&self, worker: WorkerId, limit: usize) -> Vec<SqliteClaimed> {
        block_on(self.store.claim(&due(worker, limit))).unwrap()
    }

    pub(crate) fn claim_ids(&self, worker: WorkerId, ids: &[&str]) -> Vec<SqliteClaimed> {
        let request = ClaimRequest {
            which: Which::Ids(ids),
            ..due(worker, 1024)
        };
        block_on(self.store.claim(&request)).unwrap()
    }

    pub(crate) fn settle(&self, claim: ClaimRef<i64>, verdict: Verdict) -> bool {
        let settled = block_on(self.store.settle(&[settlement(claim, verdict)])).unwrap();
        assert_eq!(settled.applied() + settled.overtaken_count(), 1);
        settled.applied() == 1
    }
}

pub(crate) fn due(worker: WorkerId, limit: usize) -> ClaimRequest<'static> {
    ClaimRequest {
        worker,
        lease: LEASE,
        limit,
        max_abandoned: 3,
        which: Which::Due,
    }
}

pub(crate) fn settlement(claim: ClaimRef<i64>, verdict: Verdict) -> Settlement<'static, i64> {
    let error = match verdict {
        Verdict::Complete => "",
        _ => "the broker said no",
    };
    Settlement {
        claim,
        verdict,
        error,
    }
}

pub(crate) fn message(id: &str) -> OutboxMessage {
    OutboxMessage::create(id, "thing.done", format!("{{\"id\":\"{id}\"}}")).unwrap()
}

pub(crate) fn keyed(id: &str, key: &str) -> OutboxMessage {
    message(id).with_key(key).unwrap()
}

pub(crate) fn batch(messages: Vec<OutboxMessage>) -> CommitBatch {
    CommitBatch {
        messages,
        ..CommitBatch::new()
    }
}

pub(crate) fn claimed(batch: CommitBatch, worker: WorkerId) -> CommitBatch {
    let lease = Lease::new(LEASE).unwrap();
    CommitBatch {
        claim: Some(Birth { worker, lease }),
        ..batch
    }
}

pub(crate) fn stream(id: &str) -> StreamIdentity {
    StreamIdentity::new("thing", id).unwrap()
}

pub(crate) fn event(sequence: u64) -> EventRecord {
    EventRecord {
        name: "Done".into(),
        version: 1,
        codec: Codec::JSON,
        payload: br#""Done""#.to_vec(),
        sequence,
        recorded_at: Instant::ZERO,
        metadata: HeaderBuf::new(),
    }
}

/// `count` events on top of version `expected`.
pub(crate) fn write(id: &str, expected: u64, count: u64) -> StreamWrite {
    StreamWrite {
        stream: stream(id),
        expected,
        events: (1..=count).map(|n| event(expected + n)).collect(),
    }
}

/// One event and one message of its stream.
pub(crate) fn step(id: &str, version: u64) -> CommitBatch {
    let mut batch = batch(vec![keyed(&format!("{id}-{version}"), id)]);
    batch.streams.push(write(id, version, 1));
    batch
}

pub(crate) fn ids(batch: &[SqliteClaimed]) -> Vec<&str> {
    batch.iter().map(|claimed| claimed.message().id).collect()
}

pub(crate) fn version(repository: &SqliteRepository, id: &str) -> Result<u64, RepositoryError> {
    let tail = block_on(repository.load(&stream(id), 0))?;
    Ok(tail.map_or(0, |tail| tail.version))
}
