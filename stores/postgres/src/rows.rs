//! Rows as values: claimed messages, stored messages, and how numbers cross over to PostgreSQL's signed types.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use postbox::claim::{Entry, Fence, State};
use postbox::id::{Excerpt, WorkerId};
use postbox::message::{HeaderBuf, Headers, MessageKind, MessageRef, OutboxMessage};
use postbox::store::{ClaimRef, ClaimedMessage, StoredMessage};
use postbox::time::Instant;
use sqlx::Row;
use sqlx::postgres::PgRow;

/// Columns of a stored message, in the order that [`stored`] reads them.
pub(crate) const STORED: &str = "seq, id, name, kind, key, content_type, headers, payload, \
    worker, attempt, failures, abandoned, last_error, outcome, lease_until > '-infinity', \
    (extract(epoch FROM committed_at) * 1000000)::bigint, \
    (extract(epoch FROM coalesce(settled_at, CASE WHEN lease_until > '-infinity' THEN lease_until ELSE due END)) \
     * 1000000)::bigint";

/// A message that this worker holds, as [`PostgresOutboxStore`](crate::PostgresOutboxStore) returns it.
///
/// `Debug` prints the payload's length, never its bytes.
///
/// ```
/// use postbox::store::ClaimedMessage;
/// use postbox_postgres::PostgresClaimed;
///
/// fn show(claimed: &PostgresClaimed) -> String {
///     format!("{} (attempt {})", claimed.message().id, claimed.claim().fence.attempt)
/// }
/// ```
#[derive(Clone)]
pub struct PostgresClaimed {
    pub(crate) claim: ClaimRef<i64>,
    failures: u32,
    age: Duration,
    message: OutboxMessage,
}

impl PostgresClaimed {
    /// A message that was just stored, born in flight.
    pub(crate) const fn born(message: OutboxMessage, claim: ClaimRef<i64>) -> Self {
        Self {
            claim,
            failures: 0,
            age: Duration::ZERO,
            message,
        }
    }
}

impl ClaimedMessage for PostgresClaimed {
    type Key = i64;

    fn message(&self) -> MessageRef<'_> {
        self.message.as_ref()
    }

    fn claim(&self) -> ClaimRef<i64> {
        self.claim
    }

    fn failures(&self) -> u32 {
        self.failures
    }

    fn age(&self) -> Duration {
        self.age
    }
}

impl fmt::Debug for PostgresClaimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresClaimed")
            .field("message", &self.message)
            .field("claim", &self.claim)
            .finish_non_exhaustive()
    }
}

/// Reads a row of `claim`; `None` when the claim buried it.
pub(crate) fn claimed(row: &PgRow, worker: WorkerId) -> Result<Option<PostgresClaimed>, sqlx::Error> {
    let Some(attempt) = row.try_get::<Option<i64>, _>(8)? else {
        return Ok(None);
    };
    let attempt = small(attempt);
    Ok(Some(PostgresClaimed {
        claim: ClaimRef {
            key: row.try_get(0)?,
            fence: Fence { worker, attempt },
        },
        failures: small(row.try_get(9)?),
        age: Duration::from_micros(whole(row.try_get(10)?)),
        message: message(row)?,
    }))
}

/// Reads a row of [`STORED`].
pub(crate) fn stored(row: &PgRow) -> Result<StoredMessage, sqlx::Error> {
    let at = instant(row, 16)?;
    let leased: bool = row.try_get(14)?;
    let state = match row.try_get::<Option<&str>, _>(13)? {
        Some("published") => State::Published { at },
        Some(_) => State::Dead { at },
        None if leased => State::InFlight { until: at },
        None => State::Pending { due: at },
    };
    let fence = Fence {
        worker: WorkerId::new(row.try_get::<i64, _>(8)?.cast_unsigned()),
        attempt: small(row.try_get(9)?),
    };
    let (failures, abandoned) = (small(row.try_get(10)?), small(row.try_get(11)?));
    Ok(StoredMessage {
        message: message(row)?,
        entry: Entry::restored(state, fence, failures, abandoned, instant(row, 15)?),
        last_error: Excerpt::new(row.try_get(12)?),
    })
}

/// The columns 1 to 7 of both.
fn message(row: &PgRow) -> Result<OutboxMessage, sqlx::Error> {
    let kind = match row.try_get::<&str, _>(3)? {
        "command" => MessageKind::Command,
        _ => MessageKind::Event,
    };
    Ok(OutboxMessage::from_stored(
        row.try_get(1)?,
        row.try_get(2)?,
        kind,
        row.try_get(4)?,
        row.try_get(7)?,
        Cow::Owned(row.try_get(5)?),
        HeaderBuf::from(Headers::from_lines(row.try_get(6)?)),
    ))
}

pub(crate) fn instant(row: &PgRow, index: usize) -> Result<Instant, sqlx::Error> {
    Ok(Instant::from_micros(whole(row.try_get(index)?)))
}

/// A count of 32 bits, which the table keeps in 64.
pub(crate) fn small(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

/// A number that is never negative.
pub(crate) fn whole(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// A worker as the table keeps it: the same 64 bits.
pub(crate) const fn worker(id: WorkerId) -> i64 {
    id.get().cast_signed()
}

/// A count as the functions take it.
pub(crate) fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
