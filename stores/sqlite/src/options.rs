//! How a store is opened: where the file is, how durable, whose clock, and where blocking calls run.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use postbox::id::Invalid;
use postbox::store::OutboxOptions;
use postbox::time::{Clock, SystemClock};

use crate::{SqliteError, SqliteRepository};

/// The longest group: so many waiting jobs share one transaction at most.
const MAX_GROUP: usize = 1024;
/// How long a soft settlement waits for company: far below a lease, and a few fsyncs of a good disk.
const LINGER: Duration = Duration::from_millis(5);
/// How long another process may hold the write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A clock that the store's threads can share.
pub(crate) type SharedClock = Arc<dyn Clock + Send + Sync>;

/// When SQLite waits for the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// At every commit and settlement: what was answered survives a power cut. Claims and renewals do not wait; they
    /// go to the disk with the next of those.
    #[default]
    Full,
    /// At checkpoints only: a power cut may lose the last commits (whole ones, in order), although they were
    /// answered. A killed process loses nothing.
    Normal,
}

/// Where the blocking calls of SQLite run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Execution {
    /// On threads of the store: one writes, and for files one reads. Futures wait without blocking, on any
    /// executor, and commits that wait together share one fsync.
    #[default]
    Thread,
    /// Inside of the future's poll, one transaction an operation: no threads, nothing left to chance. For
    /// simulation, and for programs with one thread anyway.
    Inline,
}

/// How to open a [`SqliteRepository`].
///
/// ```
/// use std::time::Duration;
/// use postbox::store::OutboxOptions;
/// use postbox_sqlite::{SqliteOptions, Synchronous};
///
/// let repository = SqliteOptions::memory()
///     .with_outbox(OutboxOptions::new().with_retention(Duration::from_secs(3600)))
///     .with_synchronous(Synchronous::Normal)
///     .with_busy_timeout(Duration::from_secs(10))
///     .open()?;
/// # Ok::<(), postbox_sqlite::SqliteError>(())
/// ```
#[derive(Clone)]
pub struct SqliteOptions {
    pub(crate) path: Option<PathBuf>,
    pub(crate) synchronous: Synchronous,
    pub(crate) busy_timeout: Duration,
    pub(crate) clock: SharedClock,
    pub(crate) outbox: OutboxOptions,
    pub(crate) execution: Execution,
    pub(crate) linger: Duration,
    pub(crate) max_group: usize,
}

impl SqliteOptions {
    /// A database file, made when it is missing. It must be on a local disk: WAL needs shared memory, which
    /// network file systems do not have.
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self {
            path: Some(path.as_ref().to_path_buf()),
            ..Self::memory()
        }
    }

    /// A database in memory, gone with the last handle.
    pub fn memory() -> Self {
        Self {
            path: None,
            synchronous: Synchronous::Full,
            busy_timeout: BUSY_TIMEOUT,
            clock: Arc::new(SystemClock),
            outbox: OutboxOptions::new(),
            execution: Execution::Thread,
            linger: LINGER,
            max_group: MAX_GROUP,
        }
    }

    /// Says when SQLite waits for the disk; by default at every commit.
    pub const fn with_synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// Sets how long to wait for the write lock of another process; 5 s by default.
    pub const fn with_busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// Sets the clock that says what is due and when a lease ends; by default the system's. Everybody who
    /// opens the file must use clocks that agree.
    pub fn with_clock(mut self, clock: Arc<dyn Clock + Send + Sync>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets retention, dead-letter policy and the payload limit. The dead-letter policy is kept in the file:
    /// the latest opening decides for all.
    pub const fn with_outbox(mut self, outbox: OutboxOptions) -> Self {
        self.outbox = outbox;
        self
    }

    /// Says where blocking calls run; by default on threads of the store.
    pub const fn with_execution(mut self, execution: Execution) -> Self {
        self.execution = execution;
        self
    }

    /// Sets how long [`settle_soon`](postbox::store::OutboxStore::settle_soon) may wait for other work whose
    /// transaction it can share; 5 ms by default.
    pub const fn with_linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Sets how many waiting operations may share one transaction; 1 to 1024, 1024 by default.
    ///
    /// # Errors
    /// [`Invalid::OutOfRange`].
    pub fn with_max_group(mut self, operations: usize) -> Result<Self, Invalid> {
        in_range("group (operations)", operations, MAX_GROUP, "between 1 and 1024")?;
        self.max_group = operations;
        Ok(self)
    }

    /// Opens the store, and makes or updates its tables.
    ///
    /// # Errors
    /// [`SqliteError::SqliteTooOld`], [`SqliteError::SchemaTooNew`], or whatever SQLite says.
    pub fn open(self) -> Result<SqliteRepository, SqliteError> {
        SqliteRepository::with_options(self)
    }
}

impl fmt::Debug for SqliteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteOptions")
            .field("path", &self.path)
            .field("synchronous", &self.synchronous)
            .field("busy_timeout", &self.busy_timeout)
            .field("outbox", &self.outbox)
            .field("execution", &self.execution)
            .field("linger", &self.linger)
            .field("max_group", &self.max_group)
            .finish_non_exhaustive()
    }
}

/// Checks a count: 1 to `limit`.
pub(crate) fn in_range(
    field: &'static str,
    count: usize,
    limit: usize,
    rule: &'static str,
) -> Result<(), Invalid> {
    if (1..=limit).contains(&count) {
        return Ok(());
    }
    let value = u64::try_from(count).unwrap_or(u64::MAX);
    Err(Invalid::OutOfRange { field, value, rule })
}
