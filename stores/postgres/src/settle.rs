//! Settlements, renewals, dead letters put back, and purges: what happens to rows after the claim.

use std::time::Duration;

use postbox::claim::Verdict;
use postbox::id::Excerpt;
use postbox::store::{ClaimRef, MAX_BATCH, Settled, Settlement};
use sqlx::Row;

use crate::call::{Arg, Function};
use crate::database::{Database, micros};
use crate::error::PostgresError;
use crate::options::in_range;
use crate::rows::{limit, whole, worker};

/// The verdicts as the function takes them.
const COMPLETE: i64 = 0;
const RETRY: i64 = 1;
const RELEASE: i64 = 2;
const BURY: i64 = 3;

/// Checks the size of what a holder sends.
pub(crate) fn check(len: usize) -> Result<(), PostgresError> {
    Ok(in_range(
        "batch (messages)",
        len,
        MAX_BATCH,
        "between 1 and 1024",
    )?)
}

/// Applies each verdict whose fence holds, in one statement; `soon` does not wait for the disk.
pub(crate) async fn run(
    database: &Database,
    settlements: &[Settlement<'_, i64>],
    soon: bool,
) -> Result<Settled, PostgresError> {
    let (verdicts, delays) = settlements
        .iter()
        .map(|settlement| verdict(settlement.verdict))
        .unzip();
    let [seqs, workers, attempts] = fences(settlements.iter().map(|settlement| settlement.claim));
    // Scrubbed: a text of PostgreSQL holds no NUL.
    let errors: Vec<Excerpt> = settlements.iter().map(|one| Excerpt::new(one.error)).collect();
    let args = [
        seqs,
        workers,
        attempts,
        Arg::Ints(verdicts),
        Arg::Ints(delays),
        Arg::Texts(errors.iter().map(Excerpt::as_str).collect()),
        database.keeps(),
        Arg::Bool(soon),
        database.at(),
    ];
    let rows = database.run(&database.functions.settle, &args).await?;
    let mut applied = vec![false; settlements.len()];
    if let Some(row) = rows.first() {
        for place in row.try_get::<Vec<i64>, _>(0)? {
            let place = usize::try_from(whole(place)).unwrap_or_default();
            if let Some(applied) = place.checked_sub(1).and_then(|index| applied.get_mut(index)) {
                *applied = true;
            }
        }
        if row.try_get(1)? {
            database.bell.ring();
            database.notices.tell(database).await;
        } else if settlements
            .iter()
            .any(|settlement| is_put_back(settlement.verdict))
        {
            // Nothing is free, but whoever sleeps here asks again until when.
            database.bell.ring();
        }
    }
    let mut settled = Settled::none();
    for (index, applied) in applied.into_iter().enumerate() {
        if applied {
            settled.apply();
        } else {
            settled.refuse(index);
        }
    }
    Ok(settled)
}

/// Moves the end of each lease whose fence holds. Returns how many that were.
pub(crate) async fn renew(
    database: &Database,
    claims: &[ClaimRef<i64>],
    lease: Duration,
) -> Result<usize, PostgresError> {
    let [seqs, workers, attempts] = fences(claims.iter().copied());
    let args = [seqs, workers, attempts, Arg::Int(micros(lease)), database.at()];
    database.count(&database.functions.renew, &args).await
}

/// Puts dead messages back. Returns how many were dead.
pub(crate) async fn requeue(database: &Database, ids: &[&str]) -> Result<usize, PostgresError> {
    let args = [Arg::Texts(ids.to_vec()), database.at()];
    let requeued = database.count(&database.functions.requeue, &args).await?;
    if requeued > 0 {
        database.bell.ring();
        database.notices.tell(database).await;
    }
    Ok(requeued)
}

/// Deletes a bite of what was published longer ago than the retention time.
pub(crate) async fn purge(database: &Database, count: usize) -> Result<usize, PostgresError> {
    let retention = database.options.outbox.retention().unwrap_or_default();
    let args = [Arg::Int(micros(retention)), Arg::Int(limit(count)), database.at()];
    database.count(&database.functions.purge, &args).await
}

/// How long until the first message that nothing blocks becomes due. A lease that lapses is found by a poll.
pub(crate) async fn next_due(database: &Database) -> Result<Option<Duration>, PostgresError> {
    let function = Function::value(&database.options.names.qualified("next_due"), 1);
    let rows = database.run(&function, &[database.at()]).await?;
    let micros: Option<i64> = rows.first().map_or(Ok(None), |row| row.try_get(0))?;
    Ok(micros.map(|micros| Duration::from_micros(whole(micros))))
}

fn is_put_back(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Retry { .. } | Verdict::Release { .. })
}

/// Rows, workers and attempts.
fn fences(claims: impl Iterator<Item = ClaimRef<i64>>) -> [Arg<'static>; 3] {
    let (mut seqs, mut workers, mut attempts) = (Vec::new(), Vec::new(), Vec::new());
    for claim in claims {
        seqs.push(claim.key);
        workers.push(worker(claim.fence.worker));
        attempts.push(i64::from(claim.fence.attempt));
    }
    [seqs, workers, attempts].map(Arg::Ints)
}

/// A verdict and its pause.
fn verdict(verdict: Verdict) -> (i64, i64) {
    match verdict {
        Verdict::Complete => (COMPLETE, 0),
        Verdict::Retry { after } => (RETRY, micros(after)),
        Verdict::Release { after } => (RELEASE, micros(after)),
        Verdict::Bury => (BURY, 0),
    }
}
