//! Settlements, renewals, dead letters put back, and purges: what happens to rows after the claim.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::time::Duration;

use postbox::claim::Verdict;
use postbox::store::{ClaimRef, MAX_BATCH, Settled, SettlementBuf};
use postbox::time::Instant;
use rusqlite::params;
use serde_json::Value;

use crate::complete::{complete, complete_softly, deletes, ring_for_successors};
use crate::error::{Fault, SqliteError};
use crate::job::Scope;
use crate::options::in_range;
use crate::rows::{DEAD, PENDING, PUBLISHED, fence, limit, micros, worker};

/// Which of the rows in a parameter are held, under which claim: the fence, in every statement of a holder.
macro_rules! held {
    ($columns:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM json_each(?1) AS s CROSS JOIN postbox_outbox AS o ON o.seq = s.value ->> 0 \
             WHERE o.state = 1 AND o.worker = s.value ->> 1 AND o.attempt = s.value ->> 2"
        )
    };
}

/// 1 the claims, each with 3 state, 4 due, 5 settled at, 6 failures to add, 7 the error. A row that is settled
/// at [`GONE`] is deleted by its trigger.
pub(crate) const SETTLE: &str = "UPDATE postbox_outbox AS o SET state = s.value ->> 3, \
    due = coalesce(s.value ->> 4, due), settled_at = s.value ->> 5, holds = (s.value ->> 3) <> 2, \
    failures = min(failures + (s.value ->> 6), 4294967295), \
    last_error = CASE WHEN s.value ->> 7 = '' THEN last_error ELSE s.value ->> 7 END \
    FROM json_each(?1) AS s \
    WHERE o.seq = s.value ->> 0 AND o.state = 1 AND o.worker = s.value ->> 1 AND o.attempt = s.value ->> 2 \
    RETURNING seq, worker, attempt";
/// 1 the claims, 2 the lease's end. Never earlier than it was.
pub(crate) const RENEW: &str = concat!(
    "UPDATE postbox_outbox SET due = max(due, ?2) WHERE seq IN (",
    held!("o.seq"),
    ")"
);
/// 1 now, 2 id.
pub(crate) const REQUEUE: &str = "UPDATE postbox_outbox SET state = 0, due = ?1, settled_at = NULL, failures = 0, \
    abandoned = 0, holds = 1 WHERE id = ?2 AND state = 3";
/// When a row that no retention keeps was published: see the trigger `postbox_outbox_gone`.
const GONE: i64 = -1;
/// 1 published until, 2 how many.
pub(crate) const PURGE: &str = "DELETE FROM postbox_outbox WHERE seq IN (SELECT seq FROM postbox_outbox \
    WHERE state >= 2 AND state = 2 AND settled_at <= ?1 ORDER BY settled_at LIMIT ?2)";
pub(crate) const NEXT_DUE: &str = "SELECT min(due) FROM postbox_outbox WHERE state < 2 AND blocked = 0";

/// Checks the size of what a holder sends.
pub(crate) fn check(len: usize) -> Result<(), SqliteError> {
    Ok(in_range(
        "batch (messages)",
        len,
        MAX_BATCH,
        "between 1 and 1024",
    )?)
}

