//! Streams, snapshots and receipts: the statements behind the repository.

use std::borrow::Cow;

use postbox::aggregate::{
    CommitBatch, Committed, CommittedMessage, EventRecord, InboxReceipt, RepositoryError, SnapshotRecord,
    StreamIdentity, StreamTail,
};
use postbox::id::Excerpt;
use postbox::message::{Codec, HeaderBuf};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::call::{Arg, Function};
use crate::database::Database;
use crate::enqueue::{self, Born, place};
use crate::error::{CONCURRENT_WRITE, DUPLICATE_MESSAGE, DUPLICATE_RECEIPT, PostgresError};
use crate::rows::{instant, whole};
use crate::single::{self, UNIQUE_VIOLATION};

/// Stores a batch by one statement.
pub(crate) async fn commit(
    database: &Database,
    batch: CommitBatch,
) -> Result<Committed<i64>, RepositoryError> {
    batch.check(&database.options.outbox)?;
    if batch.is_empty() {
        return Ok(Committed { messages: Vec::new() });
    }
    let born = match commit_one(database, &batch).await? {
        Some(born) => born,
        None => commit_all(database, &batch).await?,
    };
    let claims: Vec<_> = born.claims(&batch.messages).collect();
    if born.free {
        database.bell.ring();
        database.notices.tell(database).await;
    } else if batch.messages.iter().any(|message| !message.delay().is_zero()) {
        // Nothing is free, but whoever sleeps here asks again until when.
        database.bell.ring();
    }
    let messages = batch
        .messages
        .iter()
        .zip(claims)
        .map(|(message, claim)| CommittedMessage {
            id: message.id().to_owned(),
            claim,
        });
    Ok(Committed {
        messages: messages.collect(),
    })
}

/// One event and one message, if that is all; `None` when it is not, and when something of it is there already: what
/// that is, [`commit_all`] tells.
async fn commit_one(database: &Database, batch: &CommitBatch) -> Result<Option<Born>, RepositoryError> {
    let (Some(mut args), [message]) = (single::commit(batch), &*batch.messages) else {
        return Ok(None);
    };
    args.push(database.at());
    match database.run(&database.functions.commit_one, &args).await {
        Ok(rows) => Ok(Some(
            single::born(&rows, message.id(), batch.claim).map_err(unreadable)?,
        )),
        Err(error) if error.sqlstate().as_deref() == Some(UNIQUE_VIOLATION) => Ok(None),
        Err(error) => Err(refusal(error, batch)),
    }
}

async fn commit_all(database: &Database, batch: &CommitBatch) -> Result<Born, RepositoryError> {
    let mut args = Vec::with_capacity(33);
    push_streams(&mut args, batch);
    push_snapshots(&mut args, batch);
    args.push(Arg::Texts(
        batch.receipts.iter().map(InboxReceipt::consumer).collect(),
    ));
    args.push(Arg::Texts(
        batch.receipts.iter().map(InboxReceipt::message_id).collect(),
    ));
    enqueue::push(&mut args, &batch.messages, batch.claim);
    args.push(database.at());
    match database.run(&database.functions.commit, &args).await {
        Ok(rows) => Ok(Born::read(&rows, batch.claim).map_err(unreadable)?),
        Err(error) => Err(refusal(error, batch)),
    }
}

/// What was stored cannot be undone by a row that does not read: that would be this program's mistake.
fn unreadable(error: sqlx::Error) -> PostgresError {
    PostgresError::Unknown { source: error.into() }
}

/// The events after a version, and the stream's version, by one statement.
pub(crate) async fn load(
    database: &Database,
    stream: &StreamIdentity,
    after: u64,
) -> Result<Option<StreamTail>, RepositoryError> {
    let table = database.options.names.qualified("events");
    let micros = "(extract(epoch FROM e.recorded_at) * 1000000)::bigint";
    let select = Function::statement(format!(
        "SELECT v.version, e.sequence, e.name, e.version, e.codec, e.codec_version, {micros}, e.metadata, e.payload \
         FROM (SELECT m.stream_type, m.stream_id, m.sequence AS version FROM {table} m \
               WHERE m.stream_type = $1 AND m.stream_id = $2 ORDER BY m.sequence DESC LIMIT 1) v \
         LEFT JOIN {table} e ON e.stream_type = v.stream_type AND e.stream_id = v.stream_id AND e.sequence > $3 \
         ORDER BY e.sequence"
    ));
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let args = [Arg::Text(stream.kind()), Arg::Text(stream.id()), Arg::Int(after)];
    let rows = database.run(&select, &args).await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let mut tail = StreamTail {
        version: number(first, 0)?,
        events: Vec::with_capacity(rows.len()),
    };
    for row in &rows {
        if let Some(sequence) = row.try_get::<Option<i64>, _>(1).map_err(PostgresError::from)? {
            tail.events.push(event(stream, whole(sequence), row)?);
        }
    }
    Ok(Some(tail))
}

pub(crate) async fn snapshot(
    database: &Database,
    stream: &StreamIdentity,
) -> Result<Option<SnapshotRecord>, RepositoryError> {
    let table = database.options.names.qualified("snapshots");
    let select = Function::statement(format!(
        "SELECT version, state_type, state_version, codec, codec_version, payload FROM {table} \
         WHERE stream_type = $1 AND stream_id = $2"
    ));
    let args = [Arg::Text(stream.kind()), Arg::Text(stream.id())];
    let rows = database.run(&select, &args).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    Ok(Some(SnapshotRecord {
        stream: stream.clone(),
        version: number(row, 0)?,
        state_type: get(row, 1)?,
        state_version: small(row, 2)?,
        codec: codec(row, 3)?,
        payload: get(row, 5)?,
    }))
}

