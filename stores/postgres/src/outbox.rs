//! The outbox of a PostgreSQL database behind core's seams, for engines and for operators.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use postbox::aggregate::Birth;
use postbox::claim::Status;
use postbox::message::OutboxMessage;
use postbox::store::{
    ClaimRef, ClaimRequest, OutboxCounts, OutboxOperator, OutboxStore, Settled, Settlement, StoredMessage,
};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use crate::call::{Arg, Function};
use crate::database::Database;
use crate::enqueue::{EnqueueError, Enqueued, enqueue};
use crate::error::PostgresError;
use crate::rows::{self, PostgresClaimed, limit, whole};
use crate::wakeup::{PostgresWakeup, channel};
use crate::{claim, gather, settle};

/// The outbox of a [`PostgresRepository`](crate::PostgresRepository): claims, settlements, and a look inside.
/// Clones share the pool.
///
/// # Cancel safety
/// Every verb is one autocommit statement, or one after another: a dropped future leaves no transaction open, and
/// what it had sent may or may not have taken effect.
#[derive(Clone)]
pub struct PostgresOutboxStore {
    database: Arc<Database>,
}

impl PostgresOutboxStore {
    pub(crate) const fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Stores messages in a transaction of your own: they exist if and only if you commit it. With a claim,
    /// those that are due and first of their key are held by its worker; publish them after your commit by
    /// [`Enqueued::claimed`]. Without one, a backstop publishes them.
    ///
    /// One statement, whatever the number of messages. Takes the connection itself, so that `&mut *transaction`
    /// fits, and never a second one.
    ///
    /// ```no_run
    /// # use postbox::{aggregate::Birth, message::OutboxMessage, store::HasOutboxStore};
    /// # async fn example(
    /// #     pool: sqlx::PgPool, repository: postbox_postgres::PostgresRepository, birth: Birth,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// let outbox = repository.outbox_store();
    /// let mut transaction = pool.begin().await?;
    /// sqlx::query("INSERT INTO orders (id) VALUES ('order-1')").execute(&mut *transaction).await?;
    /// let message = OutboxMessage::create("order-1:placed", "order.placed", b"{}".to_vec())?;
    /// let enqueued = outbox.enqueue(&mut transaction, &[message], Some(birth)).await?;
    /// transaction.commit().await?;
    /// // Now publish what `enqueued.claimed()` has, or leave it to a backstop.
    /// # drop(enqueued);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Order
    /// Enqueues of one key take turns until the end of the transaction: enqueue late in it, and commit soon. In
    /// `REPEATABLE READ` and `SERIALIZABLE`, whose old snapshots do not show who is before, messages with a key
    /// are stored pending.
    ///
    /// # Errors
    /// [`EnqueueError`]. As after any failed statement, PostgreSQL lets you do nothing but roll back, to a
    /// savepoint if you set one.
    pub async fn enqueue(
        &self,
        connection: &mut PgConnection,
        messages: &[OutboxMessage],
        claim: Option<Birth>,
    ) -> Result<Enqueued, EnqueueError> {
        enqueue(&self.database, connection, messages, claim).await
    }

    /// Tells the backstops to look now: after a commit of your own, which the store cannot see. Without this
    /// they find the messages at their next poll. Other processes are told where notifications are on.
    pub async fn hint(&self) {
        self.database.bell.ring();
        self.database.notices.tell(&self.database).await;
    }

    /// The channel of this outbox: any program may `NOTIFY` it after a commit.
    pub fn channel(&self) -> String {
        channel(&self.database.options.names)
    }

    /// Writes the settlements that were gathered and not written yet. The last thing an orderly shutdown does.
    ///
    /// # Errors
    /// When the database fails; lost soft settlements mean redeliveries, nothing else.
    pub async fn flush(&self) -> Result<(), PostgresError> {
        gather::flush(&self.database).await
    }

