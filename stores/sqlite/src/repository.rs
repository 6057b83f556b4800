//! The repository: streams and outbox of one SQLite database behind core's seams.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use postbox::aggregate::{
    CommitBatch, Committed, InboxReceipt, Repository, RepositoryError, SnapshotRecord, StreamIdentity,
    StreamTail,
};
use postbox::store::{HasOutboxStore, KeyOf};

use crate::engine::Engine;
use crate::error::SqliteError;
use crate::options::SqliteOptions;
use crate::outbox::SqliteOutboxStore;
use crate::streams;

/// Event streams, snapshots, receipts and the outbox in one SQLite database. Clones share it.
///
/// Commits that wait at the same time share one transaction and one fsync: one that is refused does not take the
/// others along.
///
/// ```
/// use postbox::aggregate::{CommitBatch, Repository};
/// use postbox::message::OutboxMessage;
/// use postbox::store::{HasOutboxStore, OutboxOperator};
/// use postbox_sqlite::SqliteRepository;
/// # use postbox::testing::{VirtualClock, run};
/// # use postbox_sqlite::{Execution, SqliteOptions};
///
/// # fn open() -> Result<SqliteRepository, postbox_sqlite::SqliteError> {
/// let repository = SqliteRepository::memory()?; // or open("orders.db")
/// # drop(repository); SqliteOptions::memory().with_execution(Execution::Inline).open()
/// # }
/// # let repository = open()?;
/// # run(&VirtualClock::new(), async {
/// let mut batch = CommitBatch::new();
/// batch.messages.push(OutboxMessage::create("m-1", "order.placed", b"{}".to_vec())?);
/// repository.commit(batch).await?;
/// assert_eq!(repository.outbox_store().counts().await?.pending, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Drop
/// When the last handle (repository or outbox store) is dropped, the store's thread finishes what is queued,
/// soft settlements included, and ends; nobody waits for that. [`flush`](Self::flush) does.
#[derive(Clone)]
pub struct SqliteRepository {
    engine: Arc<Engine>,
}

impl SqliteRepository {
    /// Opens a database file, made when it is missing, with the default [`SqliteOptions`]. Blocks shortly.
    ///
    /// # Errors
    /// See [`SqliteOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SqliteError> {
        Self::with_options(SqliteOptions::file(path))
    }

    /// Opens a database in memory, gone with the last handle.
    ///
    /// # Errors
    /// See [`SqliteOptions::open`].
    pub fn memory() -> Result<Self, SqliteError> {
        Self::with_options(SqliteOptions::memory())
    }

    pub(crate) fn with_options(options: SqliteOptions) -> Result<Self, SqliteError> {
        let engine = Arc::new(Engine::start(options)?);
        Ok(Self { engine })
    }

    /// Waits until everything that was asked for so far is durable, soft settlements included. The last thing
    /// an orderly shutdown does.
    ///
    /// # Errors
    /// When the store has failed; lost soft settlements mean redeliveries, nothing else.
    pub async fn flush(&self) -> Result<(), SqliteError> {
        self.engine.write(|_| Ok(())).await
    }
}

impl Repository for SqliteRepository {
    async fn load(&self, stream: &StreamIdentity, after: u64) -> Result<Option<StreamTail>, RepositoryError> {
        let stream = stream.clone();
        self.engine
            .read(move |scope| streams::load(scope, &stream, after))
            .await
    }

    async fn snapshot(&self, stream: &StreamIdentity) -> Result<Option<SnapshotRecord>, RepositoryError> {
        let stream = stream.clone();
        self.engine
            .read(move |scope| streams::snapshot(scope, &stream))
            .await
    }

    async fn commit(&self, batch: CommitBatch) -> Result<Committed<KeyOf<Self>>, RepositoryError> {
        batch.check(&self.engine.options.outbox)?;
        self.engine
            .write(move |scope| streams::commit(scope, &batch))
            .await
    }

    async fn has_receipt(&self, receipt: &InboxReceipt) -> Result<bool, RepositoryError> {
        let receipt = receipt.clone();
        self.engine
            .read(move |scope| streams::has_receipt(scope, &receipt))
            .await
    }
}

impl HasOutboxStore for SqliteRepository {
    type OutboxStore = SqliteOutboxStore;

    fn outbox_store(&self) -> SqliteOutboxStore {
        SqliteOutboxStore::new(self.engine.clone())
    }
}

impl fmt::Debug for SqliteRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteRepository")
            .field("options", &self.engine.options)
            .finish_non_exhaustive()
    }
}
