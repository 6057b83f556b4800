//! Runs the jobs that wait in one transaction, so that they share one fsync, and fail alone: when one has to be undone,
//! the transaction is done over with a savepoint each. Savepoints copy every page that changes after them.
//!
//! A group of claims and renewals only does not wait for the disk. What a power cut takes is always the end of the log,
//! and whatever waits for the disk takes all that is before it in the log along. So all that can be lost are claims and
//! renewals after the last commit or settlement: the messages are free earlier than they would be, as after any crash.
//! Where this runs (a thread, or the caller's poll) is not decided here.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Connection;

use crate::error::{SqliteError, is_fatal};
use crate::job::{Job, Ran, Scope};
use crate::open::{self, patiently};
use crate::options::{SqliteOptions, Synchronous};

/// Owns the write connection.
pub(crate) struct Writer {
    options: SqliteOptions,
    /// `None` after a failure that the connection must not outlive.
    connection: Option<Connection>,
    /// Whether the connection's commits wait for the disk.
    waits: bool,
    /// So many groups to come are run with savepoints: where one job was undone, others may have to be.
    careful: u32,
}

/// Groups that are run with savepoints after one that had to be done over.
const CAREFUL: u32 = 8;

impl Writer {
    pub(crate) fn open(options: SqliteOptions) -> Result<Self, SqliteError> {
        let connection = Some(open::writer(&options)?);
        Ok(Self {
            waits: options.synchronous == Synchronous::Full,
            options,
            connection,
            careful: 0,
        })
    }

    /// Runs the jobs in one transaction and answers them all. Returns whether to ring the bell.
    pub(crate) fn run(&mut self, mut jobs: Vec<Box<dyn Job>>) -> bool {
        let (ring, failure) = match self.transact(&mut jobs) {
            Ok(ring) => (ring, None),
            Err(error) => (false, Some(error)),
        };
        for mut job in jobs {
            if let Some(error) = &failure {
                job.fail(error.clone());
            }
            // A waker is foreign code.
            let _ = catch_unwind(AssertUnwindSafe(|| job.answer()));
        }
        ring
    }

    /// Takes what the write-ahead log holds over into the file, as far as nobody reads it.
    pub(crate) fn checkpoint(&self) {
        if let Some(connection) = &self.connection {
            // It is only housekeeping: the next opening does it as well.
            let _ = connection.pragma_update(None, "wal_checkpoint", "passive");
        }
    }

    fn transact(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<bool, SqliteError> {
        let connection = if let Some(connection) = self.connection.take() {
            connection
        } else {
            // A database in memory is gone with its connection: it is never given up below.
            self.waits = self.options.synchronous == Synchronous::Full;
            open::writer(&self.options)?
        };
        let outcome = match self.choose_wait(&connection, jobs) {
            Ok(()) => transact(&connection, &self.options, &mut self.careful, jobs),
            Err(error) => Err(Failed::Fatal(SqliteError::transaction(error))),
        };
        let spoilt = match &outcome {
            Ok(_) | Err(Failed::Passing(_)) => !connection.is_autocommit(),
            Err(Failed::Fatal(_)) => true,
        };
        // A failed fsync must not be tried again on this connection: what it believes to be on the disk may
        // not be. SQLite reads the truth from the file when it is opened anew.
        if !spoilt || self.options.path.is_none() {
            self.connection = Some(connection);
        }
        outcome.map_err(|(Failed::Passing(error) | Failed::Fatal(error))| error)
    }

    /// Waits for the disk if one of the jobs has to last.
    fn choose_wait(&mut self, connection: &Connection, jobs: &[Box<dyn Job>]) -> rusqlite::Result<()> {
        if self.options.synchronous == Synchronous::Normal || self.options.path.is_none() {
            return Ok(());
        }
        let wait = jobs.iter().any(|job| job.lasts());
        if wait != self.waits {
            open::wait_for_disk(connection, wait)?;
            self.waits = wait;
        }
        Ok(())
    }
}

/// Why a transaction failed, and whether the connection may go on.
enum Failed {
    Passing(SqliteError),
    Fatal(SqliteError),
}

fn transact(
    connection: &Connection,
    options: &SqliteOptions,
    careful: &mut u32,
    jobs: &mut [Box<dyn Job>],
) -> Result<bool, Failed> {
    begin(connection, options)?;
    let broken = |error| {
        roll_back(connection);
        Failed::Fatal(error)
    };
    let mut rang = None;
    if *careful == 0 {
        rang = run_all(connection, options, jobs).map_err(broken)?;
        if rang.is_none() {
            roll_back(connection);
            begin(connection, options)?;
            *careful = CAREFUL;
        }
    }
    let rang = if let Some(rang) = rang {
        rang
    } else {
        *careful = careful.saturating_sub(1);
        run_apart(connection, options, jobs).map_err(broken)?
    };
    if let Err(error) = patiently(options.busy_timeout, || execute(connection, "COMMIT")) {
        roll_back(connection);
        return Err(Failed::Fatal(SqliteError::commit(error)));
    }
    Ok(rang)
}

fn begin(connection: &Connection, options: &SqliteOptions) -> Result<(), Failed> {
    patiently(options.busy_timeout, || execute(connection, "BEGIN IMMEDIATE")).map_err(|error| {
        let fatal = is_fatal(&error);
        let error = SqliteError::transaction(error);
        if fatal {
            Failed::Fatal(error)
        } else {
            Failed::Passing(error)
        }
    })
}

/// Whether to ring; `None` when a job has to be undone, and all others with it.
fn run_all(
    connection: &Connection,
    options: &SqliteOptions,
    jobs: &mut [Box<dyn Job>],
) -> Result<Option<bool>, SqliteError> {
    let is_alone = jobs.len() == 1;
    let scope = Scope::new(connection, options);
    let mut rang = false;
    for job in jobs {
        scope.ring.set(false);
        match job.run(&scope) {
            Ran::Keep => rang |= scope.ring.get(),
            // What comes is an empty commit.
            Ran::RollBack if is_alone => {
                execute(connection, "ROLLBACK")?;
                execute(connection, "BEGIN")?;
            }
            Ran::RollBack => return Ok(None),
            Ran::Broken(error) => return Err(error),
        }
    }
    Ok(Some(rang))
}

/// The same, a savepoint each. Whether to ring.
fn run_apart(
    connection: &Connection,
    options: &SqliteOptions,
    jobs: &mut [Box<dyn Job>],
) -> Result<bool, SqliteError> {
    let scope = Scope::new(connection, options);
    let mut rang = false;
    for job in jobs {
        execute(connection, "SAVEPOINT job")?;
        scope.ring.set(false);
        match job.run(&scope) {
            Ran::Keep => rang |= scope.ring.get(),
            Ran::RollBack => execute(connection, "ROLLBACK TO job")?,
            Ran::Broken(error) => return Err(error),
        }
        execute(connection, "RELEASE job")?;
    }
    Ok(rang)
}

fn roll_back(connection: &Connection) {
    if !connection.is_autocommit() {
        // What cannot be rolled back is undone when the connection closes.
        let _ = execute(connection, "ROLLBACK");
    }
}

fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Fault;
    use crate::job::Task;

