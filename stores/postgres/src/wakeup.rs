//! Hints: rung in this process, and heard from others where notifications are on. Never the guarantee: polling is.

use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postbox::id::WorkerId;
use postbox::join::{Either, race};
use postbox::runtime::BoxFuture;
use postbox::sync::{Mutex, Watch};
use postbox::wakeup::Wakeup;
use sqlx::postgres::{PgListener, PgPool, PgPoolOptions};

use crate::call::{Arg, Function};
use crate::database::Database;
use crate::gather;
use crate::options::PostgresOptions;

/// How long a connection is kept that no commit uses: this long, or twice.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a backstop waits for: commits and settlements of this process and, with
/// [`with_notify`](crate::PostgresOptions::with_notify), of others.
///
/// While it waits it also writes what [`settle_soon`](postbox::store::OutboxStore::settle_soon) has gathered,
/// since nothing here spawns anything. Made by [`wakeup`](postbox::store::OutboxStore::wakeup).
///
/// # Cancel safety
/// A wait that is dropped loses nothing: what it was writing is written by the next.
pub struct PostgresWakeup {
    database: Arc<Database>,
    hints: Watch,
    work: Watch,
    listening: Listening,
}

/// The one connection that hears notifications. It never holds a transaction.
enum Listening {
    Not,
    Connecting(BoxFuture<'static, Result<PgListener, sqlx::Error>>),
    On(Box<PgListener>),
}

impl PostgresWakeup {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self {
            hints: database.bell.watch(),
            work: database.gathering.watch(),
            listening: Listening::Not,
            database,
        }
    }
}

impl Wakeup for PostgresWakeup {
    async fn wait(&mut self) {
        let database = &self.database;
        let _waiting = database.gathering.wait();
        let chores = race(chores(database, &mut self.work), tend(database));
        let listen = listen(database, &mut self.listening);
        match race(self.hints.wait(), race(chores, listen)).await {
            Either::A(()) | Either::B(Either::B(())) => {}
            Either::B(Either::A(Either::A(never) | Either::B(never))) => match never {},
        }
    }
}

impl fmt::Debug for PostgresWakeup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listening = matches!(self.listening, Listening::On(_));
        f.debug_struct("PostgresWakeup")
            .field("listening", &listening)
            .finish_non_exhaustive()
    }
}

/// Sees to the connection that commits hand on.
async fn tend(database: &Database) -> Infallible {
    match &database.options.timer {
        Some(timer) if timer.runs_dyn() => {
            let pause = || timer.sleep_until_dyn(timer.now() + LOOK_AGAIN);
            database.commits.tend(pause).await
        }
        _ => pending().await,
    }
}

/// Writes what is gathered, and sends the notification that was put off; again and again.
async fn chores(database: &Database, work: &mut Watch) -> Infallible {
    loop {
        if database.gathering.is_empty() && !database.notices.put_off.load(Ordering::Acquire) {
            work.wait().await;
        }
        if let Some(timer) = database.options.timer.as_ref().filter(|timer| timer.runs_dyn()) {
            timer.sleep_until_dyn(timer.now() + database.options.linger).await;
        }
        // A database that is away will be asked again by the next claim.
        let flushed = gather::flush(database).await;
        if database.notices.put_off.swap(false, Ordering::AcqRel) {
            database.notices.send(database).await;
        }
        if flushed.is_err() {
            pending::<()>().await;
        }
    }
}

/// Resolves at a notification of another process, and whenever some may have been missed.
async fn listen(database: &Database, listening: &mut Listening) {
    loop {
        match listening {
            Listening::Not => match database.notices.listener() {
                Some(connecting) => *listening = Listening::Connecting(connecting),
                None => pending().await,
            },
            Listening::Connecting(connecting) => {
                if let Ok(listener) = connecting.await {
                    *listening = Listening::On(Box::new(listener));
                    return;
                }
                *listening = Listening::Not;
                // Not at once again: at the next poll.
                pending::<()>().await;
            }
            Listening::On(listener) => match listener.try_recv().await {
                Ok(Some(notification)) if notification.payload() == database.notices.own => {}
                // `None`: the connection was lost and made anew.
                Ok(_) => return,
                Err(_) => {
                    *listening = Listening::Not;
                    pending::<()>().await;
                }
            },
        }
    }
}

/// Notifications: sent after commits, each for all that came before it.
#[derive(Debug)]
pub(crate) struct Notices {
    /// Where connections to listen on come from; `None` when notifications are off.
    pool: Option<PgPool>,
    channel: String,
    /// What this process says, so that it does not hear itself.
    own: String,
    function: Function,
    linger: Duration,
    sent: Mutex<Option<Instant>>,
    put_off: AtomicBool,
}

impl Notices {
    pub(crate) fn new(options: &PostgresOptions, pool: &PgPool) -> Self {
        let lazily = || {
            let options = pool.connect_options();
            let pool = PgPoolOptions::new().max_connections(1);
            pool.connect_lazy_with((*options).clone())
        };
        Self {
            pool: options.notify.then(lazily),
            channel: channel(&options.names),
            own: WorkerId::random().to_string(),
            function: Function::new("pg_notify", 2),
            linger: options.linger,
            sent: Mutex::new(None),
            put_off: AtomicBool::new(false),
        }
    }

    /// Something became free: tells the other processes, now or a little later.
    pub(crate) async fn tell(&self, database: &Database) {
        if self.pool.is_none() {
            return;
        }
        let now = self.sent.with(|sent| {
            let now = sent.is_none_or(|sent| sent.elapsed() >= self.linger);
            if now {
                *sent = Some(Instant::now());
            }
            now
        });
        if now {
            self.send(database).await;
        } else {
            self.put_off.store(true, Ordering::Release);
            database.gathering.nudge();
        }
    }

    async fn send(&self, database: &Database) {
        let args = [Arg::Text(&self.channel), Arg::Text(&self.own)];
        // A hint that is lost costs a poll interval, not more.
        let _ = database.run(&self.function, &args).await;
    }

    fn listener(&self) -> Option<BoxFuture<'static, Result<PgListener, sqlx::Error>>> {
        let (pool, channel) = (self.pool.clone()?, self.channel.clone());
        Some(Box::pin(async move {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(&channel).await?;
            Ok(listener)
        }))
    }
}

/// The channel of an outbox: short enough for PostgreSQL whatever the names are.
pub(crate) fn channel(names: &crate::Names) -> String {
    format!("postbox_{}", WorkerId::named(&names.qualified("outbox")))
}
