//! Streams, snapshots and receipts: the statements behind the repository, run inside of a transaction.

use std::borrow::Cow;

use postbox::aggregate::{
    CommitBatch, Committed, CommittedMessage, EventRecord, InboxReceipt, RepositoryError, SnapshotRecord,
    StreamIdentity, StreamTail, StreamWrite,
};
use postbox::id::Excerpt;
use postbox::message::{Codec, HeaderBuf};
use postbox::time::Instant;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::enqueue::{INSERT, Inserted, insert};
use crate::error::Fault;
use crate::job::Scope;
use crate::rows::{instant, micros};

const VERSION: &str = "SELECT max(sequence) FROM postbox_events WHERE stream_type = ?1 AND stream_id = ?2";
const APPEND: &str = "INSERT INTO postbox_events (stream_type, stream_id, sequence, name, version, codec, \
    codec_version, recorded_at, metadata, payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
    ON CONFLICT DO NOTHING";
const TAIL: &str = "SELECT sequence, name, version, codec, codec_version, recorded_at, metadata, payload \
    FROM postbox_events WHERE stream_type = ?1 AND stream_id = ?2 AND sequence > ?3 ORDER BY sequence";
const SNAPSHOT: &str = "SELECT version, state_type, state_version, codec, codec_version, payload \
    FROM postbox_snapshots WHERE stream_type = ?1 AND stream_id = ?2";
/// The latest commit counts, whatever its version: that heals a snapshot which is ahead of its stream.
const KEEP_SNAPSHOT: &str = "INSERT INTO postbox_snapshots (stream_type, stream_id, version, state_type, \
    state_version, codec, codec_version, taken_at, payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
    ON CONFLICT (stream_type, stream_id) DO UPDATE SET version = excluded.version, \
    state_type = excluded.state_type, state_version = excluded.state_version, codec = excluded.codec, \
    codec_version = excluded.codec_version, taken_at = excluded.taken_at, payload = excluded.payload";
const RECEIVE: &str = "INSERT INTO postbox_inbox (consumer, message_id, received_at) VALUES (?1, ?2, ?3) \
    ON CONFLICT DO NOTHING";
const RECEIVED: &str = "SELECT EXISTS (SELECT 1 FROM postbox_inbox WHERE consumer = ?1 AND message_id = ?2)";

type Outcome<T> = Result<T, Fault<RepositoryError>>;

/// Stores a batch that was checked. On any error the caller rolls its part of the transaction back.
pub(crate) fn commit(scope: &Scope<'_>, batch: &CommitBatch) -> Outcome<Committed<i64>> {
    let now = scope.now();
    // First what says "this was done already": it must win over the lost race that may come with it.
    for receipt in &batch.receipts {
        receive(scope.connection, receipt, now)?;
    }
    for write in &batch.streams {
        append(scope, write, now)?;
    }
    for snapshot in &batch.snapshots {
        keep_snapshot(scope.connection, snapshot, now)?;
    }
    let mut messages = Vec::with_capacity(batch.messages.len());
    for message in &batch.messages {
        let id = message.id().to_owned();
        let inserted = scope.with(&scope.insert, INSERT, |statement| {
            insert(scope.connection, statement, message, batch.claim, now)
        })?;
        let claim = match inserted? {
            Inserted::Duplicate => return Err(Fault::Refused(RepositoryError::DuplicateMessage { id })),
            Inserted::Claimed(claim) => Some(claim),
            Inserted::Free => {
                scope.ring();
                None
            }
            Inserted::Waits => {
                // Due later: whoever sleeps asks again until when.
                if !message.delay().is_zero() {
                    scope.ring();
                }
                None
            }
        };
        messages.push(CommittedMessage { id, claim });
    }
    Ok(Committed { messages })
}

/// The events after a version, and the stream's version.
pub(crate) fn load(scope: &Scope<'_>, stream: &StreamIdentity, after: u64) -> Outcome<Option<StreamTail>> {
    let from = i64::try_from(after).unwrap_or(i64::MAX);
    let mut statement = scope.connection.prepare_cached(TAIL)?;
    let mut rows = statement.query(params![stream.kind(), stream.id(), from])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push(event(stream, row)?);
    }
    let version = match events.last() {
        Some(last) => Some(last.sequence),
        None => version(scope.connection, stream)?,
    };
    Ok(version.map(|version| StreamTail { version, events }))
}

