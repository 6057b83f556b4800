//! Claims: takes what is free, counts lapsed leases, and buries what killed its workers.
//!
//! A claim may be lost in a power cut (see [`group`](crate::group)): the message is free again, and the next claim of it
//! has the same attempt number. That makes no fence of two holders alike: whoever held the lost one ran on this
//! machine, since the file is on a local disk, and died in the same moment.

use std::sync::LazyLock;
use std::time::Duration;

use postbox::id::WorkerId;
use postbox::store::{ClaimRequest, MAX_BATCH, Which};
use postbox::time::Instant;
use rusqlite::{CachedStatement, params};

use crate::error::{Fault, SqliteError};
use crate::job::Scope;
use crate::options::in_range;
use crate::rows::{self, SqliteClaimed, limit, micros, worker};

/// What a message that was abandoned too often died of.
const ABANDONED: &str = "its lease lapsed too often without a word from the holder";

/// The free rows, first come first served; an index hands them out in this order. 1 now, 2 limit.
pub(crate) static FREE: LazyLock<String> = LazyLock::new(|| {
    let columns = rows::CLAIMED;
    format!(
        "SELECT {columns} FROM postbox_outbox \
         WHERE state < 2 AND blocked = 0 AND due <= ?1 ORDER BY due, seq LIMIT ?2"
    )
});
/// The free ones of these ids; sorted without their payloads. The plus keeps SQLite from walking all free rows to find
/// them. 1 now, 2 limit, 3 ids.
pub(crate) static FREE_IDS: LazyLock<String> = LazyLock::new(|| {
    let columns = rows::CLAIMED;
    format!(
        "SELECT {columns} FROM postbox_outbox WHERE seq IN ( \
           SELECT o.seq FROM json_each(?3) AS wanted CROSS JOIN postbox_outbox AS o ON o.id = wanted.value \
           WHERE o.state < 2 AND o.blocked = 0 AND +o.due <= ?1 ORDER BY o.due, o.seq LIMIT ?2)"
    )
});
/// 1 the first row, 2 the last, 3 lease end, 4 worker. `RETURNING` would copy each row twice; and a claim that fails
/// is undone with its transaction, so SQLite need not be able to undo the statement alone.
pub(crate) const TAKE: &str = "UPDATE OR FAIL postbox_outbox \
    SET state = 1, due = ?3, worker = ?4, attempt = attempt + (attempt < 4294967295) WHERE seq BETWEEN ?1 AND ?2";
/// 1 the row, 2 how often.
pub(crate) const LAPSED: &str = "UPDATE OR FAIL postbox_outbox SET abandoned = ?2 WHERE seq = ?1";
/// 1 the row, 2 how often, 3 now, 4 what it died of.
pub(crate) const BURY: &str = "UPDATE OR FAIL postbox_outbox \
    SET state = 3, abandoned = ?2, settled_at = ?3, last_error = ?4 WHERE seq = ?1";

/// A claim that can be sent to another thread.
pub(crate) struct Claim {
    worker: WorkerId,
    lease: Duration,
    limit: usize,
    max_abandoned: u32,
    /// The ids as a JSON array.
    ids: Option<String>,
}

impl Claim {
    pub(crate) fn new(request: &ClaimRequest<'_>) -> Result<Self, SqliteError> {
        in_range("batch (messages)", request.limit, MAX_BATCH, "between 1 and 1024")?;
        let ids = match request.which {
            Which::Due => None,
            Which::Ids(ids) => Some(json(ids)),
        };
        Ok(Self {
            worker: request.worker,
            lease: request.lease,
            limit: request.limit,
            max_abandoned: request.max_abandoned,
            ids,
        })
    }

    pub(crate) fn run(&self, scope: &Scope<'_>) -> Result<Vec<SqliteClaimed>, Fault<SqliteError>> {
        let now = scope.now();
        let (mut batch, mut lapsed, mut buried) = (Vec::new(), Vec::new(), Vec::new());
        let mut free = self.free(scope, now)?;
        let mut rows = free.raw_query();
        while let Some(row) = rows.next()? {
            if let Some((key, times)) = rows::abandoned(row)? {
                if times >= self.max_abandoned {
                    buried.push((key, times));
                    continue;
                }
                lapsed.push((key, times));
            }
            batch.push(rows::claimed(row, self.worker, now)?);
        }
        drop(rows);
        if !batch.is_sorted_by_key(|claimed| claimed.claim.key) {
            batch.sort_unstable_by_key(|claimed| claimed.claim.key);
        }
        self.take(scope, &batch, now)?;
        for claim in lapsed {
            scope.connection.prepare_cached(LAPSED)?.execute(claim)?;
        }
        for (key, times) in &buried {
            let mut bury = scope.connection.prepare_cached(BURY)?;
            bury.execute(params![key, times, micros(now), ABANDONED])?;
            // What stood behind a buried one may be free now.
            scope.ring();
        }
        Ok(batch)
    }

    fn free<'a>(&self, scope: &Scope<'a>, now: Instant) -> rusqlite::Result<CachedStatement<'a>> {
        let sql = if self.ids.is_some() { &FREE_IDS } else { &FREE };
        let mut statement = scope.connection.prepare_cached(sql)?;
        statement.raw_bind_parameter(1, micros(now))?;
        statement.raw_bind_parameter(2, limit(self.limit))?;
        if let Some(ids) = &self.ids {
            statement.raw_bind_parameter(3, ids)?;
        }
        Ok(statement)
    }

    /// Marks the rows, which are sorted: one statement for each run of them without a gap. Of a backlog a batch is one.
    fn take(&self, scope: &Scope<'_>, batch: &[SqliteClaimed], now: Instant) -> rusqlite::Result<()> {
        let key = |claimed: &SqliteClaimed| claimed.claim.key;
        let (until, worker) = (micros(now + self.lease), worker(self.worker));
        for run in batch.chunk_by(|one, next| key(next).wrapping_sub(key(one)) == 1) {
            if let (Some(first), Some(last)) = (run.first(), run.last()) {
                let mut take = scope.connection.prepare_cached(TAKE)?;
                take.execute([key(first), key(last), until, worker])?;
            }
        }
        Ok(())
    }
}

/// Text as a JSON array, each once: how a list travels in one parameter.
fn json(list: &[&str]) -> String {
    let mut list = list.to_vec();
    list.sort_unstable();
    list.dedup();
    // Strings always serialise.
    serde_json::to_string(&list).unwrap_or_default()
}
