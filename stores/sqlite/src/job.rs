//! One piece of work and the one who waits for it: what a group is made of.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_channel::oneshot;
use postbox::store::OutboxOptions;
use postbox::time::Instant;
use rusqlite::{CachedStatement, Connection};

use crate::error::{Fault, SqliteError, is_fatal};
use crate::options::SqliteOptions;

/// What the pieces of work of a transaction see: the connection inside of it, the settings, and the store's clock.
pub(crate) struct Scope<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) options: &'a SqliteOptions,
    /// Whether to ring the bell after the commit.
    pub(crate) ring: Cell<bool>,
    pub(crate) insert: Kept<'a>,
    pub(crate) append: Kept<'a>,
}

/// A statement that a whole group uses: to find one and to clear its parameters costs a third of what binding them does.
pub(crate) type Kept<'a> = Cell<Option<CachedStatement<'a>>>;

impl<'a> Scope<'a> {
    pub(crate) const fn new(connection: &'a Connection, options: &'a SqliteOptions) -> Self {
        Self {
            connection,
            options,
            ring: Cell::new(false),
            insert: Cell::new(None),
            append: Cell::new(None),
        }
    }

    /// Does something with a statement that is kept.
    pub(crate) fn with<T>(
        &self,
        kept: &Kept<'a>,
        sql: &str,
        work: impl FnOnce(&mut CachedStatement<'a>) -> T,
    ) -> rusqlite::Result<T> {
        let mut statement = match kept.take() {
            Some(statement) => statement,
            None => self.connection.prepare_cached(sql)?,
        };
        let done = work(&mut statement);
        kept.set(Some(statement));
        Ok(done)
    }

    /// The present, by the store's clock.
    pub(crate) fn now(&self) -> Instant {
        self.options.clock.now()
    }

    pub(crate) const fn outbox(&self) -> &OutboxOptions {
        &self.options.outbox
    }

    /// Once this is committed, tells the backstops that there is something to claim.
    pub(crate) fn ring(&self) {
        self.ring.set(true);
    }
}

/// Work and the one who waits for it.
pub(crate) trait Job: Send {
    /// Whether it has to be on the disk before it is answered.
    fn lasts(&self) -> bool;
    /// Does the work and keeps the result; again when the transaction is done over.
    fn run(&mut self, scope: &Scope<'_>) -> Ran;
    /// Replaces the result: the transaction failed as a whole.
    fn fail(&mut self, error: SqliteError);
    /// Tells whoever still waits.
    fn answer(self: Box<Self>);
}

/// What is to become of a job's part of the transaction.
pub(crate) enum Ran {
    /// It did what it was to do, or was refused before it changed anything.
    Keep,
    RollBack,
    /// The whole transaction is lost.
    Broken(SqliteError),
}

/// A closure and the channel for its result.
pub(crate) struct Task<F, T, E> {
    /// `None` once it panicked: that is not tried again.
    work: Option<F>,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<(Result<T, E>, Option<F>)>,
    lasts: bool,
}

/// Where the result comes, and with it the work: whoever made what it holds is the one to free it, as everybody else waits
/// for the writer.
pub(crate) type Answer<F, T, E> = oneshot::Receiver<(Result<T, E>, Option<F>)>;

impl<F, T, E> Task<F, T, E>
where
    F: FnMut(&Scope<'_>) -> Result<T, Fault<E>> + Send + 'static,
    T: Send + 'static,
    E: From<SqliteError> + Send + 'static,
{
    pub(crate) fn boxed(work: F) -> (Box<dyn Job>, Answer<F, T, E>) {
        Self::lasting(true, work)
    }

    /// Work that a power cut may undo after it was answered, unless it `lasts`.
    pub(crate) fn lasting(lasts: bool, work: F) -> (Box<dyn Job>, Answer<F, T, E>) {
        let (reply, answer) = oneshot::channel();
        let task = Self {
            work: Some(work),
            result: None,
            reply,
            lasts,
        };
        (Box::new(task), answer)
    }
}

impl<F, T, E> Job for Task<F, T, E>
where
    F: FnMut(&Scope<'_>) -> Result<T, Fault<E>> + Send,
    T: Send,
    E: From<SqliteError> + Send,
{
    fn lasts(&self) -> bool {
        self.lasts
    }

    fn run(&mut self, scope: &Scope<'_>) -> Ran {
        let Some(work) = &mut self.work else {
            return Ran::Keep;
        };
        let before = scope.connection.total_changes();
        let error = match catch_unwind(AssertUnwindSafe(|| work(scope))) {
            Ok(Ok(value)) => {
                self.result = Some(Ok(value));
                return Ran::Keep;
            }
            Ok(Err(Fault::Sqlite(error))) if is_fatal(&error) || scope.connection.is_autocommit() => {
                return Ran::Broken(SqliteError::transaction(error));
            }
            Ok(Err(Fault::Refused(error))) if scope.connection.total_changes() == before => {
                self.result = Some(Err(error));
                return Ran::Keep;
            }
            Ok(Err(fault)) => fault.into_error(),
            Err(_) => {
                self.work = None;
                SqliteError::Panicked.into()
            }
        };
        self.result = Some(Err(error));
        Ran::RollBack
    }

    fn fail(&mut self, error: SqliteError) {
        self.result = Some(Err(error.into()));
    }

    fn answer(self: Box<Self>) {
        if let Some(result) = self.result {
            // Nobody waits when the future was dropped: the work is done all the same.
            let _ = self.reply.send((result, self.work));
        }
    }
}