pub(crate) fn snapshot(scope: &Scope<'_>, stream: &StreamIdentity) -> Outcome<Option<SnapshotRecord>> {
    let mut statement = scope.connection.prepare_cached(SNAPSHOT)?;
    let mut rows = statement.query(params![stream.kind(), stream.id()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some(SnapshotRecord {
        stream: stream.clone(),
        version: number(row, 0)?,
        state_type: row.get(1)?,
        state_version: row.get(2)?,
        codec: codec(row, 3)?,
        payload: row.get(5)?,
    }))
}

pub(crate) fn has_receipt(scope: &Scope<'_>, receipt: &InboxReceipt) -> Outcome<bool> {
    let mut statement = scope.connection.prepare_cached(RECEIVED)?;
    Ok(statement.query_row([receipt.consumer(), receipt.message_id()], |row| row.get(0))?)
}

fn receive(connection: &Connection, receipt: &InboxReceipt, now: Instant) -> Outcome<()> {
    let mut statement = connection.prepare_cached(RECEIVE)?;
    let new = statement.execute(params![receipt.consumer(), receipt.message_id(), micros(now)])?;
    if new == 0 {
        return Err(Fault::Refused(RepositoryError::DuplicateReceipt {
            receipt: receipt.clone(),
        }));
    }
    Ok(())
}

fn append(scope: &Scope<'_>, write: &StreamWrite, now: Instant) -> Outcome<()> {
    let connection = scope.connection;
    let (stream, expected) = (&write.stream, write.expected);
    let lost = |actual| {
        Fault::Refused(RepositoryError::ConcurrentWrite {
            stream: stream.clone(),
            expected,
            actual,
        })
    };
    // The first event of a stream that there is meets its first event: that needs no look before.
    if expected > 0 || write.events.is_empty() {
        let actual = version(connection, stream)?.unwrap_or_default();
        if actual != expected {
            return Err(lost(actual));
        }
    }
    for (sequence, event) in (expected.saturating_add(1)..).zip(&write.events) {
        let stored = scope.with(&scope.append, APPEND, |statement| {
            statement.execute(params![
                stream.kind(),
                stream.id(),
                i64::try_from(sequence).unwrap_or(i64::MAX),
                event.name,
                event.version,
                event.codec.name(),
                event.codec.version(),
                micros(now),
                event.metadata.as_headers().as_lines(),
                event.payload,
            ])
        })?;
        if stored? == 0 {
            return Err(lost(version(connection, stream)?.unwrap_or_default()));
        }
    }
    Ok(())
}

fn keep_snapshot(connection: &Connection, snapshot: &SnapshotRecord, now: Instant) -> Outcome<()> {
    connection.prepare_cached(KEEP_SNAPSHOT)?.execute(params![
        snapshot.stream.kind(),
        snapshot.stream.id(),
        i64::try_from(snapshot.version).unwrap_or(i64::MAX),
        snapshot.state_type,
        snapshot.state_version,
        snapshot.codec.name(),
        snapshot.codec.version(),
        micros(now),
        snapshot.payload,
    ])?;
    Ok(())
}

/// The stream's version; `None` when it does not exist.
fn version(connection: &Connection, stream: &StreamIdentity) -> rusqlite::Result<Option<u64>> {
    let mut statement = connection.prepare_cached(VERSION)?;
    let version = statement
        .query_row([stream.kind(), stream.id()], |row| row.get::<_, Option<i64>>(0))
        .optional()?;
    Ok(version.flatten().and_then(|version| u64::try_from(version).ok()))
}

fn event(stream: &StreamIdentity, row: &Row<'_>) -> Outcome<EventRecord> {
    let sequence = number(row, 0)?;
    Ok(EventRecord {
        name: Cow::Owned(row.get(1)?),
        version: row.get(2)?,
        codec: codec(row, 3).map_err(|fault| match fault {
            Fault::Refused(error) => Fault::Refused(RepositoryError::Replay {
                stream: stream.clone(),
                sequence,
                reason: Excerpt::display(&error),
            }),
            fault @ Fault::Sqlite(_) => fault,
        })?,
        payload: row.get(7)?,
        sequence,
        recorded_at: instant(row, 5)?,
        metadata: HeaderBuf::from_lines(row.get(6)?),
    })
}

/// A codec's name and version, in two columns.
fn codec(row: &Row<'_>, index: usize) -> Outcome<Codec> {
    let name = row.get_ref(index)?.as_str().map_err(rusqlite::Error::from)?;
    let version: u32 = row.get(index + 1)?;
    if name == Codec::JSON.name() && version == Codec::JSON.version() {
        return Ok(Codec::JSON);
    }
    Codec::new(name.to_owned(), version).map_err(|invalid| Fault::Refused(invalid.into()))
}

fn number(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(index)?).unwrap_or_default())
}