pub(crate) async fn has_receipt(
    database: &Database,
    receipt: &InboxReceipt,
) -> Result<bool, RepositoryError> {
    let table = database.options.names.qualified("inbox");
    let select = format!("SELECT 1 FROM {table} WHERE consumer = $1 AND message_id = $2");
    let args = [Arg::Text(receipt.consumer()), Arg::Text(receipt.message_id())];
    Ok(!database
        .run(&Function::statement(select), &args)
        .await?
        .is_empty())
}

fn push_streams<'a>(args: &mut Vec<Arg<'a>>, batch: &'a CommitBatch) {
    let streams = || batch.streams.iter();
    let clamped = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let events = || {
        streams().flat_map(|write| {
            let sequences = write.expected.saturating_add(1)..;
            sequences
                .zip(&write.events)
                .map(move |(sequence, event)| (write, sequence, event))
        })
    };
    args.extend([
        Arg::Texts(streams().map(|write| write.stream.kind()).collect()),
        Arg::Texts(streams().map(|write| write.stream.id()).collect()),
        Arg::Ints(streams().map(|write| clamped(write.expected)).collect()),
        Arg::Texts(events().map(|(write, ..)| write.stream.kind()).collect()),
        Arg::Texts(events().map(|(write, ..)| write.stream.id()).collect()),
        Arg::Ints(events().map(|(_, sequence, _)| clamped(sequence)).collect()),
        Arg::Texts(events().map(|(.., event)| &*event.name).collect()),
        Arg::Ints(events().map(|(.., event)| i64::from(event.version)).collect()),
        Arg::Texts(events().map(|(.., event)| event.codec.name()).collect()),
        Arg::Ints(
            events()
                .map(|(.., event)| i64::from(event.codec.version()))
                .collect(),
        ),
        Arg::Texts(
            events()
                .map(|(.., event)| event.metadata.as_headers().as_lines())
                .collect(),
        ),
        Arg::Blobs(events().map(|(.., event)| &*event.payload).collect()),
    ]);
}

fn push_snapshots<'a>(args: &mut Vec<Arg<'a>>, batch: &'a CommitBatch) {
    let snapshots = || batch.snapshots.iter();
    let versions = snapshots().map(|snapshot| i64::try_from(snapshot.version).unwrap_or(i64::MAX));
    args.extend([
        Arg::Texts(snapshots().map(|snapshot| snapshot.stream.kind()).collect()),
        Arg::Texts(snapshots().map(|snapshot| snapshot.stream.id()).collect()),
        Arg::Ints(versions.collect()),
        Arg::Texts(snapshots().map(|snapshot| &*snapshot.state_type).collect()),
        Arg::Ints(
            snapshots()
                .map(|snapshot| i64::from(snapshot.state_version))
                .collect(),
        ),
        Arg::Texts(snapshots().map(|snapshot| snapshot.codec.name()).collect()),
        Arg::Ints(
            snapshots()
                .map(|snapshot| i64::from(snapshot.codec.version()))
                .collect(),
        ),
        Arg::Blobs(snapshots().map(|snapshot| &*snapshot.payload).collect()),
    ]);
}

/// What an error of the function means for this batch.
fn refusal(error: PostgresError, batch: &CommitBatch) -> RepositoryError {
    let state = error.sqlstate();
    let at = place(&error);
    match state.as_deref() {
        Some(CONCURRENT_WRITE) => {
            let actual = error
                .detail()
                .and_then(|detail| detail.split(' ').nth(1)?.parse().ok());
            if let (Some(write), Some(actual)) = (at.and_then(|at| batch.streams.get(at)), actual) {
                return RepositoryError::ConcurrentWrite {
                    stream: write.stream.clone(),
                    expected: write.expected,
                    actual,
                };
            }
        }
        Some(DUPLICATE_MESSAGE) => {
            if let Some(message) = at.and_then(|at| batch.messages.get(at)) {
                let id = message.id().to_owned();
                return RepositoryError::DuplicateMessage { id };
            }
        }
        Some(DUPLICATE_RECEIPT) => {
            if let Some(receipt) = at.and_then(|at| batch.receipts.get(at)) {
                let receipt = receipt.clone();
                return RepositoryError::DuplicateReceipt { receipt };
            }
        }
        _ => {}
    }
    error.into()
}

fn event(stream: &StreamIdentity, sequence: u64, row: &PgRow) -> Result<EventRecord, RepositoryError> {
    Ok(EventRecord {
        name: Cow::Owned(get(row, 2)?),
        version: small(row, 3)?,
        codec: codec(row, 4).map_err(|error| match error {
            RepositoryError::Invalid(invalid) => RepositoryError::Replay {
                stream: stream.clone(),
                sequence,
                reason: Excerpt::display(&invalid),
            },
            error => error,
        })?,
        payload: get(row, 8)?,
        sequence,
        recorded_at: instant(row, 6).map_err(PostgresError::from)?,
        metadata: HeaderBuf::from_lines(get(row, 7)?),
    })
}

/// A codec's name and version, in two columns.
fn codec(row: &PgRow, index: usize) -> Result<Codec, RepositoryError> {
    let (name, version): (String, _) = (get(row, index)?, small(row, index + 1)?);
    if name == Codec::JSON.name() && version == Codec::JSON.version() {
        return Ok(Codec::JSON);
    }
    Ok(Codec::new(name, version)?)
}

fn number(row: &PgRow, index: usize) -> Result<u64, RepositoryError> {
    get(row, index).map(whole)
}

fn small(row: &PgRow, index: usize) -> Result<u32, RepositoryError> {
    get(row, index).map(crate::rows::small)
}

fn get<T>(row: &PgRow, index: usize) -> Result<T, RepositoryError>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    Ok(row.try_get(index).map_err(PostgresError::from)?)
}
