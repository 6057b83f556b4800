//! The consumer's memory of what it has handled.

use super::{
    AggregateRepository, CommitBatch, InboxReceipt, QueuedRepository, Repository, RepositoryError,
    SnapshotAggregateRepository,
};

/// Remembers handled messages in the same database as their effects.
pub trait InboxStore {
    /// Whether the receipt was committed: the message's effects are there.
    async fn has_receipt(&self, receipt: &InboxReceipt) -> Result<bool, RepositoryError>;

    /// Commits a receipt alone: for a handler that changed nothing in this database.
    ///
    /// # Errors
    /// [`RepositoryError::DuplicateReceipt`] when it is there already.
    async fn commit_receipt(&self, receipt: InboxReceipt) -> Result<(), RepositoryError>;
}

/// A service without a repository has no inbox: asking for one is an error.
impl InboxStore for () {
    async fn has_receipt(&self, _: &InboxReceipt) -> Result<bool, RepositoryError> {
        Err(no_inbox())
    }
    async fn commit_receipt(&self, _: InboxReceipt) -> Result<(), RepositoryError> {
        Err(no_inbox())
    }
}

impl<R: Repository, A> InboxStore for AggregateRepository<R, A> {
    async fn has_receipt(&self, receipt: &InboxReceipt) -> Result<bool, RepositoryError> {
        self.inner().has_receipt(receipt).await
    }
    async fn commit_receipt(&self, receipt: InboxReceipt) -> Result<(), RepositoryError> {
        commit(self.inner(), receipt).await
    }
}

impl<R: Repository, A> InboxStore for SnapshotAggregateRepository<R, A> {
    async fn has_receipt(&self, receipt: &InboxReceipt) -> Result<bool, RepositoryError> {
        self.aggregates().inner().has_receipt(receipt).await
    }
    async fn commit_receipt(&self, receipt: InboxReceipt) -> Result<(), RepositoryError> {
        commit(self.aggregates().inner(), receipt).await
    }
}

impl<R: Repository> InboxStore for QueuedRepository<R> {
    async fn has_receipt(&self, receipt: &InboxReceipt) -> Result<bool, RepositoryError> {
        Repository::has_receipt(self, receipt).await
    }
    async fn commit_receipt(&self, receipt: InboxReceipt) -> Result<(), RepositoryError> {
        commit(self, receipt).await
    }
}

async fn commit<R: Repository>(repository: &R, receipt: InboxReceipt) -> Result<(), RepositoryError> {
    let mut batch = CommitBatch::new();
    batch.receipts.push(receipt);
    repository.commit(batch).await.map(|_| ())
}

fn no_inbox() -> RepositoryError {
    RepositoryError::store("a service without a repository has no inbox")
}
