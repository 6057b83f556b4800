//! Where the todos are: a file, or a schema of a PostgreSQL server. Opens it, and reads what was committed.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use postbox_postgres::sqlx::postgres::PgPoolOptions;
use postbox_postgres::sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row};
use postbox_postgres::{Identifier, Names, PostgresOptions, sqlx};
use postbox_sqlite::SqliteRepository;
use postbox_sqlite::rusqlite::{Connection, OpenFlags};

use crate::check::Event;
use crate::executor::TIMER;
use crate::process::CLIENTS;
use crate::store::Store;

#[derive(Clone, Debug)]
pub(crate) enum Database {
    File(PathBuf),
    Server { url: String, schema: Identifier },
}

impl Database {
    /// The store, its tables made when they are missing.
    pub(crate) async fn open(&self) -> Result<Store, Box<dyn Error>> {
        Ok(match self {
            Self::File(path) => Store::Sqlite(SqliteRepository::open(path)?),
            Self::Server { url, schema } => {
                let connections = u32::try_from(CLIENTS)? + 2;
                let pool = PgPoolOptions::new()
                    .max_connections(connections)
                    .test_before_acquire(false)
                    .connect(&resolved(url)?)
                    .await?;
                let options = PostgresOptions::new()
                    .with_names(Names::new(schema.clone()))
                    .with_timer(Arc::new(TIMER));
                Store::Postgres(options.open(pool).await?)
            }
        })
    }

    /// Every event that was committed, straight from the database: no code of Postbox's is asked.
    pub(crate) async fn committed(&self) -> Result<Vec<Event>, Box<dyn Error>> {
        let number = |value: i64| u64::try_from(value).unwrap_or_default();
        match self {
            Self::File(path) => {
                let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
                let mut statement = connection.prepare(
                    "SELECT stream_id, sequence, recorded_at FROM postbox_events WHERE stream_type = 'todo'",
                )?;
                let events = statement.query_map([], |row| {
                    Ok(Event {
                        todo: row.get(0)?,
                        sequence: number(row.get(1)?),
                        at: number(row.get(2)?),
                    })
                })?;
                Ok(events.collect::<Result<_, _>>()?)
            }
            Self::Server { url, schema } => {
                let sql = format!(
                    "SELECT stream_id, sequence, (extract(epoch FROM recorded_at) * 1000000)::bigint
                     FROM {schema}.events WHERE stream_type = 'todo'"
                );
                let mut connection = PgConnection::connect(&resolved(url)?).await?;
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await?;
                let event = |row: &sqlx::postgres::PgRow| {
                    Ok(Event {
                        todo: row.try_get(0)?,
                        sequence: number(row.try_get(1)?),
                        at: number(row.try_get(2)?),
                    })
                };
                rows.iter().map(event).collect()
            }
        }
    }

    /// Removes what this program made on a server.
    pub(crate) async fn remove(&self) -> Result<(), Box<dyn Error>> {
        if let Self::Server { url, schema } = self {
            let sql = AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {schema} CASCADE"));
            let mut connection = PgConnection::connect(&resolved(url)?).await?;
            sqlx::raw_sql(sql).execute(&mut connection).await?;
        }
        Ok(())
    }
}

/// `env:NAME` is the value of a variable: what stands on a command line can be read by everybody.
fn resolved(url: &str) -> Result<String, Box<dyn Error>> {
    match url.strip_prefix("env:") {
        None => Ok(url.to_owned()),
        Some(name) => std::env::var(name).map_err(|error| format!("{name}: {error}").into()),
    }
}

/// Without the URL, which may have a password in it.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server { schema, .. } => write!(f, "PostgreSQL, schema {schema}"),
        }
    }
}
