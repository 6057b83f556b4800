//! Claims: one call that takes what is free, counts lapsed leases, and buries what killed its workers.

use postbox::store::{ClaimRequest, ClaimedMessage as _, MAX_BATCH, Which};

use crate::call::Arg;
use crate::database::{Database, micros};
use crate::error::PostgresError;
use crate::gather;
use crate::options::in_range;
use crate::rows::{self, PostgresClaimed, limit, worker};

pub(crate) async fn run(
    database: &Database,
    request: &ClaimRequest<'_>,
) -> Result<Vec<PostgresClaimed>, PostgresError> {
    in_range("batch (messages)", request.limit, MAX_BATCH, "between 1 and 1024")?;
    if !database.gathering.is_empty() {
        // What was published must not be claimed again. If this fails, the claim will say so.
        let _ = gather::flush(database).await;
    }
    let ids = match request.which {
        Which::Due => None,
        Which::Ids(ids) => Some(ids.to_vec()),
    };
    let args = [
        Arg::Int(worker(request.worker)),
        Arg::Int(micros(request.lease)),
        Arg::Int(limit(request.limit)),
        Arg::Int(i64::from(request.max_abandoned)),
        Arg::MaybeTexts(ids),
        database.keeps(),
        database.at(),
    ];
    let found = database.run(&database.functions.claim, &args).await?;
    let mut batch = Vec::with_capacity(found.len());
    for row in &found {
        match rows::claimed(row, request.worker)? {
            Some(claimed) => batch.push(claimed),
            // What stood behind a buried one may be free now.
            None => database.bell.ring(),
        }
    }
    batch.sort_unstable_by_key(|claimed| claimed.claim().key);
    Ok(batch)
}
