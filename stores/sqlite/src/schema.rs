//! The tables: embedded migrations, the version they brought the file to, and the policy kept in it.

use postbox::store::DeadPolicy;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::error::SqliteError;
use crate::open::check_version;

/// One step of the schema, as plain SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its number, from 1 without gaps.
    pub version: u32,
    /// What it is about.
    pub name: &'static str,
    /// The statements.
    pub sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "outbox",
        sql: include_str!("../migrations/0001_outbox.sql"),
    },
    Migration {
        version: 2,
        name: "streams",
        sql: include_str!("../migrations/0002_streams.sql"),
    },
];

const VERSION_TABLE: &str = "CREATE TABLE IF NOT EXISTS postbox_schema (
  version    INTEGER PRIMARY KEY,
  name       TEXT    NOT NULL,
  applied_at TEXT    NOT NULL DEFAULT CURRENT_TIMESTAMP
) STRICT";

/// Every step of the schema, oldest first: to print, to review, or to run by hand.
///
/// ```
/// for step in postbox_sqlite::migrations() {
///     println!("-- {} {}\n{}", step.version, step.name, step.sql);
/// }
/// ```
pub const fn migrations() -> &'static [Migration] {
    MIGRATIONS
}

/// Makes or updates the tables on a connection of your own, in one transaction. [`SqliteRepository`] does this
/// when it opens; call it where only [`enqueue`](crate::enqueue) is used.
///
/// The connection's settings are left alone. Use a file in WAL mode (`PRAGMA journal_mode = wal`) with
/// `PRAGMA synchronous = full` and a busy timeout.
///
/// ```
/// let mut connection = rusqlite::Connection::open_in_memory()?;
/// postbox_sqlite::migrate(&mut connection)?;
/// postbox_sqlite::migrate(&mut connection)?; // nothing left to do
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`SqliteError::SqliteTooOld`], [`SqliteError::SchemaTooNew`] with nothing touched, or SQLite's failure with
/// nothing applied.
///
/// [`SqliteRepository`]: crate::SqliteRepository
pub fn migrate(connection: &mut Connection) -> Result<(), SqliteError> {
    check_version()?;
    // Most openings find nothing to do: those need no write lock.
    if missing(version(connection)?)?.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(VERSION_TABLE)?;
    // Another process may have been faster.
    for step in missing(version(&transaction)?)? {
        transaction.execute_batch(step.sql)?;
        transaction.execute(
            "INSERT INTO postbox_schema (version, name) VALUES (?1, ?2)",
            params![step.version, step.name],
        )?;
    }
    transaction.commit()?;
    Ok(())
}

/// Brings the file's dead-letter policy to this one. The triggers see to the messages of dead ones' keys.
pub(crate) fn keep_policy(connection: &mut Connection, policy: DeadPolicy) -> Result<(), SqliteError> {
    let wanted = i64::from(policy == DeadPolicy::Block);
    let kept = |connection: &Connection| {
        connection.query_row("SELECT dead_blocks FROM postbox_settings", [], |row| {
            row.get::<_, i64>(0)
        })
    };
    if kept(connection)? == wanted {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("UPDATE postbox_settings SET dead_blocks = ?1", [wanted])?;
    transaction.execute(
        "UPDATE postbox_outbox SET holds = ?1 WHERE state >= 2 AND state = 3 AND holds <> ?1",
        [wanted],
    )?;
    transaction.commit()?;
    Ok(())
}

/// The version of the file; 0 when Postbox was never here.
fn version(connection: &Connection) -> rusqlite::Result<u32> {
    let known: Option<i64> = connection
        .query_row(
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'postbox_schema'",
            [],
            |row| row.get(0),
        )
        .optional()?;
    if known.is_none() {
        return Ok(0);
    }
    connection.query_row(
        "SELECT coalesce(max(version), 0) FROM postbox_schema",
        [],
        |row| row.get(0),
    )
}

/// The steps that a file of this version lacks.
fn missing(found: u32) -> Result<&'static [Migration], SqliteError> {
    let supported = MIGRATIONS.last().map_or(0, |step| step.version);
    if found > supported {
        return Err(SqliteError::SchemaTooNew { found, supported });
    }
    let applied = usize::try_from(found).unwrap_or(usize::MAX);
    Ok(MIGRATIONS.get(applied..).unwrap_or_default())
}
