//! One holder of a stream at a time, within this process.

use super::lock::LockTable;
use super::{
    CommitBatch, Committed, InboxReceipt, Repository, RepositoryError, SnapshotRecord, StreamIdentity,
    StreamLock, StreamTail,
};
use crate::store::{HasOutboxStore, KeyOf};

/// Lets one caller at a time load a stream in order to change it, first come first served.
///
/// The lock is an owned guard inside the loaded aggregate's [`Entity`](super::Entity): it is freed when the
/// aggregate is committed or dropped, whichever way that comes about (`?`, a rejected command, a panic, a
/// cancelled future), and at once when nothing was loaded. Clones share the locks. It saves retries within
/// one process; across processes the stream's version decides.
#[derive(Clone, Debug)]
pub struct QueuedRepository<R> {
    repository: R,
    locks: LockTable,
}

impl<R> QueuedRepository<R> {
    /// Over `repository`.
    pub fn new(repository: R) -> Self {
        Self {
            repository,
            locks: LockTable::default(),
        }
    }

    /// The repository below.
    pub const fn inner(&self) -> &R {
        &self.repository
    }

    /// How many streams are held at this moment.
    pub fn held_locks(&self) -> usize {
        self.locks.held()
    }
}

impl<R: Repository> Repository for QueuedRepository<R> {
    async fn load(&self, stream: &StreamIdentity, after: u64) -> Result<Option<StreamTail>, RepositoryError> {
        self.repository.load(stream, after).await
    }

    async fn snapshot(&self, stream: &StreamIdentity) -> Result<Option<SnapshotRecord>, RepositoryError> {
        self.repository.snapshot(stream).await
    }

    async fn commit(&self, batch: CommitBatch) -> Result<Committed<KeyOf<Self>>, RepositoryError> {
        self.repository.commit(batch).await
    }

    async fn has_receipt(&self, receipt: &InboxReceipt) -> Result<bool, RepositoryError> {
        self.repository.has_receipt(receipt).await
    }

    async fn lock(&self, stream: &StreamIdentity) -> Option<StreamLock> {
        Some(self.locks.lock(stream).await)
    }
}

impl<R: HasOutboxStore> HasOutboxStore for QueuedRepository<R> {
    type OutboxStore = R::OutboxStore;

    fn outbox_store(&self) -> Self::OutboxStore {
        self.repository.outbox_store()
    }
}