    fn insert(rows: u32) -> impl FnMut(&Scope<'_>) -> Result<usize, Fault<SqliteError>> {
        move |scope| {
            let sql = format!(
                "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows})
                 INSERT INTO postbox_outbox (id, name, payload) SELECT '{rows}-' || n, 'n', zeroblob(4000) FROM c"
            );
            Ok(scope.connection.execute(&sql, [])?)
        }
    }

    #[test]
    fn a_full_disk_fails_the_whole_group_and_the_next_one_gets_a_new_connection() {
        let path = std::env::temp_dir().join(format!("postbox-sqlite-full-{}.db", std::process::id()));
        let mut writer = Writer::open(SqliteOptions::file(&path)).unwrap();
        let connection = writer.connection.as_ref().unwrap();
        // The limit belongs to this connection, as a full disk belongs to this moment.
        connection.pragma_update(None, "max_page_count", 60).unwrap();
        let ((small, mut first), (large, mut second)) = (Task::boxed(insert(1)), Task::boxed(insert(1_000)));
        writer.run(vec![small, large]);
        for answer in [&mut first, &mut second] {
            let (answer, _) = answer.try_recv().unwrap().unwrap();
            assert!(matches!(answer, Err(SqliteError::Full { .. })), "{answer:?}");
        }
        assert!(writer.connection.is_none());
        let (again, mut answer) = Task::boxed(insert(1_000));
        writer.run(vec![again]);
        assert_eq!(answer.try_recv().unwrap().unwrap().0.unwrap(), 1_000);
        drop(writer);
        let _ = std::fs::remove_file(path);
    }

    #[test]
    fn a_group_waits_for_the_disk_if_one_of_its_jobs_has_to_last_and_the_store_is_to_wait_at_all() {
        let path = std::env::temp_dir().join(format!("postbox-sqlite-lasts-{}.db", std::process::id()));
        for (synchronous, [lightly, fully]) in [(Synchronous::Full, [1, 2]), (Synchronous::Normal, [1, 1])] {
            let options = SqliteOptions::file(&path).with_synchronous(synchronous);
            let mut writer = Writer::open(options).unwrap();
            for (group, level) in [
                (&[true][..], fully),
                (&[false], lightly),
                (&[false, false], lightly),
                (&[false, true], fully),
            ] {
                let mut answers = Vec::new();
                let mut job = |lasts: &bool| {
                    let pragma = |scope: &Scope<'_>| {
                        let level = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
                        Ok(scope.connection.query_row("PRAGMA synchronous", [], level)?)
                    };
                    let (job, answer) = Task::lasting(*lasts, pragma);
                    answers.push(answer);
                    job
                };
                writer.run(group.iter().map(&mut job).collect());
                for mut answer in answers {
                    let (found, _): (Result<i64, SqliteError>, _) = answer.try_recv().unwrap().unwrap();
                    assert_eq!(found.unwrap(), level, "{group:?}");
                }
            }
        }
        let _ = std::fs::remove_file(path);
    }

    #[test]
    fn only_a_commit_that_failed_on_the_disk_has_an_unknown_outcome() {
        use postbox::aggregate::RepositoryError;
        use rusqlite::ffi;

        let commit = |code| {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            assert_eq!(is_fatal(&error), code != ffi::SQLITE_BUSY);
            RepositoryError::from(SqliteError::commit(error))
        };
        let unknown = commit(ffi::SQLITE_IOERR_FSYNC);
        assert!(matches!(unknown, RepositoryError::Unknown { .. }), "{unknown}");
        for code in [ffi::SQLITE_BUSY, ffi::SQLITE_FULL] {
            let certain = commit(code);
            assert!(matches!(certain, RepositoryError::Store { .. }), "{certain}");
        }
    }
}
