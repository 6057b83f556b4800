//! What can go wrong with a PostgreSQL store, told apart by what the caller can do about it.

use std::sync::Arc;

use postbox::aggregate::RepositoryError;
use postbox::id::Invalid;
use sqlx::postgres::PgDatabaseError;

/// A store operation failed.
///
/// ```
/// use postbox_postgres::PostgresError;
///
/// fn advice(error: &PostgresError) -> &'static str {
///     match error {
///         PostgresError::SchemaTooNew { .. } => "update this program",
///         PostgresError::Unknown { .. } => "look whether the message's id is there before trying again",
///         _ => "nothing was committed",
///     }
/// }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// A newer program has changed the tables. Nothing was touched.
    #[error("the database has Postbox schema {found}, this program knows {supported}: update the program")]
    SchemaTooNew {
        /// The version in the database.
        found: u32,
        /// The newest that this program knows.
        supported: u32,
    },
    /// The tables are missing or older than this program, and it was told not to change them.
    #[error("the database has Postbox schema {found}, this program needs {needed}: run the migrations")]
    SchemaTooOld {
        /// The version in the database.
        found: u32,
        /// The version that this program needs.
        needed: u32,
    },
    /// The pool's transactions see an old snapshot by default, in which the order within a key cannot be kept.
    #[error("the pool's default isolation is {found:?}: it must be \"read committed\"")]
    Isolation {
        /// The pool's `default_transaction_isolation`.
        found: String,
    },
    /// No connection: the pool is exhausted or closed, or the server does not take any. Nothing was done.
    #[error("no connection to the database: {source}")]
    Connect {
        /// The driver's error.
        source: Arc<sqlx::Error>,
    },
    /// The server refused the statement, and undid it.
    #[error("PostgreSQL failed: {source}")]
    Sql {
        /// The driver's error.
        source: Arc<sqlx::Error>,
    },
    /// The connection broke while the statement was under way: it may have happened, whole, or not.
    #[error("the outcome is unknown: {source}")]
    Unknown {
        /// The driver's error.
        source: Arc<sqlx::Error>,
    },
    /// The request broke a limit. Nothing was done.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl PostgresError {
    /// A failure to get a connection.
    pub(crate) fn connect(error: sqlx::Error) -> Self {
        let source = Arc::new(error);
        Self::Connect { source }
    }

    /// The failure of a statement that was sent.
    pub(crate) fn statement(error: sqlx::Error) -> Self {
        let certain = match &error {
            // An ERROR has rolled back. A FATAL one ends the session, at whatever point that was.
            sqlx::Error::Database(database) => database
                .try_downcast_ref::<PgDatabaseError>()
                .is_some_and(|error| error.severity() == sqlx::postgres::PgSeverity::Error),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed => false,
            _ => true,
        };
        let source = Arc::new(error);
        if certain {
            Self::Sql { source }
        } else {
            Self::Unknown { source }
        }
    }

    /// Whether the statement lost to another one, and was undone: it may be run again.
    pub(crate) fn lost_a_race(&self) -> bool {
        matches!(self.sqlstate().as_deref(), Some("40001" | "40P01"))
    }

    /// Whether the short form of a commit failed by something that the long one tells apart, or waits for.
    pub(crate) fn wants_another_look(&self) -> bool {
        matches!(
            self.sqlstate().as_deref(),
            Some(UNIQUE_VIOLATION | LOCK_NOT_AVAILABLE)
        )
    }

    /// The SQLSTATE, if the server gave one.
    pub fn sqlstate(&self) -> Option<String> {
        let (Self::Connect { source } | Self::Sql { source } | Self::Unknown { source }) = self else {
            return None;
        };
        Some(source.as_database_error()?.code()?.into_owned())
    }

    /// The `DETAIL` of an error that this crate's functions raised.
    pub(crate) fn detail(&self) -> Option<&str> {
        let Self::Sql { source } = self else {
            return None;
        };
        source
            .as_database_error()?
            .try_downcast_ref::<PgDatabaseError>()?
            .detail()
    }
}

/// The failure of a statement; this is what `?` makes of the driver's errors.
impl From<sqlx::Error> for PostgresError {
    fn from(error: sqlx::Error) -> Self {
        Self::statement(error)
    }
}

impl From<PostgresError> for RepositoryError {
    fn from(error: PostgresError) -> Self {
        match error {
            PostgresError::Invalid(invalid) => Self::Invalid(invalid),
            PostgresError::Unknown { .. } => Self::Unknown { source: error.into() },
            error => Self::store(error),
        }
    }
}

/// What this crate's functions raise.
pub(crate) const CONCURRENT_WRITE: &str = "PB001";
pub(crate) const DUPLICATE_MESSAGE: &str = "PB002";
pub(crate) const DUPLICATE_RECEIPT: &str = "PB003";
/// What PostgreSQL says when an id is taken, or the first event of a stream is there.
pub(crate) const UNIQUE_VIOLATION: &str = "23505";
/// What it says when somebody has a lock for too long.
const LOCK_NOT_AVAILABLE: &str = "55P03";
