//! Claims: one statement that takes what is free, counts lapsed leases, and buries what killed its workers.

use std::sync::LazyLock;
use std::time::Duration;

use postbox::id::WorkerId;
use postbox::store::{ClaimRequest, MAX_BATCH, Which};
use rusqlite::CachedStatement;

use crate::error::{Fault, SqliteError};
use crate::job::Scope;
use crate::options::in_range;
use crate::rows::{self, SqliteClaimed, limit, micros, worker};

/// What a message that was abandoned too often died of.
const ABANDONED: &str = "its lease lapsed too often without a word from the holder";

/// The free rows, first come first served; an index hands them out in this order.
const FREE: &str = "SELECT seq FROM postbox_outbox \
    WHERE state < 2 AND blocked = 0 AND due <= ?1 ORDER BY due, seq LIMIT ?4";
/// The free ones of these ids. The plus keeps SQLite from walking all free rows to find them.
const FREE_IDS: &str = "SELECT DISTINCT o.seq FROM json_each(?7) AS wanted \
    CROSS JOIN postbox_outbox AS o ON o.id = wanted.value \
    WHERE o.state < 2 AND o.blocked = 0 AND +o.due <= ?1 ORDER BY o.due, o.seq LIMIT ?4";

/// 1 now, 2 lease end, 3 worker, 4 limit, 5 abandonments allowed, 6 what it died of, 7 ids.
pub(crate) static CLAIM_DUE: LazyLock<String> = LazyLock::new(|| statement(FREE));
pub(crate) static CLAIM_IDS: LazyLock<String> = LazyLock::new(|| statement(FREE_IDS));

fn statement(free: &str) -> String {
    let buried = "(state = 1 AND abandoned + 1 >= ?5)";
    format!(
        "UPDATE postbox_outbox SET \
           state = CASE WHEN {buried} THEN 3 ELSE 1 END, \
           settled_at = CASE WHEN {buried} THEN ?1 END, \
           last_error = CASE WHEN {buried} THEN ?6 ELSE last_error END, \
           due = CASE WHEN {buried} THEN due ELSE ?2 END, \
           worker = CASE WHEN {buried} THEN worker ELSE ?3 END, \
           attempt = CASE WHEN {buried} THEN attempt ELSE min(attempt + 1, 4294967295) END, \
           abandoned = min(abandoned + (state = 1), 4294967295) \
         WHERE seq IN ({free}) RETURNING {}",
        rows::CLAIMED
    )
}

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
        let sql = if self.ids.is_some() {
            &CLAIM_IDS
        } else {
            &CLAIM_DUE
        };
        let mut statement: CachedStatement<'_> = scope.connection.prepare_cached(sql)?;
        statement.raw_bind_parameter(1, micros(now))?;
        statement.raw_bind_parameter(2, micros(now + self.lease))?;
        statement.raw_bind_parameter(3, worker(self.worker))?;
        statement.raw_bind_parameter(4, limit(self.limit))?;
        statement.raw_bind_parameter(5, self.max_abandoned)?;
        statement.raw_bind_parameter(6, ABANDONED)?;
        if let Some(ids) = &self.ids {
            statement.raw_bind_parameter(7, ids)?;
        }
        let (mut batch, mut buried) = (Vec::new(), false);
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            match rows::claimed(row, now)? {
                Some(claimed) => batch.push(claimed),
                None => buried = true,
            }
        }
        if buried {
            // What stood behind a buried one may be free now.
            scope.ring();
        }
        // SQLite goes through the rows by their number, but does not promise it.
        if !batch.is_sorted_by_key(|claimed| claimed.claim.key) {
            batch.sort_unstable_by_key(|claimed| claimed.claim.key);
        }
        Ok(batch)
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
