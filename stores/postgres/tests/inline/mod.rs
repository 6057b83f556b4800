//! The store with every operation run to its end inside of its first poll, for suites that know no real I/O.

use std::time::Duration;

use postbox::aggregate::{
    CommitBatch, Committed, InboxReceipt, Repository, RepositoryError, SnapshotRecord, StreamIdentity,
    StreamTail,
};
use postbox::claim::Status;
use postbox::store::{
    ClaimRef, ClaimRequest, HasOutboxStore, OutboxCounts, OutboxOperator, OutboxStore, Settled, Settlement,
    StoredMessage,
};
use postbox_postgres::{
    PostgresClaimed, PostgresError, PostgresOutboxStore, PostgresRepository, PostgresWakeup,
};

use crate::support::RUNTIME;

#[derive(Clone)]
pub(crate) struct Inline(pub(crate) PostgresRepository);

impl Repository for Inline {
    async fn load(&self, stream: &StreamIdentity, after: u64) -> Result<Option<StreamTail>, RepositoryError> {
        RUNTIME.block_on(self.0.load(stream, after))
    }
    async fn snapshot(&self, stream: &StreamIdentity) -> Result<Option<SnapshotRecord>, RepositoryError> {
        RUNTIME.block_on(self.0.snapshot(stream))
    }
    async fn commit(&self, batch: CommitBatch) -> Result<Committed<i64>, RepositoryError> {
        RUNTIME.block_on(self.0.commit(batch))
    }
    async fn has_receipt(&self, receipt: &InboxReceipt) -> Result<bool, RepositoryError> {
        RUNTIME.block_on(self.0.has_receipt(receipt))
    }
}

impl HasOutboxStore for Inline {
    type OutboxStore = InlineOutbox;

    fn outbox_store(&self) -> InlineOutbox {
        InlineOutbox(self.0.outbox_store())
    }
}

pub(crate) struct InlineOutbox(PostgresOutboxStore);

impl OutboxStore for InlineOutbox {
    type Error = PostgresError;
    type Key = i64;
    type Claimed = PostgresClaimed;
    type Batch = Vec<PostgresClaimed>;
    type Wakeup = PostgresWakeup;

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Vec<PostgresClaimed>, PostgresError> {
        RUNTIME.block_on(self.0.claim(request))
    }
    async fn renew(&self, claims: &[ClaimRef<i64>], lease: Duration) -> Result<usize, PostgresError> {
        RUNTIME.block_on(self.0.renew(claims, lease))
    }
    async fn settle(&self, settlements: &[Settlement<'_, i64>]) -> Result<Settled, PostgresError> {
        RUNTIME.block_on(self.0.settle(settlements))
    }
    async fn settle_soon(&self, settlements: &[Settlement<'_, i64>]) -> Result<(), PostgresError> {
        RUNTIME.block_on(self.0.settle_soon(settlements))
    }
    async fn purge(&self, limit: usize) -> Result<usize, PostgresError> {
        RUNTIME.block_on(self.0.purge(limit))
    }
    async fn next_due(&self) -> Result<Option<Duration>, PostgresError> {
        RUNTIME.block_on(self.0.next_due())
    }
    fn wakeup(&self) -> PostgresWakeup {
        self.0.wakeup()
    }
}

impl OutboxOperator for InlineOutbox {
    async fn counts(&self) -> Result<OutboxCounts, PostgresError> {
        RUNTIME.block_on(self.0.counts())
    }
    async fn messages(&self, status: Status, limit: usize) -> Result<Vec<StoredMessage>, PostgresError> {
        RUNTIME.block_on(self.0.messages(status, limit))
    }
    async fn find(&self, id: &str) -> Result<Option<StoredMessage>, PostgresError> {
        RUNTIME.block_on(self.0.find(id))
    }
    async fn requeue(&self, ids: &[&str]) -> Result<usize, PostgresError> {
        RUNTIME.block_on(self.0.requeue(ids))
    }
}
