//! The repository: streams and outbox of one PostgreSQL database behind core's seams.

use std::fmt;
use std::sync::Arc;

use postbox::aggregate::{
    CommitBatch, Committed, InboxReceipt, Repository, RepositoryError, SnapshotRecord, StreamIdentity,
    StreamTail,
};
use postbox::store::{HasOutboxStore, KeyOf};
use sqlx::postgres::PgPool;

use crate::database::Database;
use crate::error::PostgresError;
use crate::options::PostgresOptions;
use crate::outbox::PostgresOutboxStore;
use crate::{commit, streams};

/// Event streams, snapshots, receipts and the outbox in one PostgreSQL database. Clones share the pool.
///
/// A commit is one autocommit statement: one round trip, and nothing to leave open when its future is dropped. Those
/// that come while one is under way share the next, with one flush of the disk; if one of them is refused, each is
/// stored alone.
///
/// ```no_run
/// use postbox::aggregate::{CommitBatch, Repository};
/// use postbox::message::OutboxMessage;
/// use postbox::store::{HasOutboxStore, OutboxOperator};
/// use postbox_postgres::PostgresRepository;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let repository = PostgresRepository::connect("postgres://localhost/shop").await?;
/// let mut batch = CommitBatch::new();
/// batch.messages.push(OutboxMessage::create("m-1", "order.placed", b"{}".to_vec())?);
/// repository.commit(batch).await?;
/// assert_eq!(repository.outbox_store().counts().await?.pending, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresRepository {
    database: Arc<Database>,
}

impl PostgresRepository {
    /// Connects with the default [`PostgresOptions`], and makes or updates the tables.
    ///
    /// # Errors
    /// See [`PostgresOptions::connect`].
    pub async fn connect(url: &str) -> Result<Self, PostgresError> {
        PostgresOptions::new().connect(url).await
    }

    pub(crate) async fn with_options(pool: PgPool, options: PostgresOptions) -> Result<Self, PostgresError> {
        let database = Arc::new(Database::open(pool, options).await?);
        Ok(Self { database })
    }

    /// The pool: for transactions of your own.
    pub fn pool(&self) -> &PgPool {
        &self.database.pool
    }
}

impl Repository for PostgresRepository {
    async fn load(&self, stream: &StreamIdentity, after: u64) -> Result<Option<StreamTail>, RepositoryError> {
        streams::load(&self.database, stream, after).await
    }

    async fn snapshot(&self, stream: &StreamIdentity) -> Result<Option<SnapshotRecord>, RepositoryError> {
        streams::snapshot(&self.database, stream).await
    }

    async fn commit(&self, batch: CommitBatch) -> Result<Committed<KeyOf<Self>>, RepositoryError> {
        commit::commit(&self.database, batch).await
    }

    async fn has_receipt(&self, receipt: &InboxReceipt) -> Result<bool, RepositoryError> {
        streams::has_receipt(&self.database, receipt).await
    }
}

impl HasOutboxStore for PostgresRepository {
    type OutboxStore = PostgresOutboxStore;

    fn outbox_store(&self) -> PostgresOutboxStore {
        PostgresOutboxStore::new(self.database.clone())
    }
}

impl fmt::Debug for PostgresRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresRepository")
            .field("options", &self.database.options)
            .finish_non_exhaustive()
    }
}
