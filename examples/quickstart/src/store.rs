//! One store or the other behind one type, chosen when the program starts: each verb is passed on.

use std::time::Duration;

use postbox::aggregate::{
    CommitBatch, Committed, InboxReceipt, Repository, RepositoryError, SnapshotRecord, StreamIdentity,
    StreamTail,
};
use postbox::claim::Status;
use postbox::message::MessageRef;
use postbox::store::{
    ClaimRef, ClaimRequest, ClaimedMessage, HasOutboxStore, OutboxCounts, OutboxOperator, OutboxStore,
    Settled, Settlement, StoredMessage,
};
use postbox::sync::Watch;
use postbox::wakeup::Wakeup;
use postbox_postgres::{
    PostgresClaimed, PostgresError, PostgresOutboxStore, PostgresRepository, PostgresWakeup,
};
use postbox_sqlite::{SqliteClaimed, SqliteError, SqliteOutboxStore, SqliteRepository};

#[derive(Clone, Debug)]
pub(crate) enum Store {
    Sqlite(SqliteRepository),
    Postgres(PostgresRepository),
}

#[derive(Clone, Debug)]
pub(crate) enum Outbox {
    Sqlite(SqliteOutboxStore),
    Postgres(PostgresOutboxStore),
}

#[derive(Debug)]
pub(crate) enum Claimed {
    Sqlite(SqliteClaimed),
    Postgres(PostgresClaimed),
}

pub(crate) enum Hints {
    Sqlite(Watch),
    Postgres(PostgresWakeup),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error(transparent)]
    Sqlite(#[from] SqliteError),
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

/// The same for both stores.
macro_rules! either {
    ($self:expr, $of:ident, $it:ident => $run:expr) => {
        match $self {
            $of::Sqlite($it) => $run,
            $of::Postgres($it) => $run,
        }
    };
}

impl Store {
    /// Writes what was put off.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(repository) => repository.flush().await?,
            Self::Postgres(repository) => repository.outbox_store().flush().await?,
        }
        Ok(())
    }
}

impl Repository for Store {
    async fn load(&self, stream: &StreamIdentity, after: u64) -> Result<Option<StreamTail>, RepositoryError> {
        either!(self, Self, store => store.load(stream, after).await)
    }
    async fn snapshot(&self, stream: &StreamIdentity) -> Result<Option<SnapshotRecord>, RepositoryError> {
        either!(self, Self, store => store.snapshot(stream).await)
    }
    async fn commit(&self, batch: CommitBatch) -> Result<Committed<i64>, RepositoryError> {
        either!(self, Self, store => store.commit(batch).await)
    }
    async fn has_receipt(&self, receipt: &InboxReceipt) -> Result<bool, RepositoryError> {
        either!(self, Self, store => store.has_receipt(receipt).await)
    }
}

impl HasOutboxStore for Store {
    type OutboxStore = Outbox;

    fn outbox_store(&self) -> Outbox {
        match self {
            Self::Sqlite(store) => Outbox::Sqlite(store.outbox_store()),
            Self::Postgres(store) => Outbox::Postgres(store.outbox_store()),
        }
    }
}

impl OutboxStore for Outbox {
    type Error = StoreError;
    type Key = i64;
    type Claimed = Claimed;
    type Batch = Vec<Claimed>;
    type Wakeup = Hints;

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Vec<Claimed>, StoreError> {
        Ok(match self {
            Self::Sqlite(store) => store
                .claim(request)
                .await?
                .into_iter()
                .map(Claimed::Sqlite)
                .collect(),
            Self::Postgres(store) => store
                .claim(request)
                .await?
                .into_iter()
                .map(Claimed::Postgres)
                .collect(),
        })
    }
    async fn renew(&self, claims: &[ClaimRef<i64>], lease: Duration) -> Result<usize, StoreError> {
        Ok(either!(self, Self, store => store.renew(claims, lease).await?))
    }
    async fn settle(&self, settlements: &[Settlement<'_, i64>]) -> Result<Settled, StoreError> {
        Ok(either!(self, Self, store => store.settle(settlements).await?))
    }
    async fn settle_soon(&self, settlements: &[Settlement<'_, i64>]) -> Result<(), StoreError> {
        either!(self, Self, store => store.settle_soon(settlements).await?);
        Ok(())
    }
    async fn purge(&self, limit: usize) -> Result<usize, StoreError> {
        Ok(either!(self, Self, store => store.purge(limit).await?))
    }
    async fn next_due(&self) -> Result<Option<Duration>, StoreError> {
        Ok(either!(self, Self, store => store.next_due().await?))
    }
    fn wakeup(&self) -> Hints {
        match self {
            Self::Sqlite(store) => Hints::Sqlite(store.wakeup()),
            Self::Postgres(store) => Hints::Postgres(store.wakeup()),
        }
    }
}

impl OutboxOperator for Outbox {
    async fn counts(&self) -> Result<OutboxCounts, StoreError> {
        Ok(either!(self, Self, store => store.counts().await?))
    }
    async fn messages(&self, status: Status, limit: usize) -> Result<Vec<StoredMessage>, StoreError> {
        Ok(either!(self, Self, store => store.messages(status, limit).await?))
    }
    async fn find(&self, id: &str) -> Result<Option<StoredMessage>, StoreError> {
        Ok(either!(self, Self, store => store.find(id).await?))
    }
    async fn requeue(&self, ids: &[&str]) -> Result<usize, StoreError> {
        Ok(either!(self, Self, store => store.requeue(ids).await?))
    }
}

impl ClaimedMessage for Claimed {
    type Key = i64;

    fn message(&self) -> MessageRef<'_> {
        either!(self, Self, it => it.message())
    }
    fn claim(&self) -> ClaimRef<i64> {
        either!(self, Self, it => it.claim())
    }
    fn failures(&self) -> u32 {
        either!(self, Self, it => it.failures())
    }
    fn age(&self) -> Duration {
        either!(self, Self, it => it.age())
    }
}

impl Wakeup for Hints {
    async fn wait(&mut self) {
        either!(self, Self, it => it.wait().await);
    }
}
