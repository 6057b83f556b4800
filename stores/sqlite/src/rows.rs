//! Rows as values: claimed messages, stored messages, and how numbers cross over to SQLite's one integer type.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use postbox::claim::{Entry, Fence, State};
use postbox::id::{Excerpt, WorkerId};
use postbox::message::{HeaderBuf, Headers, MessageKind, MessageRef, OutboxMessage};
use postbox::store::{ClaimRef, ClaimedMessage, StoredMessage};
use postbox::time::Instant;
use rusqlite::{Row, types::Value};

/// Columns of a row that can be claimed, in the order that [`claimed`] and [`abandoned`] read them.
pub(crate) const CLAIMED: &str = "seq, id, name, kind, key, content_type, headers, payload, \
    attempt, failures, committed_at, state, abandoned";
/// Columns of a stored message, in the order that [`stored`] reads them.
pub(crate) const STORED: &str = "seq, id, name, kind, key, content_type, headers, payload, \
    worker, attempt, failures, committed_at, state, abandoned, due, settled_at, last_error";

/// A message that this worker holds, as [`SqliteOutboxStore`](crate::SqliteOutboxStore) returns it.
///
/// `Debug` prints the payload's length, never its bytes.
///
/// ```
/// use postbox::store::ClaimedMessage;
/// use postbox_sqlite::SqliteClaimed;
///
/// fn show(claimed: &SqliteClaimed) -> String {
///     format!("{} (attempt {})", claimed.message().id, claimed.claim().fence.attempt)
/// }
/// ```
#[derive(Clone)]
pub struct SqliteClaimed {
    pub(crate) claim: ClaimRef<i64>,
    failures: u32,
    age: Duration,
    kind: MessageKind,
    /// Id, name, content type, headers and key, one after the other; and where each but the last ends.
    text: String,
    ends: [usize; 4],
    has_key: bool,
    payload: Vec<u8>,
}

impl SqliteClaimed {
    /// A message that was just stored, born in flight.
    pub(crate) fn born(message: MessageRef<'_>, claim: ClaimRef<i64>) -> Self {
        Self::new(message, claim, 0, Duration::ZERO)
    }

    fn new(message: MessageRef<'_>, claim: ClaimRef<i64>, failures: u32, age: Duration) -> Self {
        let parts = [
            message.id,
            message.name,
            message.content_type,
            message.headers.as_lines(),
        ];
        let mut ends = [0; 4];
        let key = message.key.unwrap_or_default();
        let mut text = String::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + key.len());
        for (part, end) in parts.into_iter().zip(&mut ends) {
            text.push_str(part);
            *end = text.len();
        }
        text.push_str(key);
        Self {
            claim,
            failures,
            age,
            kind: message.kind,
            text,
            ends,
            has_key: message.key.is_some(),
            payload: message.payload.to_vec(),
        }
    }

    fn part(&self, start: usize, end: usize) -> &str {
        self.text.get(start..end).unwrap_or_default()
    }
}

impl ClaimedMessage for SqliteClaimed {
    type Key = i64;

    fn message(&self) -> MessageRef<'_> {
        let [id, name, content_type, headers] = self.ends;
        MessageRef {
            id: self.part(0, id),
            name: self.part(id, name),
            kind: self.kind,
            key: self.has_key.then(|| self.part(headers, self.text.len())),
            payload: &self.payload,
            content_type: self.part(name, content_type),
            headers: Headers::from_lines(self.part(content_type, headers)),
        }
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

impl fmt::Debug for SqliteClaimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteClaimed")
            .field("message", &self.message())
            .field("claim", &self.claim)
            .finish_non_exhaustive()
    }
}

