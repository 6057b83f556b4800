//! The outbox of a SQLite database behind core's seams, for engines and for operators.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use postbox::aggregate::Birth;
use postbox::claim::Status;
use postbox::message::OutboxMessage;
use postbox::store::{
    ClaimRef, ClaimRequest, OutboxCounts, OutboxOperator, OutboxStore, Settled, Settlement, SettlementBuf,
    StoredMessage,
};
use postbox::sync::Watch;
use rusqlite::{OptionalExtension, Transaction, params};

use crate::claim::Claim;
use crate::engine::Engine;
use crate::enqueue::{EnqueueError, Enqueued, enqueue_with};
use crate::error::{Fault, SqliteError};
use crate::job::Scope;
use crate::rows::{self, DEAD, IN_FLIGHT, PENDING, PUBLISHED, SqliteClaimed, limit};
use crate::settle;

/// The outbox of a [`SqliteRepository`](crate::SqliteRepository): claims, settlements, and a look inside.
/// Clones share the database; it stays open as long as one of them lives.
///
/// # Cancel safety
/// A future that was polled once does its work, whether it lives on or not.
#[derive(Clone)]
pub struct SqliteOutboxStore {
    engine: Arc<Engine>,
}

impl SqliteOutboxStore {
    pub(crate) const fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Stores messages in a transaction of your own, on a connection of your own to the same file, as
    /// [`enqueue`](crate::enqueue) and [`enqueue_claimed`](crate::enqueue_claimed) do; but with this store's
    /// payload limit, and by its clock.
    ///
    /// # Errors
    /// [`EnqueueError`]: none of the messages is stored, and the transaction is as it was before.
    pub fn enqueue(
        &self,
        transaction: &Transaction<'_>,
        messages: &[OutboxMessage],
        claim: Option<Birth>,
    ) -> Result<Enqueued, EnqueueError> {
        let options = (self.engine.options.outbox.max_payload(), claim);
        enqueue_with(transaction, messages, options, &*self.engine.options.clock)
    }

    /// Tells the backstops to look now: after a commit on a connection of your own, which the store cannot
    /// see. Without this they find the messages at their next poll.
    pub fn hint(&self) {
        self.engine.bell.ring();
    }
}

impl OutboxStore for SqliteOutboxStore {
    type Error = SqliteError;
    type Key = i64;
    type Claimed = SqliteClaimed;
    type Batch = Vec<SqliteClaimed>;
    type Wakeup = Watch;

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Vec<SqliteClaimed>, SqliteError> {
        let claim = Claim::new(request)?;
        self.engine.write_lightly(move |scope| claim.run(scope)).await
    }

    async fn renew(&self, claims: &[ClaimRef<i64>], lease: Duration) -> Result<usize, SqliteError> {
        if claims.is_empty() {
            return Ok(0);
        }
        settle::check(claims.len())?;
        let claims = claims.to_vec();
        self.engine
            .write_lightly(move |scope| settle::renew(scope, &claims, lease))
            .await
    }

    async fn settle(&self, settlements: &[Settlement<'_, i64>]) -> Result<Settled, SqliteError> {
        if settlements.is_empty() {
            return Ok(Settled::none());
        }
        settle::check(settlements.len())?;
        let settlements = owned(settlements);
        self.engine
            .write(move |scope| settle::settle(scope, &settlements))
            .await
    }

    async fn settle_soon(&self, settlements: &[Settlement<'_, i64>]) -> Result<(), SqliteError> {
        if settlements.is_empty() {
            return Ok(());
        }
        settle::check(settlements.len())?;
        self.engine.settle_soon(owned(settlements)).await
    }

    async fn purge(&self, limit: usize) -> Result<usize, SqliteError> {
        self.engine.write(move |scope| settle::purge(scope, limit)).await
    }

    async fn next_due(&self) -> Result<Option<Duration>, SqliteError> {
        self.engine.read(settle::next_due).await
    }

    fn wakeup(&self) -> Watch {
        self.engine.bell.watch()
    }
}

impl OutboxOperator for SqliteOutboxStore {
    async fn counts(&self) -> Result<OutboxCounts, SqliteError> {
        self.engine.read(counts).await
    }

    async fn messages(&self, status: Status, limit: usize) -> Result<Vec<StoredMessage>, SqliteError> {
        self.engine
            .read(move |scope| messages(scope, status, limit))
            .await
    }

    async fn find(&self, id: &str) -> Result<Option<StoredMessage>, SqliteError> {
        let id = id.to_owned();
        self.engine
            .read(move |scope| {
                let sql = format!("SELECT {} FROM postbox_outbox WHERE id = ?1", rows::STORED);
                let mut statement = scope.connection.prepare_cached(&sql)?;
                Ok(statement.query_row([&id], rows::stored).optional()?)
            })
            .await
    }

    async fn requeue(&self, ids: &[&str]) -> Result<usize, SqliteError> {
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        self.engine.write(move |scope| settle::requeue(scope, &ids)).await
    }
}

impl fmt::Debug for SqliteOutboxStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteOutboxStore")
            .field("options", &self.engine.options)
            .finish_non_exhaustive()
    }
}

/// To go to another thread.
fn owned(settlements: &[Settlement<'_, i64>]) -> Vec<SettlementBuf<i64>> {
    settlements.iter().map(|one| SettlementBuf::from(*one)).collect()
}

fn counts(scope: &Scope<'_>) -> Result<OutboxCounts, Fault<SqliteError>> {
    // One pass without sorting. Payloads come last in a row and are not read.
    let sql = "SELECT count(*) FILTER (WHERE state = 0), count(*) FILTER (WHERE state = 1), \
        count(*) FILTER (WHERE state = 2), count(*) FILTER (WHERE state = 3) FROM postbox_outbox";
    let mut statement = scope.connection.prepare_cached(sql)?;
    Ok(statement.query_row([], |row| {
        let count = |index| {
            row.get::<_, i64>(index)
                .map(|n| u64::try_from(n).unwrap_or_default())
        };
        Ok(OutboxCounts {
            pending: count(0)?,
            in_flight: count(1)?,
            published: count(2)?,
            dead: count(3)?,
        })
    })?)
}

/// Dead letters, found in their index, where their numbers are sorted without the rows.
pub(crate) const DEAD_ONES: &str = "seq IN (SELECT seq FROM postbox_outbox \
    WHERE state >= 2 AND state = ?1 ORDER BY seq LIMIT ?2)";

fn messages(
    scope: &Scope<'_>,
    status: Status,
    count: usize,
) -> Result<Vec<StoredMessage>, Fault<SqliteError>> {
    let (state, which) = match status {
        Status::Pending => (PENDING, "state = ?1"),
        Status::InFlight => (IN_FLIGHT, "state = ?1"),
        Status::Published => (PUBLISHED, "state = ?1"),
        Status::Dead => (DEAD, DEAD_ONES),
    };
    let sql = format!(
        "SELECT {} FROM postbox_outbox WHERE {which} ORDER BY seq LIMIT ?2",
        rows::STORED
    );
    let mut statement = scope.connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![state, limit(count)], rows::stored)?;
    Ok(rows.collect::<Result<_, _>>()?)
}
