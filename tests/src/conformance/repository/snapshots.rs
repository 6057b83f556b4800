//! Snapshots: what is read with them, and when they are passed over.

use std::cell::RefCell;
use std::rc::Rc;

use postbox::aggregate::{
    Aggregate, CommitBatch, Committed, InboxReceipt, Repository, RepositoryError,
    SnapshotAggregateRepository, SnapshotRecord, StreamIdentity, StreamTail,
};
use postbox::store::{HasOutboxStore, KeyOf, OutboxOptions};

use super::sample::{Counter, snapshot};
use crate::conformance::StoreHarness;

/// With a snapshot every three events, a load reads the snapshot and only the events after it.
pub async fn a_snapshot_is_read_first_and_then_only_the_tail<H: StoreHarness>(harness: &H) {
    let (counters, reads) = counted(harness);
    let mut counter = Counter::open("c");
    for amount in 1..=7 {
        counter.add(amount);
        counters.commit(&mut counter).await.expect("a good commit");
    }
    // Eight events, the first two in one commit: snapshots were due at 3 and 6.
    reads.take();
    let mut loaded = counters.get("c").await.expect("a load").expect("it exists");
    assert_eq!(
        (loaded.sum, loaded.version(), loaded.entity().snapshot_version()),
        (28, 8, 6)
    );
    assert_eq!(
        reads.take(),
        [Read::Snapshot(Some(6)), Read::Events { after: 6, count: 2 }]
    );
    loaded.add(100);
    counters.commit(&mut loaded).await.expect("a good commit");
    reads.take();
    assert_eq!(
        counters.get("c").await.expect("a load").expect("it exists").sum,
        128
    );
    assert_eq!(
        reads.take(),
        [Read::Snapshot(Some(9)), Read::Events { after: 9, count: 0 }]
    );
    assert!(counters.get("d").await.expect("a load").is_none());
}

/// A snapshot of another type of state.
pub async fn a_foreign_snapshot_is_ignored<H: StoreHarness>(harness: &H) {
    ignored(harness, |record| "account".clone_into(&mut record.state_type)).await;
}

/// A snapshot that a later program wrote.
pub async fn a_snapshot_of_a_newer_shape_is_ignored<H: StoreHarness>(harness: &H) {
    ignored(harness, |record| record.state_version += 1).await;
}

/// A snapshot of events that the stream does not have: the stream was restored from an older backup.
pub async fn a_snapshot_newer_than_the_stream_is_ignored<H: StoreHarness>(harness: &H) {
    ignored(harness, |record| record.version = 5).await;
}

/// A snapshot whose bytes are not what they should be.
pub async fn a_corrupt_snapshot_is_ignored<H: StoreHarness>(harness: &H) {
    ignored(harness, |record| record.payload.truncate(7)).await;
}

/// A stream of two events with a snapshot that says otherwise and has a `defect`: the events count, and the
/// next snapshot takes its place.
async fn ignored<H: StoreHarness>(harness: &H, defect: impl FnOnce(&mut SnapshotRecord)) {
    let repository = harness.open(OutboxOptions::new());
    let (counters, reads) = counted_over::<H>(repository.clone());
    let mut counter = Counter::open("c");
    counter.add(1);
    counters.commit(&mut counter).await.expect("a good commit");
    let mut record = snapshot("c", 2, 1_000);
    keep(&repository, &record).await;
    let believed = counters.get("c").await.expect("a load").expect("it exists");
    assert_eq!(believed.sum, 1_000, "without the defect it would be believed");
    defect(&mut record);
    keep(&repository, &record).await;
    reads.take();
    let mut loaded = counters.get("c").await.expect("a load").expect("it exists");
    assert_eq!(
        (loaded.sum, loaded.version(), loaded.entity().snapshot_version()),
        (1, 2, 0)
    );
    assert!(reads.take().contains(&Read::Events { after: 0, count: 2 }));
    loaded.add(5);
    counters.commit(&mut loaded).await.expect("a good commit");
    let healed = counters.get("c").await.expect("a load").expect("it exists");
    assert_eq!((healed.sum, healed.entity().snapshot_version()), (6, 3));
}

async fn keep<R: Repository>(repository: &R, record: &SnapshotRecord) {
    let batch = CommitBatch {
        snapshots: vec![record.clone()],
        ..CommitBatch::new()
    };
    repository.commit(batch).await.expect("a good commit");
}

type Counters<H> = SnapshotAggregateRepository<Counting<<H as StoreHarness>::Repository>, Counter>;
type Reads = Rc<RefCell<Vec<Read>>>;

fn counted<H: StoreHarness>(harness: &H) -> (Counters<H>, Reads) {
    counted_over::<H>(harness.open(OutboxOptions::new()))
}

fn counted_over<H: StoreHarness>(repository: H::Repository) -> (Counters<H>, Reads) {
    let reads = Reads::default();
    let counting = Counting {
        repository,
        reads: reads.clone(),
    };
    let counters = counting.aggregate::<Counter>().with_snapshots(3);
    (counters.expect("a good interval"), reads)
}

/// What was read from a repository.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Read {
    /// A snapshot of this version, if there was one.
    Snapshot(Option<u64>),
    /// So many events.
    Events { after: u64, count: usize },
}

/// Notes what is read from the repository below.
struct Counting<R> {
    repository: R,
    reads: Reads,
}

impl<R: HasOutboxStore> HasOutboxStore for Counting<R> {
    type OutboxStore = R::OutboxStore;

    fn outbox_store(&self) -> Self::OutboxStore {
        self.repository.outbox_store()
    }
}

impl<R: Repository> Repository for Counting<R> {
    async fn load(&self, stream: &StreamIdentity, after: u64) -> Result<Option<StreamTail>, RepositoryError> {
        let tail = self.repository.load(stream, after).await?;
        let count = tail.as_ref().map_or(0, |tail| tail.events.len());
        self.reads.borrow_mut().push(Read::Events { after, count });
        Ok(tail)
    }

    async fn snapshot(&self, stream: &StreamIdentity) -> Result<Option<SnapshotRecord>, RepositoryError> {
        let snapshot = self.repository.snapshot(stream).await?;
        let version = snapshot.as_ref().map(|snapshot| snapshot.version);
        self.reads.borrow_mut().push(Read::Snapshot(version));
        Ok(snapshot)
    }

    async fn commit(&self, batch: CommitBatch) -> Result<Committed<KeyOf<Self>>, RepositoryError> {
        self.repository.commit(batch).await
    }

    async fn has_receipt(&self, receipt: &InboxReceipt) -> Result<bool, RepositoryError> {
        self.repository.has_receipt(receipt).await
    }
}