/// Reads a row of [`CLAIMED`] as this worker will hold it.
pub(crate) fn claimed(row: &Row<'_>, worker: WorkerId, now: Instant) -> rusqlite::Result<SqliteClaimed> {
    let attempt = count(row, 8)?.saturating_add(1);
    let claim = ClaimRef {
        key: row.get(0)?,
        fence: Fence { worker, attempt },
    };
    let failures = count(row, 9)?;
    let age = now.since(instant(row, 10)?);
    Ok(SqliteClaimed::new(message(row)?, claim, failures, age))
}

/// Of a row of [`CLAIMED`] whose lease has lapsed: its number, and how often that happened, this time included.
pub(crate) fn abandoned(row: &Row<'_>) -> rusqlite::Result<Option<(i64, u32)>> {
    if row.get_ref(11)?.as_i64()? != IN_FLIGHT {
        return Ok(None);
    }
    Ok(Some((row.get(0)?, count(row, 12)?.saturating_add(1))))
}

/// Reads a row of [`STORED`].
pub(crate) fn stored(row: &Row<'_>) -> rusqlite::Result<StoredMessage> {
    let at = |index| instant(row, index);
    let state = match row.get_ref(12)?.as_i64()? {
        PENDING => State::Pending { due: at(14)? },
        IN_FLIGHT => State::InFlight { until: at(14)? },
        PUBLISHED => State::Published { at: at(15)? },
        _ => State::Dead { at: at(15)? },
    };
    let entry = Entry::restored(state, fence(row, 8)?, count(row, 10)?, count(row, 13)?, at(11)?);
    let message = message(row)?;
    Ok(StoredMessage {
        message: OutboxMessage::from_stored(
            message.id.into(),
            message.name.into(),
            message.kind,
            message.key.map(Into::into),
            message.payload.into(),
            Cow::Owned(message.content_type.into()),
            HeaderBuf::from(message.headers),
        ),
        entry,
        last_error: Excerpt::new(row.get_ref(16)?.as_str()?),
    })
}

/// The states as the table has them.
pub(crate) const PENDING: i64 = 0;
pub(crate) const IN_FLIGHT: i64 = 1;
pub(crate) const PUBLISHED: i64 = 2;
pub(crate) const DEAD: i64 = 3;

fn message<'a>(row: &'a Row<'_>) -> rusqlite::Result<MessageRef<'a>> {
    Ok(MessageRef {
        id: row.get_ref(1)?.as_str()?,
        name: row.get_ref(2)?.as_str()?,
        kind: match row.get_ref(3)?.as_str()? {
            "command" => MessageKind::Command,
            _ => MessageKind::Event,
        },
        key: row.get_ref(4)?.as_str_or_null()?,
        content_type: row.get_ref(5)?.as_str()?,
        headers: Headers::from_lines(row.get_ref(6)?.as_str()?),
        payload: row.get_ref(7)?.as_blob()?,
    })
}

/// The fence, from two columns.
pub(crate) fn fence(row: &Row<'_>, at: usize) -> rusqlite::Result<Fence> {
    Ok(Fence {
        worker: WorkerId::new(row.get_ref(at)?.as_i64()?.cast_unsigned()),
        attempt: count(row, at + 1)?,
    })
}

fn count(row: &Row<'_>, index: usize) -> rusqlite::Result<u32> {
    let number = row.get_ref(index)?.as_i64()?;
    Ok(u32::try_from(number.max(0)).unwrap_or(u32::MAX))
}

pub(crate) fn instant(row: &Row<'_>, index: usize) -> rusqlite::Result<Instant> {
    let micros = row.get_ref(index)?.as_i64()?;
    Ok(Instant::from_micros(u64::try_from(micros).unwrap_or_default()))
}

/// An instant as the tables keep it.
pub(crate) fn micros(instant: Instant) -> i64 {
    i64::try_from(instant.as_micros()).unwrap_or(i64::MAX)
}

/// A worker as the tables keep it: the same 64 bits.
pub(crate) const fn worker(id: WorkerId) -> i64 {
    id.get().cast_signed()
}

/// A count as SQLite takes it.
pub(crate) fn limit(count: usize) -> Value {
    Value::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}
