//! What can go wrong with a SQLite store, told apart by what the caller can do about it.

use std::sync::Arc;

use postbox::aggregate::RepositoryError;
use postbox::id::Invalid;
use rusqlite::ErrorCode;

/// A store operation failed. Clones share the driver's error, since one failed transaction answers every
/// caller of its group.
///
/// ```
/// use postbox_sqlite::{SqliteError, SqliteRepository};
///
/// let error = SqliteRepository::open("/there/is/no/such/folder/outbox.db").unwrap_err();
/// assert!(matches!(error, SqliteError::Sqlite { .. }));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqliteError {
    /// This SQLite may lose committed writes when two connections write and checkpoint at once.
    #[error("SQLite {found} is too old, {needed} is the first that keeps every committed write")]
    SqliteTooOld {
        /// The version that is linked.
        found: &'static str,
        /// The least version.
        needed: &'static str,
    },
    /// A newer program has changed the tables. Nothing was touched.
    #[error("the database has Postbox schema {found}, this program knows {supported}: update the program")]
    SchemaTooNew {
        /// The version in the file.
        found: u32,
        /// The newest that this program knows.
        supported: u32,
    },
    /// Another process held the write lock for longer than the busy timeout. Nothing was committed.
    #[error("the database stayed busy: {source}")]
    Busy {
        /// The driver's error.
        source: Arc<rusqlite::Error>,
    },
    /// The disk or the quota is full. Nothing was committed; it goes on when there is room again.
    #[error("the database cannot grow: {source}")]
    Full {
        /// The driver's error.
        source: Arc<rusqlite::Error>,
    },
    /// Any other failure of SQLite. Nothing was committed.
    #[error("SQLite failed: {source}")]
    Sqlite {
        /// The driver's error.
        source: Arc<rusqlite::Error>,
    },
    /// The commit itself failed: it may have happened, whole, or not.
    #[error("the outcome of the commit is unknown: {source}")]
    Unknown {
        /// The driver's error.
        source: Arc<rusqlite::Error>,
    },
    /// The operation panicked: its part of the transaction was rolled back.
    #[error("the operation panicked and was rolled back")]
    Panicked,
    /// The store's thread is gone.
    #[error("the store is closed")]
    Closed,
    /// The system refused a thread.
    #[error("the store's thread does not start: {source}")]
    Thread {
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// The request broke a limit. Nothing was done.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl SqliteError {
    /// The failure of a whole transaction whose commit was not tried, or certainly did not happen.
    pub(crate) fn transaction(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error_code();
        let source = Arc::new(error);
        match code {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { source },
            Some(ErrorCode::DiskFull) => Self::Full { source },
            _ => Self::Sqlite { source },
        }
    }

    /// The failure of a `COMMIT`: certain only when the write lock or the room was what was missing.
    pub(crate) fn commit(error: rusqlite::Error) -> Self {
        match Self::transaction(error) {
            Self::Sqlite { source } => Self::Unknown { source },
            certain => certain,
        }
    }
}

impl From<rusqlite::Error> for SqliteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::transaction(error)
    }
}

impl From<SqliteError> for RepositoryError {
    fn from(error: SqliteError) -> Self {
        match error {
            SqliteError::Invalid(invalid) => Self::Invalid(invalid),
            SqliteError::Unknown { .. } => Self::Unknown { source: error.into() },
            error => Self::store(error),
        }
    }
}

/// Why one piece of work failed: it was refused by the rules, or SQLite failed under it.
#[derive(Debug)]
pub(crate) enum Fault<E> {
    Refused(E),
    Sqlite(rusqlite::Error),
}

impl<E> From<rusqlite::Error> for Fault<E> {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl<E: From<SqliteError>> Fault<E> {
    /// What its caller is told.
    pub(crate) fn into_error(self) -> E {
        match self {
            Self::Refused(error) => error,
            Self::Sqlite(error) => SqliteError::transaction(error).into(),
        }
    }
}

/// Whether the connection must not be used any further: its view of the file may differ from the disk's,
/// and an fsync that failed once must not be believed when it succeeds the next time.
pub(crate) fn is_fatal(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::OutOfMemory
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::CannotOpen
                | ErrorCode::FileLockingProtocolFailed
        )
    )
}
