//! The database as the rest of this crate uses it: a pool, the functions by name, and patience with lost races.

use std::time::Duration;

use postbox::sync::Bell;
use postbox::time::Instant;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::{Postgres, Row};

use crate::call::{Arg, Function};
use crate::commit::Commits;
use crate::error::PostgresError;
use crate::gather::Gathering;
use crate::options::PostgresOptions;
use crate::schema;
use crate::wakeup::Notices;

/// How often a statement that lost to another one is run.
const TRIES: u32 = 4;
/// The longest time that is ever added to the clock: 200 years, which PostgreSQL's calendar has room for.
const LONGEST: u64 = 200 * 365 * 24 * 3600 * 1_000_000;

/// What all handles share.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) pool: PgPool,
    pub(crate) options: PostgresOptions,
    pub(crate) functions: Functions,
    pub(crate) bell: Bell,
    pub(crate) commits: Commits,
    pub(crate) gathering: Gathering,
    pub(crate) notices: Notices,
}

/// The functions of the schema.
#[derive(Clone, Debug)]
pub(crate) struct Functions {
    pub(crate) claim: Function,
    pub(crate) renew: Function,
    pub(crate) settle: Function,
    pub(crate) requeue: Function,
    pub(crate) purge: Function,
    pub(crate) enqueue: Function,
    pub(crate) enqueue_one: Function,
    pub(crate) commit: Function,
    pub(crate) commit_all: Function,
    pub(crate) commit_one: Function,
}

impl Database {
    pub(crate) async fn open(pool: PgPool, options: PostgresOptions) -> Result<Self, PostgresError> {
        let mut connection = pool.acquire().await.map_err(PostgresError::connect)?;
        if options.migrate {
            // It may hold a transaction when this future is dropped: it is not handed on.
            connection.close_on_drop();
            schema::migrate(&mut connection, &options.names).await?;
            let blocks = options.outbox.dead_policy() == postbox::store::DeadPolicy::Block;
            Function::new(&options.names.qualified("set_dead_policy"), 1)
                .call(&mut connection, &[Arg::Bool(blocks)], false)
                .await?;
        } else {
            schema::check(&mut connection, &options.names).await?;
        }
        let rows = sqlx::raw_sql("SHOW default_transaction_isolation")
            .fetch_all(&mut *connection)
            .await?;
        let found: String = rows.first().map_or(Ok(String::new()), |row| row.try_get(0))?;
        if found != "read committed" {
            return Err(PostgresError::Isolation { found });
        }
        drop(connection);
        Ok(Self {
            functions: Functions::new(&options),
            notices: Notices::new(&options, &pool),
            commits: Commits::new(),
            gathering: Gathering::new(options.linger),
            bell: Bell::new(),
            pool,
            options,
        })
    }

    /// Runs one autocommit statement. One that lost a race was undone, and is run again a few times.
    pub(crate) async fn run(
        &self,
        function: &Function,
        args: &[Arg<'_>],
    ) -> Result<Vec<PgRow>, PostgresError> {
        self.run_on(&mut None, function, args).await
    }

    /// The same, on a connection that is already there, or on one of the pool, which is then left there. After a
    /// failure it is gone.
    pub(crate) async fn run_on(
        &self,
        kept: &mut Option<PoolConnection<Postgres>>,
        function: &Function,
        args: &[Arg<'_>],
    ) -> Result<Vec<PgRow>, PostgresError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => self.pool.acquire().await.map_err(PostgresError::connect)?,
            };
            match function.call(&mut connection, args, self.options.prepared).await {
                Ok(rows) => {
                    *kept = Some(connection);
                    return Ok(rows);
                }
                Err(error) => {
                    let error = PostgresError::statement(error);
                    if tries == TRIES || !error.lost_a_race() {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// The same, for a function that returns one number.
    pub(crate) async fn count(&self, function: &Function, args: &[Arg<'_>]) -> Result<usize, PostgresError> {
        let rows = self.run(function, args).await?;
        let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// The time to go by: `None` is the database's own.
    pub(crate) fn at(&self) -> Arg<'static> {
        let now = self.options.clock.as_ref().map(|clock| clock.now());
        Arg::MaybeInt(now.map(|now| micros_since(now, Instant::ZERO)))
    }

    /// Whether published messages are kept.
    pub(crate) fn keeps(&self) -> Arg<'static> {
        Arg::Bool(self.options.outbox.retention().is_some())
    }
}

impl Functions {
    fn new(options: &PostgresOptions) -> Self {
        let function = |name, arguments| Function::new(&options.names.qualified(name), arguments);
        let value = |name, arguments| Function::value(&options.names.qualified(name), arguments);
        Self {
            claim: function("claim", 7),
            renew: function("renew", 5),
            settle: function("settle", 9),
            requeue: function("requeue", 2),
            purge: function("purge", 3),
            enqueue: value("enqueue_all", 13),
            enqueue_one: value("enqueue_one", 11),
            commit: value("commit", 37),
            commit_all: value("commit_all", 38),
            commit_one: value("commit_one", 20),
        }
    }
}

/// A duration as the functions take it.
pub(crate) fn micros(duration: Duration) -> i64 {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    i64::try_from(micros.min(LONGEST)).unwrap_or(i64::MAX)
}

fn micros_since(instant: Instant, epoch: Instant) -> i64 {
    i64::try_from(instant.since(epoch).as_micros()).unwrap_or(i64::MAX)
}