/// Applies each verdict whose fence holds, in one statement. Of two for one claim the first
/// counts. Rings when something can be claimed at once that could not before.
pub(crate) fn settle(
    scope: &Scope<'_>,
    settlements: &[SettlementBuf<i64>],
) -> Result<Settled, Fault<SqliteError>> {
    if let Some(fence) = deletes(scope, settlements) {
        return complete(scope, settlements, fence);
    }
    let (now, keep) = (scope.now(), scope.outbox().retention().is_some());
    let mut settled = Settled::none();
    let mut open = HashMap::with_capacity(settlements.len());
    let mut rows = Rows::new();
    for (index, settlement) in settlements.iter().enumerate() {
        let claim = settlement.claim;
        if let Slot::Vacant(slot) = open.entry((claim.key, claim.fence)) {
            slot.insert(index);
        } else {
            settled.refuse(index);
            continue;
        }
        rows.push(claim, &target(settlement, now, keep));
    }
    let before = scope.connection.total_changes();
    let mut own_changes = 0;
    let mut statement = scope.connection.prepare_cached(SETTLE)?;
    statement.raw_bind_parameter(1, rows.json())?;
    let mut applied = statement.raw_query();
    while let Some(row) = applied.next()? {
        let Some(index) = open.remove(&(row.get(0)?, fence(row, 1)?)) else {
            continue;
        };
        settled.apply();
        own_changes += match settlements.get(index).map(|one| one.verdict) {
            // A trigger deletes it.
            Some(Verdict::Complete) => 1 + u64::from(!keep),
            // A trigger notes whether it goes on holding its key up.
            Some(Verdict::Bury) => 2,
            // Rings: it is free, or whoever sleeps asks again until when.
            Some(Verdict::Retry { .. } | Verdict::Release { .. }) | None => 0,
        };
    }
    for refused in open.into_values() {
        settled.refuse(refused);
    }
    ring_for_successors(scope, before, own_changes);
    Ok(settled)
}

/// The same where nobody waits for the outcome.
pub(crate) fn settle_softly(
    scope: &Scope<'_>,
    settlements: &[SettlementBuf<i64>],
) -> Result<(), Fault<SqliteError>> {
    match deletes(scope, settlements) {
        Some(fence) => complete_softly(scope, settlements, fence),
        None => settle(scope, settlements).map(drop),
    }
}

/// What [`SETTLE`] writes into a row: state, due, settled at, failures to add, error.
fn target(settlement: &SettlementBuf<i64>, now: Instant, keep: bool) -> [Value; 5] {
    let (state, due, settled_at, failures) = match settlement.verdict {
        Verdict::Complete => (PUBLISHED, None, Some(if keep { micros(now) } else { GONE }), 0),
        Verdict::Retry { after } => (PENDING, Some(micros(now + after)), None, 1),
        Verdict::Release { after } => (PENDING, Some(micros(now + after)), None, 0),
        Verdict::Bury => (DEAD, Some(micros(now)), Some(micros(now)), 0),
    };
    let error = match settlement.verdict {
        Verdict::Complete => "",
        _ => settlement.error.as_str(),
    };
    [
        state.into(),
        due.into(),
        settled_at.into(),
        failures.into(),
        error.into(),
    ]
}

/// Moves the end of each lease whose fence holds, in one statement. Returns how many that were.
pub(crate) fn renew(
    scope: &Scope<'_>,
    claims: &[ClaimRef<i64>],
    lease: Duration,
) -> Result<usize, Fault<SqliteError>> {
    let mut rows = Rows::new();
    for claim in claims {
        rows.push(*claim, &[]);
    }
    let mut statement = scope.connection.prepare_cached(RENEW)?;
    Ok(statement.execute(params![rows.json(), micros(scope.now() + lease)])?)
}

/// Claims and what belongs to each, as JSON: how a table travels in one parameter.
struct Rows(String);

impl Rows {
    const fn new() -> Self {
        Self(String::new())
    }

    fn push(&mut self, ClaimRef { key, fence }: ClaimRef<i64>, more: &[Value]) {
        use std::fmt::Write as _;
        self.0.push(if self.0.is_empty() { '[' } else { ',' });
        // Writing to a string cannot fail.
        let _ = write!(self.0, "[{key},{},{}", worker(fence.worker), fence.attempt);
        for value in more {
            let _ = write!(self.0, ",{value}");
        }
        self.0.push(']');
    }

    fn json(mut self) -> String {
        self.0.push(']');
        self.0
    }
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

/// How long until the first row that nothing blocks is free: by the index that claims walk, so one look.
pub(crate) fn next_due(scope: &Scope<'_>) -> Result<Option<Duration>, Fault<SqliteError>> {
    let mut statement = scope.connection.prepare_cached(NEXT_DUE)?;
    let due: Option<i64> = statement.query_row([], |row| row.get(0))?;
    let due = due.map(|due| Instant::from_micros(u64::try_from(due).unwrap_or_default()));
    Ok(due.map(|due| due.since(scope.now())))
}
