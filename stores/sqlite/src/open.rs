//! Opens connections: the version floor, the pragmas, and patience with a lock that another process holds.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::SqliteError;
use crate::options::{SqliteOptions, Synchronous};
use crate::schema;

/// 3.7.0 to 3.51.2 can lose committed writes when two connections write and checkpoint at once.
const MIN_VERSION_NUMBER: i32 = 3_051_003;
const MIN_VERSION: &str = "3.51.3";
/// The write-ahead log is cut back to this after a checkpoint that reached its end.
const JOURNAL_SIZE_LIMIT: i64 = 64 * 1024 * 1024;
/// More than there are statements in this crate.
const CACHED_STATEMENTS: usize = 64;
/// Pages that the writing connection may keep, once it has read them.
const CACHE_KIB: i64 = 16 * 1024;
/// Between two tries for a lock: short at first, since groups are short; at most 2 ms, so that a busy
/// neighbour's gaps are met.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(2);

/// Refuses a SQLite that loses writes.
pub(crate) fn check_version() -> Result<(), SqliteError> {
    if rusqlite::version_number() >= MIN_VERSION_NUMBER {
        return Ok(());
    }
    Err(SqliteError::SqliteTooOld {
        found: rusqlite::version(),
        needed: MIN_VERSION,
    })
}

/// A connection that writes, its tables up to date. From here on it never waits inside of SQLite, whose own
/// pauses are long: [`patiently`] does the waiting.
pub(crate) fn writer(options: &SqliteOptions) -> Result<Connection, SqliteError> {
    check_version()?;
    let mut connection = connect(options)?;
    connection.busy_timeout(options.busy_timeout)?;
    patiently(options.busy_timeout, || set_up(&connection, options))?;
    schema::migrate(&mut connection)?;
    schema::keep_policy(&mut connection, options.outbox.dead_policy())?;
    connection.busy_timeout(Duration::ZERO)?;
    Ok(connection)
}

/// A connection that only reads, beside the writer.
pub(crate) fn reader(options: &SqliteOptions) -> Result<Connection, SqliteError> {
    let connection = connect(options)?;
    connection.busy_timeout(options.busy_timeout)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Repeats what failed only because of somebody's lock, until `timeout`.
pub(crate) fn patiently<T>(
    timeout: Duration,
    mut work: impl FnMut() -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let mut result = work();
    if !is_busy(&result) {
        return result;
    }
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    while is_busy(&result) && start.elapsed() < timeout {
        sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
        result = work();
    }
    result
}

fn is_busy<T>(result: &rusqlite::Result<T>) -> bool {
    let code = result.as_ref().err().and_then(rusqlite::Error::sqlite_error_code);
    matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn connect(options: &SqliteOptions) -> Result<Connection, SqliteError> {
    // Each connection stays with one thread at a time, so SQLite's own mutexes are not needed.
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match &options.path {
        Some(path) => Connection::open_with_flags(path, flags)?,
        None => Connection::open_in_memory_with_flags(flags)?,
    };
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    // Else a claim is prepared anew for each time that it is bound to.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// Says whether commits from now on wait for the disk. Outside of transactions only.
pub(crate) fn wait_for_disk(connection: &Connection, wait: bool) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", if wait { "full" } else { "normal" })
}

fn set_up(connection: &Connection, options: &SqliteOptions) -> rusqlite::Result<()> {
    if options.path.is_some() {
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "journal_size_limit", JOURNAL_SIZE_LIMIT)?;
    }
    wait_for_disk(connection, options.synchronous == Synchronous::Full)?;
    // Ids and keys in no order make a batch touch many pages; two megabytes, the default, hold few of them.
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // What savepoints and triggers could need to undo stays in memory, instead of going to a file each time.
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // What this crate writes is right by its types; the checks are for other programs. A debug build runs them too. They
    // call functions, which may fail, so that SQLite copies every page that an insertion changes.
    connection.pragma_update(None, "ignore_check_constraints", !cfg!(debug_assertions))
}
