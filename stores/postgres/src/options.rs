//! How a store is opened: under which names, with which limits, and how it talks to the server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use postbox::id::Invalid;
use postbox::runtime::DynTimer;
use postbox::store::OutboxOptions;
use postbox::time::Clock;
use sqlx::postgres::{PgPool, PgPoolOptions};

use crate::error::PostgresError;
use crate::names::Names;
use crate::repository::PostgresRepository;

/// How long a soft settlement waits for company: far below a lease, and long against a round trip.
const LINGER: Duration = Duration::from_millis(20);
/// Connections of a pool that [`PostgresOptions::connect`] makes.
const CONNECTIONS: u32 = 10;

/// How to open a [`PostgresRepository`].
///
/// ```
/// use std::time::Duration;
/// use postbox::store::OutboxOptions;
/// use postbox_postgres::{Identifier, Names, PostgresOptions};
///
/// let options = PostgresOptions::new()
///     .with_names(Names::new(Identifier::new("shop")?))
///     .with_outbox(OutboxOptions::new().with_retention(Duration::from_secs(3600)))
///     .with_notify(true);
/// # Ok::<(), postbox::id::Invalid>(())
/// ```
#[derive(Clone)]
pub struct PostgresOptions {
    pub(crate) names: Names,
    pub(crate) outbox: OutboxOptions,
    pub(crate) migrate: bool,
    pub(crate) prepared: bool,
    pub(crate) notify: bool,
    pub(crate) linger: Duration,
    pub(crate) timer: Option<Arc<dyn DynTimer>>,
    pub(crate) clock: Option<Arc<dyn Clock + Send + Sync>>,
}

impl PostgresOptions {
    /// The defaults: schema `postbox`, migrated when opened, prepared statements, no notifications.
    pub fn new() -> Self {
        Self {
            names: Names::default(),
            outbox: OutboxOptions::new(),
            migrate: true,
            prepared: true,
            notify: false,
            linger: LINGER,
            timer: None,
            clock: None,
        }
    }

    /// Sets where the tables are.
    pub fn with_names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// Sets retention, dead-letter policy and the payload limit. The dead-letter policy is kept in the database:
    /// the latest opening that migrates decides for all.
    pub const fn with_outbox(mut self, outbox: OutboxOptions) -> Self {
        self.outbox = outbox;
        self
    }

    /// Says whether opening makes or updates the tables; by default it does. Without this, a role that may not
    /// create anything can open the store, and one that is not up to date is refused.
    pub const fn with_migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }

    /// Says whether statements are prepared; by default they are. Turn it off behind a pooler that gives each
    /// transaction another session and does not follow prepared statements: PgBouncer in transaction mode before
    /// 1.21, or with `max_prepared_statements = 0`.
    pub const fn with_prepared(mut self, prepared: bool) -> Self {
        self.prepared = prepared;
        self
    }

    /// Says whether to send and hear notifications between processes; by default not.
    ///
    /// A backstop then holds one connection of its own to `LISTEN` on, beside the pool. Notifications are sent
    /// after a commit, never in its transaction, and at most one per linger time. They are hints: without
    /// them, or when one is lost, a message waits for the next poll.
    pub const fn with_notify(mut self, notify: bool) -> Self {
        self.notify = notify;
        self
    }

    /// Sets how long a [`settle_soon`](postbox::store::OutboxStore::settle_soon) may wait for others to be written
    /// with; 20 ms by default.
    pub const fn with_linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Gives the store a timer to wait for the linger time with. Without one, settlements are written with
    /// whatever else waits at that moment.
    pub fn with_timer(mut self, timer: Arc<dyn DynTimer>) -> Self {
        self.timer = Some(timer);
        self
    }

    /// Replaces the database's clock, which everybody agrees on, by one that a test can move.
    #[doc(hidden)]
    pub fn with_clock(mut self, clock: Arc<dyn Clock + Send + Sync>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Opens the store over a pool of yours, which may be as small as one connection.
    ///
    /// Set `test_before_acquire(false)` on it: the test is a round trip before each statement.
    ///
    /// # Errors
    /// [`PostgresError`]: no connection, a schema that does not fit, or a pool whose transactions see old
    /// snapshots by default.
    pub async fn open(self, pool: PgPool) -> Result<PostgresRepository, PostgresError> {
        PostgresRepository::with_options(pool, self).await
    }

    /// Opens the store over a pool of its own, of up to ten connections.
    ///
    /// # Errors
    /// As [`open`](Self::open), and for a URL that is none.
    pub async fn connect(self, url: &str) -> Result<PostgresRepository, PostgresError> {
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .test_before_acquire(false)
            .connect(url)
            .await
            .map_err(PostgresError::connect)?;
        self.open(pool).await
    }
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("names", &self.names)
            .field("outbox", &self.outbox)
            .field("migrate", &self.migrate)
            .field("prepared", &self.prepared)
            .field("notify", &self.notify)
            .field("linger", &self.linger)
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
