//! Where work runs: on the store's threads, or inside of the caller's poll. Nobody else knows which.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Builder;

use postbox::store::SettlementBuf;
use postbox::sync::{Bell, Mutex};
use rusqlite::Connection;

use crate::error::{Fault, SqliteError};
use crate::group::Writer;
use crate::job::{Job, Ran, Scope, Task};
use crate::open;
use crate::options::{Execution, SqliteOptions};
use crate::queue::{Group, Orders, Refused, queue};
use crate::settle::settle_softly;

/// What all handles of a store share. The threads end when the last handle is gone.
pub(crate) struct Engine {
    pub(crate) options: SqliteOptions,
    pub(crate) bell: Bell,
    place: Place,
}

enum Place {
    Inline(Box<Mutex<Writer>>),
    Threads {
        orders: Orders<Box<dyn Job>, SettlementBuf<i64>>,
        /// `None` for a database in memory, which has one connection only.
        reads: Option<Sender<Box<dyn Job>>>,
    },
}

impl Engine {
    pub(crate) fn start(options: SqliteOptions) -> Result<Self, SqliteError> {
        let bell = Bell::new();
        let writer = Writer::open(options.clone())?;
        let place = match options.execution {
            Execution::Inline => Place::Inline(Box::new(Mutex::new(writer))),
            Execution::Thread => threads(writer, &options, &bell)?,
        };
        Ok(Self { options, bell, place })
    }

    /// Runs work that may write, in a transaction, and waits until it is durable.
    ///
    /// # Cancel safety
    /// Work that was polled once is done, whether the future lives on or not.
    pub(crate) async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnMut(&Scope<'_>) -> Result<T, Fault<E>> + Send + 'static,
        T: Send + 'static,
        E: From<SqliteError> + Send + 'static,
    {
        let (job, answer) = Task::boxed(work);
        self.run(job)?;
        answer
            .await
            .map_or_else(|_| Err(SqliteError::Closed.into()), |(result, _)| result)
    }

    /// As [`write`](Self::write), but a power cut may undo the work after it was answered.
    pub(crate) async fn write_lightly<T, F>(&self, work: F) -> Result<T, SqliteError>
    where
        F: FnMut(&Scope<'_>) -> Result<T, Fault<SqliteError>> + Send + 'static,
        T: Send + 'static,
    {
        let (job, answer) = Task::lasting(false, work);
        self.run(job)?;
        answer
            .await
            .map_or(Err(SqliteError::Closed), |(result, _)| result)
    }

    /// Queues settlements whose outcome nobody waits for.
    pub(crate) async fn settle_soon(&self, settlements: Vec<SettlementBuf<i64>>) -> Result<(), SqliteError> {
        let settlements = match &self.place {
            Place::Inline(_) => settlements,
            Place::Threads { orders, .. } => match orders.soon(settlements) {
                Ok(()) => return Ok(()),
                Err(Refused::Closed) => return Err(SqliteError::Closed),
                Err(Refused::Full(settlements)) => settlements,
            },
        };
        self.write(move |scope| settle_softly(scope, &settlements)).await
    }

    /// Runs work that only reads, in a snapshot that has every commit answered so far.
    pub(crate) async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnMut(&Scope<'_>) -> Result<T, Fault<E>> + Send + 'static,
        T: Send + 'static,
        E: From<SqliteError> + Send + 'static,
    {
        let Place::Threads {
            reads: Some(reads), ..
        } = &self.place
        else {
            return self.write(work).await;
        };
        let (job, answer) = Task::boxed(work);
        reads.send(job).map_err(|_| SqliteError::Closed)?;
        answer
            .await
            .map_or_else(|_| Err(SqliteError::Closed.into()), |(result, _)| result)
    }

    fn run(&self, job: Box<dyn Job>) -> Result<(), SqliteError> {
        match &self.place {
            Place::Threads { orders, .. } => {
                let is_queued = orders.now(job);
                if is_queued {
                    Ok(())
                } else {
                    Err(SqliteError::Closed)
                }
            }
            Place::Inline(writer) => {
                // The bell wakes foreign code, which may come back here: not under the lock.
                if writer.with(|writer| writer.run(vec![job])) {
                    self.bell.ring();
                }
                Ok(())
            }
        }
    }
}

fn threads(mut writer: Writer, options: &SqliteOptions, bell: &Bell) -> Result<Place, SqliteError> {
    let (orders, queue) = queue(options.max_group, options.linger);
    let bell = bell.clone();
    spawn("postbox-sqlite-write", move || {
        queue.serve(|Group { soft, mut jobs }| {
            if !soft.is_empty() {
                jobs.insert(0, settling(soft));
            }
            if writer.run(jobs) {
                bell.ring();
            }
        });
        writer.checkpoint();
    })?;
    let reads = match &options.path {
        Some(_) => Some(reader(options)?),
        None => None,
    };
    Ok(Place::Threads { orders, reads })
}

fn reader(options: &SqliteOptions) -> Result<Sender<Box<dyn Job>>, SqliteError> {
    let (sender, jobs) = channel();
    let (connection, options) = (open::reader(options)?, options.clone());
    spawn("postbox-sqlite-read", move || {
        serve_reads(connection, &jobs, &options);
    })?;
    Ok(sender)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), SqliteError> {
    let started = Builder::new().name(name.into()).spawn(work);
    started.map(drop).map_err(|error| SqliteError::Thread {
        source: Arc::new(error),
    })
}

/// Settlements that waited softly, as one piece of work.
fn settling(settlements: Vec<SettlementBuf<i64>>) -> Box<dyn Job> {
    let (job, _) = Task::boxed(move |scope: &Scope<'_>| settle_softly(scope, &settlements));
    job
}

/// Runs each read in a snapshot of its own.
fn serve_reads(connection: Connection, jobs: &Receiver<Box<dyn Job>>, options: &SqliteOptions) {
    let mut connection = Some(connection);
    for mut job in jobs {
        let outcome = match connection.take().map_or_else(|| open::reader(options), Ok) {
            Ok(opened) => read(&opened, job.as_mut(), options).map(|()| connection = Some(opened)),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            job.fail(error);
        }
        // A waker is foreign code.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job.answer()));
    }
}

fn read(connection: &Connection, job: &mut dyn Job, options: &SqliteOptions) -> Result<(), SqliteError> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    if let Ran::Broken(error) = job.run(&Scope::new(connection, options)) {
        return Err(error);
    }
    connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(())
}
