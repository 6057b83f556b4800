//! The server of a run: a pool, the business table, Postbox's tables and those of the limits by hand.

use std::sync::Arc;

use postbox_postgres::sqlx::postgres::{PgPool, PgPoolOptions};
use postbox_postgres::sqlx::{self, AssertSqlSafe, Row};
use postbox_postgres::{Identifier, Names, PostgresOptions, PostgresRepository};
use postbox_tokio::TokioTimer;
use tokio::runtime::Runtime;

use super::block;
use crate::Failure;
use crate::load::TaskFailure;

/// Where the server is; `cargo xtask bench` starts one.
const URL: &str = "POSTBOX_TEST_POSTGRES_URL";
/// For as many clients as a suite has, and a backstop.
const CONNECTIONS: u32 = 40;
const TABLES: &str = "
DROP SCHEMA IF EXISTS bench_shop CASCADE;
DROP SCHEMA IF EXISTS bench_postbox CASCADE;
CREATE SCHEMA bench_shop;
CREATE TABLE bench_shop.orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL);
CREATE TABLE bench_shop.outbox (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, topic text NOT NULL, payload bytea NOT NULL,
  lease_until timestamptz NOT NULL DEFAULT '-infinity', attempts int NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);";
pub(super) const EMPTY: &str =
    "TRUNCATE bench_shop.orders, bench_shop.outbox, bench_postbox.outbox, bench_postbox.events";

/// A server with empty tables, and connections to it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) pool: PgPool,
    pub(crate) repository: PostgresRepository,
}

impl Server {
    /// Makes the tables anew.
    pub(crate) fn connect(runtime: &Runtime) -> Result<Self, Failure> {
        let url = std::env::var(URL)
            .map_err(|_| format!("{URL} is not set; `cargo xtask bench` starts a server"))?;
        block(runtime, async {
            let options = PgPoolOptions::new().max_connections(CONNECTIONS);
            let pool = options.test_before_acquire(false).connect(&url).await?;
            sqlx::raw_sql(TABLES).execute(&pool).await?;
            Self::over(pool).await
        })
    }

    /// The same tables by new connections, so many and no more.
    pub(crate) fn with_connections(&self, runtime: &Runtime, count: u32) -> Result<Self, Failure> {
        let to = (*self.pool.connect_options()).clone();
        block(runtime, async {
            let options = PgPoolOptions::new().max_connections(count).min_connections(count);
            let pool = options.test_before_acquire(false).connect_with(to).await?;
            Self::over(pool).await
        })
    }

    async fn over(pool: PgPool) -> Result<Self, TaskFailure> {
        let options = PostgresOptions::new()
            .with_names(Names::new(Identifier::new("bench_postbox")?))
            .with_timer(Arc::new(TokioTimer));
        let repository = options.open(pool.clone()).await?;
        Ok(Self { pool, repository })
    }

    /// Empties the tables, and writes out what the server has put off, so that it does not do that meanwhile.
    pub(crate) fn empty(&self, runtime: &Runtime) -> Result<(), Failure> {
        self.run(runtime, EMPTY)?;
        self.run(runtime, "CHECKPOINT")
    }

    /// Runs statements.
    pub(crate) fn run(&self, runtime: &Runtime, sql: &str) -> Result<(), Failure> {
        block(runtime, async {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await?;
            Ok(())
        })
    }

    /// How many bytes the write-ahead log has had.
    pub(crate) fn logged(&self, runtime: &Runtime) -> Result<i64, Failure> {
        let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint";
        block(runtime, async {
            let row = sqlx::raw_sql(sql).fetch_one(&self.pool).await?;
            Ok(row.try_get(0)?)
        })
    }
}
