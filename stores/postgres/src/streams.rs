//! Streams, snapshots and receipts as they are read.

use std::borrow::Cow;

use postbox::aggregate::{
    EventRecord, InboxReceipt, RepositoryError, SnapshotRecord, StreamIdentity, StreamTail,
};
use postbox::id::Excerpt;
use postbox::message::{Codec, HeaderBuf};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::call::{Arg, Function};
use crate::database::Database;
use crate::error::PostgresError;
use crate::rows::{instant, whole};

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
