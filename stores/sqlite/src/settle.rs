//! Settlements, renewals, dead letters put back, and purges: what happens to rows after the claim.

use std::time::Duration;

use postbox::claim::Verdict;
use postbox::store::{ClaimRef, MAX_BATCH, Settled, Settlement};
use rusqlite::params;

use crate::error::{Fault, SqliteError};
use crate::job::Scope;
use crate::options::in_range;
use crate::rows::{DEAD, PENDING, limit, micros, worker};

/// The fence, in every statement that a holder has run: which row, and under which claim.
macro_rules! held {
    ($verb:literal) => {
        concat!(
            $verb,
            " WHERE seq = ?1 AND state = 1 AND worker = ?2 AND attempt = ?3"
        )
    };
}

pub(crate) const COMPLETE: &str = held!("DELETE FROM postbox_outbox");
/// 4 now.
pub(crate) const KEEP: &str = held!("UPDATE postbox_outbox SET state = 2, holds = 0, settled_at = ?4");
/// 4 state, 5 due, 6 settled at, 7 failures to add, 8 the error.
pub(crate) const RETURN: &str = held!(
    "UPDATE postbox_outbox SET state = ?4, due = ?5, settled_at = ?6, \
     failures = min(failures + ?7, 4294967295), \
     last_error = CASE WHEN ?8 = '' THEN last_error ELSE ?8 END"
);
/// 4 the lease's end. Never earlier than it was.
pub(crate) const RENEW: &str = held!("UPDATE postbox_outbox SET due = max(due, ?4)");
/// 1 now, 2 id.
pub(crate) const REQUEUE: &str = "UPDATE postbox_outbox SET state = 0, due = ?1, settled_at = NULL, failures = 0, \
    abandoned = 0, holds = 1 WHERE id = ?2 AND state = 3";
/// 1 published until, 2 how many.
pub(crate) const PURGE: &str = "DELETE FROM postbox_outbox WHERE seq IN (SELECT seq FROM postbox_outbox \
    WHERE state = 2 AND settled_at <= ?1 ORDER BY settled_at LIMIT ?2)";

/// Checks the size of what a holder sends.
pub(crate) fn check(len: usize) -> Result<(), SqliteError> {
    Ok(in_range(
        "batch (messages)",
        len,
        MAX_BATCH,
        "between 1 and 1024",
    )?)
}

/// Applies each verdict whose fence holds.
pub(crate) fn settle(
    scope: &Scope<'_>,
    settlements: &[Settlement<i64>],
) -> Result<Settled, Fault<SqliteError>> {
    let mut settled = Settled::none();
    for (index, settlement) in settlements.iter().enumerate() {
        if settle_one(scope, settlement)? {
            settled.apply();
        } else {
            settled.refuse(index);
        }
    }
    Ok(settled)
}

/// Whether the fence held. Rings when something can be claimed at once that could not before.
fn settle_one(scope: &Scope<'_>, settlement: &Settlement<i64>) -> rusqlite::Result<bool> {
    let ClaimRef { key, fence } = settlement.claim;
    let (holder, attempt) = (worker(fence.worker), fence.attempt);
    let before = scope.connection.total_changes();
    let error = settlement.error.as_str();
    let give_back = |failures: i64, after: Duration| {
        let due = micros(scope.now() + after);
        let none = None::<i64>;
        let mut statement = scope.connection.prepare_cached(RETURN)?;
        statement.execute(params![key, holder, attempt, PENDING, due, none, failures, error])
    };
    let (applied, own_changes) = match settlement.verdict {
        Verdict::Complete if scope.outbox().retention().is_none() => {
            let mut statement = scope.connection.prepare_cached(COMPLETE)?;
            (statement.execute(params![key, holder, attempt])?, 1)
        }
        Verdict::Complete => {
            let mut statement = scope.connection.prepare_cached(KEEP)?;
            let now = micros(scope.now());
            (statement.execute(params![key, holder, attempt, now])?, 1)
        }
        Verdict::Retry { after } => (give_back(1, after)?, u64::from(!after.is_zero())),
        Verdict::Release { after } => (give_back(0, after)?, u64::from(!after.is_zero())),
        Verdict::Bury => {
            let now = micros(scope.now());
            let mut statement = scope.connection.prepare_cached(RETURN)?;
            let applied = statement.execute(params![key, holder, attempt, DEAD, now, now, 0, error])?;
            // A trigger notes whether it goes on holding its key up.
            (applied, 2)
        }
    };
    // The triggers' changes count too: one more than our own is the next message of the key, set free.
    if scope.connection.total_changes() - before > own_changes {
        scope.ring();
    }
    Ok(applied > 0)
}

/// Moves the end of each lease whose fence holds. Returns how many that were.
pub(crate) fn renew(
    scope: &Scope<'_>,
    claims: &[ClaimRef<i64>],
    lease: Duration,
) -> Result<usize, Fault<SqliteError>> {
    let until = micros(scope.now() + lease);
    let mut statement = scope.connection.prepare_cached(RENEW)?;
    let mut renewed = 0;
    for ClaimRef { key, fence } in claims {
        renewed += statement.execute(params![key, worker(fence.worker), fence.attempt, until])?;
    }
    Ok(renewed)
}

/// Puts dead messages back. Returns how many were dead.
pub(crate) fn requeue(scope: &Scope<'_>, ids: &[String]) -> Result<usize, Fault<SqliteError>> {
    let now = micros(scope.now());
    let mut statement = scope.connection.prepare_cached(REQUEUE)?;
    let mut requeued = 0;
    for id in ids {
        requeued += statement.execute(params![now, id])?;
    }
    if requeued > 0 {
        scope.ring();
    }
    Ok(requeued)
}

/// Deletes a bite of what was published longer ago than the retention time.
pub(crate) fn purge(scope: &Scope<'_>, count: usize) -> Result<usize, Fault<SqliteError>> {
    let retention = scope.outbox().retention().unwrap_or_default();
    let mut statement = scope.connection.prepare_cached(PURGE)?;
    Ok(statement.execute(params![micros(scope.now() - retention), limit(count)])?)
}
