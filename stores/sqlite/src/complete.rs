//! Deletions of what was published, where nothing is kept: how nearly every settlement ends.

use postbox::claim::{Fence, Verdict};
use postbox::store::{Settled, SettlementBuf};
use rusqlite::params;

use crate::error::{Fault, SqliteError};
use crate::job::Scope;
use crate::rows::worker;

/// How many of these rows are held. 1 the first, 2 the last, 3 worker, 4 attempt.
pub(crate) const HELD: &str = "SELECT count(*) FROM postbox_outbox \
    WHERE seq BETWEEN ?1 AND ?2 AND state = 1 AND worker = ?3 AND attempt = ?4";
/// 1 the first row, 2 the last: once [`HELD`] has found all of them. `RETURNING`, which would say what was
/// deleted, reads and copies whole rows.
pub(crate) const COMPLETE: &str = "DELETE FROM postbox_outbox WHERE seq BETWEEN ?1 AND ?2";
/// 1 the first row, 2 the last, 3 worker, 4 attempt: where nobody asks which of the rows were held.
pub(crate) const COMPLETE_HELD: &str = "DELETE FROM postbox_outbox \
    WHERE seq BETWEEN ?1 AND ?2 AND state = 1 AND worker = ?3 AND attempt = ?4";
/// 1 the row, 2 worker, 3 attempt.
pub(crate) const COMPLETE_ONE: &str =
    "DELETE FROM postbox_outbox WHERE seq = ?1 AND state = 1 AND worker = ?2 AND attempt = ?3";

/// The fence under which everything is held, if all of it was published and nothing is kept, as nearly every batch is.
pub(crate) fn deletes(scope: &Scope<'_>, settlements: &[SettlementBuf<i64>]) -> Option<Fence> {
    let fence = settlements.first()?.claim.fence;
    let alike = |one: &SettlementBuf<i64>| one.verdict == Verdict::Complete && one.claim.fence == fence;
    (scope.outbox().retention().is_none() && settlements.iter().all(alike)).then_some(fence)
}

/// Deletes what is held: by runs without a gap, of which a batch of a backlog is one. A list in JSON costs more to take
/// apart.
pub(crate) fn complete(
    scope: &Scope<'_>,
    settlements: &[SettlementBuf<i64>],
    fence: Fence,
) -> Result<Settled, Fault<SqliteError>> {
    let mut settled = Settled::none();
    let before = scope.connection.total_changes();
    let holder = (worker(fence.worker), fence.attempt);
    let mut rows: Vec<_> = settlements.iter().map(|one| one.claim.key).zip(0..).collect();
    rows.sort_unstable();
    for run in rows.chunk_by(|(one, _), (next, _)| next.wrapping_sub(*one) == 1) {
        if complete_run(scope, run, holder)? {
            for _ in run {
                settled.apply();
            }
            continue;
        }
        let mut statement = scope.connection.prepare_cached(COMPLETE_ONE)?;
        for (key, index) in run {
            match statement.execute(params![key, holder.0, holder.1])? {
                0 => settled.refuse(*index),
                _ => settled.apply(),
            }
        }
    }
    ring_for_successors(scope, before, settled.applied() as u64);
    Ok(settled)
}

/// Deletes rows without a gap if there are several and all of them are held.
fn complete_run(scope: &Scope<'_>, run: &[(i64, usize)], holder: (i64, u32)) -> rusqlite::Result<bool> {
    let [(first, _), .., (last, _)] = run else {
        return Ok(false);
    };
    let mut statement = scope.connection.prepare_cached(HELD)?;
    let held: i64 = statement.query_row(params![first, last, holder.0, holder.1], |row| row.get(0))?;
    if held <= last - first {
        return Ok(false);
    }
    scope
        .connection
        .prepare_cached(COMPLETE)?
        .execute([first, last])?;
    Ok(true)
}

/// The same where nobody asks for the outcome: no run is counted before it is deleted.
pub(crate) fn complete_softly(
    scope: &Scope<'_>,
    settlements: &[SettlementBuf<i64>],
    fence: Fence,
) -> Result<(), Fault<SqliteError>> {
    let holder = (worker(fence.worker), fence.attempt);
    let before = scope.connection.total_changes();
    let mut deleted = 0;
    let mut rows: Vec<_> = settlements.iter().map(|one| one.claim.key).collect();
    rows.sort_unstable();
    for run in rows.chunk_by(|one, next| next.wrapping_sub(*one) == 1) {
        deleted += if let [first, .., last] = run {
            let mut statement = scope.connection.prepare_cached(COMPLETE_HELD)?;
            statement.execute(params![first, last, holder.0, holder.1])?
        } else {
            let mut statement = scope.connection.prepare_cached(COMPLETE_ONE)?;
            statement.execute(params![run.first(), holder.0, holder.1])?
        };
    }
    ring_for_successors(scope, before, deleted as u64);
    Ok(())
}

/// The triggers' changes count too: one more than our `own` is the next message of a key, set free.
pub(crate) fn ring_for_successors(scope: &Scope<'_>, before: u64, own: u64) {
    if scope.connection.total_changes() - before > own {
        scope.ring();
    }
}
