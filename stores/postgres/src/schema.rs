//! The tables and functions: embedded migrations, the version they brought the database to, and who waits for whom.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Row};

use crate::error::PostgresError;
use crate::names::Names;

/// One step of the schema, as plain SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its number, from 1 without gaps.
    pub version: u32,
    /// What it is about.
    pub name: &'static str,
    /// The statements, with `{schema}` and `{prefix}` where names go: see [`Names::fill`].
    pub sql: &'static str,
}

macro_rules! migration {
    ($version:literal, $name:literal) => {
        Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../migrations/000", $version, "_", $name, ".sql")),
        }
    };
}

const MIGRATIONS: &[Migration] = &[
    migration!(1, "outbox"),
    migration!(2, "order"),
    migration!(3, "claims"),
    migration!(4, "enqueue"),
    migration!(5, "streams"),
];

const VERSION_TABLE: &str = "CREATE TABLE IF NOT EXISTS {schema}.{prefix}schema_version (
  version    integer     PRIMARY KEY,
  name       text        NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
)";
const VERSION: &str = "SELECT coalesce(max(version), 0) FROM {schema}.{prefix}schema_version";
/// One migration of these names at a time; freed with the transaction, however that ends.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('postbox migrates {schema}.{prefix}', 0))";
const HAS_SCHEMA: &str = "SELECT to_regnamespace($1) IS NOT NULL";
const HAS_TABLE: &str = "SELECT to_regclass($1) IS NOT NULL";

/// Every step of the schema, oldest first: to print, to review, or to run by hand.
///
/// ```
/// use postbox_postgres::{Names, migrations};
///
/// for step in migrations() {
///     println!("-- {} {}\n{}", step.version, step.name, Names::default().fill(step.sql));
/// }
/// ```
pub const fn migrations() -> &'static [Migration] {
    MIGRATIONS
}

/// SQL for three roles: their rights, and nothing more. Roles are yours to name: `{owner}` runs the migrations,
/// `{enqueue}` stores messages, `{relay}` publishes them and commits streams. See the README beside this crate.
///
/// ```
/// use postbox_postgres::{Identifier, Names, grants};
///
/// let sql = grants(&Names::default(), &Identifier::new("shop")?, &Identifier::new("relay")?);
/// assert!(sql.contains("TO shop"));
/// # Ok::<(), postbox::id::Invalid>(())
/// ```
pub fn grants(names: &Names, enqueue: &crate::Identifier, relay: &crate::Identifier) -> String {
    names
        .fill(include_str!("../migrations/roles.sql"))
        .replace("{enqueue}", enqueue.as_str())
        .replace("{relay}", relay.as_str())
}

/// Makes or updates the tables, in one transaction, on a connection of your own.
/// [`PostgresRepository`](crate::PostgresRepository) does this when it opens, unless told not to.
///
/// Any number of programs may do this at once: they take turns, by a lock that ends with the transaction.
///
/// ```no_run
/// # async fn example(connection: &mut sqlx::PgConnection) -> Result<(), postbox_postgres::PostgresError> {
/// postbox_postgres::migrate(connection, &postbox_postgres::Names::default()).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
/// Dropped half-way, nothing is applied; the connection rolls back when it is used next.
///
/// # Errors
/// [`PostgresError::SchemaTooNew`] with nothing touched, or the driver's failure with nothing applied.
pub async fn migrate(connection: &mut PgConnection, names: &Names) -> Result<(), PostgresError> {
    // Most openings find nothing to do: those need no lock, and no right to create anything.
    if missing(version(connection, names).await?)?.is_empty() {
        return Ok(());
    }
    let mut transaction = connection.begin().await?;
    run(&mut transaction, names.fill(LOCK)).await?;
    let schema: bool = one(&mut transaction, HAS_SCHEMA, &format!("\"{}\"", names.schema())).await?;
    if !schema {
        run(&mut transaction, names.fill("CREATE SCHEMA {schema}")).await?;
    }
    run(&mut transaction, names.fill(VERSION_TABLE)).await?;
    // Another program may have been faster.
    for step in missing(version(&mut transaction, names).await?)? {
        run(&mut transaction, names.fill(step.sql)).await?;
        let note = "INSERT INTO {schema}.{prefix}schema_version (version, name) VALUES ";
        let note = names.fill(&format!("{note} ({}, '{}')", step.version, step.name));
        run(&mut transaction, note).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Refuses a database whose schema this program does not know, or that has none.
pub(crate) async fn check(connection: &mut PgConnection, names: &Names) -> Result<(), PostgresError> {
    let found = version(connection, names).await?;
    if missing(found)?.is_empty() {
        return Ok(());
    }
    let needed = newest();
    Err(PostgresError::SchemaTooOld { found, needed })
}

/// The version of the database; 0 when Postbox was never here.
async fn version(connection: &mut PgConnection, names: &Names) -> Result<u32, PostgresError> {
    if !one(connection, HAS_TABLE, &names.qualified("schema_version")).await? {
        return Ok(0);
    }
    let rows = sqlx::raw_sql(AssertSqlSafe(names.fill(VERSION)))
        .fetch_all(connection)
        .await?;
    let version: i32 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    Ok(u32::try_from(version).unwrap_or_default())
}

/// The steps that a database of this version lacks.
fn missing(found: u32) -> Result<&'static [Migration], PostgresError> {
    let supported = newest();
    if found > supported {
        return Err(PostgresError::SchemaTooNew { found, supported });
    }
    let applied = usize::try_from(found).unwrap_or(usize::MAX);
    Ok(MIGRATIONS.get(applied..).unwrap_or_default())
}

fn newest() -> u32 {
    MIGRATIONS.last().map_or(0, |step| step.version)
}

async fn run(connection: &mut PgConnection, sql: String) -> Result<(), PostgresError> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// A yes or no about a name. Unnamed statements: this also runs through poolers.
async fn one(connection: &mut PgConnection, sql: &'static str, name: &str) -> Result<bool, PostgresError> {
    // The name was checked, and has no quote that would end the literal.
    let sql = sql.replace("$1", &format!("'{name}'"));
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await?;
    Ok(rows.first().map_or(Ok(false), |row| row.try_get(0))?)
}