    /// Rows of the table, read by a statement of this crate.
    async fn select(&self, rest: &str, args: &[Arg<'_>]) -> Result<Vec<StoredMessage>, PostgresError> {
        let table = self.database.options.names.qualified("outbox");
        let select = Function::statement(format!("SELECT {} FROM {table} WHERE {rest}", rows::STORED));
        let rows = self.database.run(&select, args).await?;
        Ok(rows.iter().map(rows::stored).collect::<Result<_, _>>()?)
    }
}

impl OutboxStore for PostgresOutboxStore {
    type Error = PostgresError;
    type Key = i64;
    type Claimed = PostgresClaimed;
    type Batch = Vec<PostgresClaimed>;
    type Wakeup = PostgresWakeup;

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Vec<PostgresClaimed>, PostgresError> {
        claim::run(&self.database, request).await
    }

    async fn renew(&self, claims: &[ClaimRef<i64>], lease: Duration) -> Result<usize, PostgresError> {
        if claims.is_empty() {
            return Ok(0);
        }
        settle::check(claims.len())?;
        settle::renew(&self.database, claims, lease).await
    }

    async fn settle(&self, settlements: &[Settlement<'_, i64>]) -> Result<Settled, PostgresError> {
        if settlements.is_empty() {
            return Ok(Settled::none());
        }
        settle::check(settlements.len())?;
        settle::run(&self.database, settlements, false).await
    }

    /// Gathered while a backstop of this process waits for hints, and written by it within the linger time;
    /// else written at once. Neither waits for the disk.
    async fn settle_soon(&self, settlements: &[Settlement<'_, i64>]) -> Result<(), PostgresError> {
        if settlements.is_empty() {
            return Ok(());
        }
        settle::check(settlements.len())?;
        if self.database.gathering.add(settlements) {
            gather::flush(&self.database).await?;
        }
        Ok(())
    }

    async fn purge(&self, limit: usize) -> Result<usize, PostgresError> {
        settle::purge(&self.database, limit).await
    }

    async fn next_due(&self) -> Result<Option<Duration>, PostgresError> {
        settle::next_due(&self.database).await
    }

    fn wakeup(&self) -> PostgresWakeup {
        PostgresWakeup::new(self.database.clone())
    }
}

impl OutboxOperator for PostgresOutboxStore {
    async fn counts(&self) -> Result<OutboxCounts, PostgresError> {
        let table = self.database.options.names.qualified("outbox");
        let sql = format!(
            "SELECT count(*) FILTER (WHERE outcome IS NULL AND lease_until = '-infinity'), \
             count(*) FILTER (WHERE lease_until > '-infinity'), \
             count(*) FILTER (WHERE outcome = 'published'), count(*) FILTER (WHERE outcome = 'dead') FROM {table}"
        );
        let rows = self.database.run(&Function::statement(sql), &[]).await?;
        let Some(row) = rows.first() else {
            return Ok(OutboxCounts::default());
        };
        let count = |row: &PgRow, index: usize| row.try_get(index).map(whole);
        Ok(OutboxCounts {
            pending: count(row, 0)?,
            in_flight: count(row, 1)?,
            published: count(row, 2)?,
            dead: count(row, 3)?,
        })
    }

    async fn messages(&self, status: Status, count: usize) -> Result<Vec<StoredMessage>, PostgresError> {
        let rest = match status {
            Status::Pending => "outcome IS NULL AND lease_until = '-infinity'",
            Status::InFlight => "lease_until > '-infinity'",
            Status::Published => "outcome = 'published'",
            Status::Dead => "outcome = 'dead'",
        };
        self.select(
            &format!("{rest} ORDER BY seq LIMIT $1"),
            &[Arg::Int(limit(count))],
        )
        .await
    }

    async fn find(&self, id: &str) -> Result<Option<StoredMessage>, PostgresError> {
        Ok(self.select("id = $1", &[Arg::Text(id)]).await?.pop())
    }

    async fn requeue(&self, ids: &[&str]) -> Result<usize, PostgresError> {
        settle::requeue(&self.database, ids).await
    }
}

impl fmt::Debug for PostgresOutboxStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOutboxStore")
            .field("options", &self.database.options)
            .finish_non_exhaustive()
    }
}
