//! Where work runs: on the store's threads, or inside of the caller's poll. Nobody else knows which.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Builder;
use std::time::Instant;

use postbox::store::{MAX_BATCH, Settlement};
use postbox::sync::{Bell, Mutex};
use rusqlite::Connection;

use crate::error::{Fault, SqliteError};
use crate::group::Writer;
use crate::job::{Job, Ran, Scope, Task};
use crate::open;
use crate::options::{Execution, SqliteOptions};
use crate::settle::settle;

/// So many settlements may wait softly; the next ones wait for the disk. Keeps memory bounded.
const MAX_SOFT: usize = 8 * MAX_BATCH;

/// What all handles of a store share. The threads end when the last handle is gone.
pub(crate) struct Engine {
    pub(crate) options: SqliteOptions,
    pub(crate) bell: Bell,
    place: Place,
}

enum Place {
    Inline(Mutex<Writer>),
    Threads {
        writes: Sender<Order>,
        /// `None` for a database in memory, which has one connection only.
        reads: Option<Sender<Box<dyn Job>>>,
        /// Settlements that wait softly.
        soft: Arc<AtomicUsize>,
    },
}

/// What the writer's thread is sent.
enum Order {
    Now(Box<dyn Job>),
    /// May wait for company, with which it shares a statement.
    Soon(Vec<Settlement<i64>>),
}

impl Engine {
    pub(crate) fn start(options: SqliteOptions) -> Result<Self, SqliteError> {
        let bell = Bell::new();
        let writer = Writer::open(options.clone())?;
        let place = match options.execution {
            Execution::Inline => Place::Inline(Mutex::new(writer)),
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
        F: FnOnce(&Scope<'_>) -> Result<T, Fault<E>> + Send + 'static,
        T: Send + 'static,
        E: From<SqliteError> + Send + 'static,
    {
        let (job, answer) = Task::boxed(work);
        self.run(job)?;
        answer.await.unwrap_or_else(|_| Err(SqliteError::Closed.into()))
    }

    /// Queues settlements whose outcome nobody waits for.
    pub(crate) async fn settle_soon(&self, settlements: Vec<Settlement<i64>>) -> Result<(), SqliteError> {
        if let Place::Threads { writes, soft, .. } = &self.place {
            if soft.load(Ordering::Relaxed) < MAX_SOFT {
                soft.fetch_add(settlements.len(), Ordering::Relaxed);
                let order = Order::Soon(settlements);
                return writes.send(order).map_err(|_| SqliteError::Closed);
            }
        }
        self.write(move |scope| settle(scope, &settlements).map(|_| ()))
            .await
    }

    /// Runs work that only reads, in a snapshot that has every commit answered so far.
    pub(crate) async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Scope<'_>) -> Result<T, Fault<E>> + Send + 'static,
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
        answer.await.unwrap_or_else(|_| Err(SqliteError::Closed.into()))
    }

    fn run(&self, job: Box<dyn Job>) -> Result<(), SqliteError> {
        match &self.place {
            Place::Threads { writes, .. } => writes.send(Order::Now(job)).map_err(|_| SqliteError::Closed),
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

fn threads(writer: Writer, options: &SqliteOptions, bell: &Bell) -> Result<Place, SqliteError> {
    let (sender, orders) = channel();
    let soft = Arc::new(AtomicUsize::new(0));
    let queue = Queue {
        orders,
        options: options.clone(),
        soft: soft.clone(),
    };
    let bell = bell.clone();
    spawn("postbox-sqlite-write", move || queue.serve(writer, &bell))?;
    let reads = match &options.path {
        Some(_) => Some(reader(options)?),
        None => None,
    };
    Ok(Place::Threads {
        writes: sender,
        reads,
        soft,
    })
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

/// The end of the queue at which the writer's thread stands.
struct Queue {
    orders: Receiver<Order>,
    options: SqliteOptions,
    soft: Arc<AtomicUsize>,
}

impl Queue {
    /// Until every handle is gone and the queue is empty.
    fn serve(self, mut writer: Writer, bell: &Bell) {
        while let Some((group, soft)) = self.gather() {
            if writer.run(group) {
                bell.ring();
            }
            self.soft.fetch_sub(soft, Ordering::Relaxed);
        }
        writer.checkpoint();
    }

    /// Waits for the next group: the settlements that wait softly, and whoever waits, in the order of arrival.
    /// Soft settlements alone wait a little for company. Also tells how many they are.
    fn gather(&self) -> Option<(Vec<Box<dyn Job>>, usize)> {
        let (mut jobs, mut soft) = (Vec::new(), Vec::new());
        let mut push = |order| {
            match order {
                Order::Now(job) => jobs.push(job),
                Order::Soon(settlements) if soft.is_empty() => soft = settlements,
                Order::Soon(settlements) => soft.extend(settlements),
            }
            (jobs.len() + soft.len(), jobs.is_empty())
        };
        let (mut len, mut may_wait) = push(self.orders.recv().ok()?);
        let limit = self.options.max_group;
        let deadline = Instant::now() + self.options.linger;
        while may_wait && len < limit.min(MAX_BATCH) {
            let patience = deadline.saturating_duration_since(Instant::now());
            // Both a timeout and the end of all handles mean: now.
            let Ok(order) = self.orders.recv_timeout(patience) else {
                break;
            };
            (len, may_wait) = push(order);
        }
        while len < limit {
            let Ok(order) = self.orders.try_recv() else {
                break;
            };
            (len, _) = push(order);
        }
        let settlements = soft.len();
        if settlements > 0 {
            let (settle, _) = Task::boxed(move |scope: &Scope<'_>| settle(scope, &soft).map(|_| ()));
            jobs.insert(0, settle);
        }
        Some((jobs, settlements))
    }
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
