//! A commit: streams, snapshots, receipts and messages by one statement. Which commits share one, `group` decides.

mod drive;
mod group;
pub(crate) mod single;
mod turn;

use std::sync::Arc;

use postbox::aggregate::{Birth, CommitBatch, Committed, CommittedMessage, InboxReceipt, RepositoryError};
use sqlx::Postgres;
use sqlx::pool::PoolConnection;

use crate::call::Arg;
use crate::database::Database;
use crate::enqueue::{self, Born, place};
use crate::error::{CONCURRENT_WRITE, DUPLICATE_MESSAGE, DUPLICATE_RECEIPT, PostgresError};
pub(crate) use group::Commits;
use group::Stored;

/// Stores a batch by one statement, maybe together with others.
pub(crate) async fn commit(
    database: &Arc<Database>,
    batch: CommitBatch,
) -> Result<Committed<i64>, RepositoryError> {
    batch.check(&database.options.outbox)?;
    if batch.is_empty() {
        return Ok(Committed { messages: Vec::new() });
    }
    let ids: Vec<String> = batch
        .messages
        .iter()
        .map(|message| message.id().to_owned())
        .collect();
    let committed = |born: &Born| {
        let claim = |id: String| CommittedMessage {
            claim: born.claim(&id),
            id,
        };
        Committed {
            messages: ids.into_iter().map(claim).collect(),
        }
    };
    match group::store(database, batch).await {
        Stored::Yes(born) => Ok(committed(&born)),
        Stored::NotYet(batch) => {
            let alone = [&batch];
            let born = store_all(database, &mut None, &alone, batch.claim, Patience::Long).await;
            let born = born.map_err(|error| refusal(error, &batch))?;
            announce(database, &alone, &born).await;
            Ok(committed(&born))
        }
        Stored::No(batch, error) => Err(refusal(error, &batch)),
    }
}

/// Tells backstops of what they may claim.
async fn announce(database: &Database, batches: &[&CommitBatch], born: &Born) {
    let mut messages = batches.iter().flat_map(|batch| &batch.messages);
    if born.free {
        database.bell.ring();
        database.notices.tell(database).await;
    } else if messages.any(|message| !message.delay().is_zero()) {
        // Nothing is free, but whoever sleeps here asks again until when.
        database.bell.ring();
    }
}

/// How long to wait for each lock of somebody else, and whether a refusal says why.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Patience {
    /// Moments: others wait meanwhile, for whom nothing is locked. A refusal says little.
    Short,
    /// As long as the server lets statements wait.
    Long,
}

/// Stores batches with one claim by one statement, or none of them. Does not wait long for locks.
async fn store(
    database: &Database,
    connection: &mut Option<PoolConnection<Postgres>>,
    batches: &[&CommitBatch],
    claim: Option<Birth>,
) -> Result<Born, PostgresError> {
    if let [batch] = batches
        && let Some(mut args) = single::commit(batch)
    {
        args.push(database.at());
        let commit_one = &database.functions.commit_one;
        let rows = database.run_on(connection, commit_one, &args).await?;
        return Born::read(&rows, &batch.messages, claim).map_err(unreadable);
    }
    store_all(database, connection, batches, claim, Patience::Short).await
}

async fn store_all(
    database: &Database,
    connection: &mut Option<PoolConnection<Postgres>>,
    batches: &[&CommitBatch],
    claim: Option<Birth>,
    patience: Patience,
) -> Result<Born, PostgresError> {
    let mut args = Vec::with_capacity(38);
    push_streams(&mut args, batches);
    push_snapshots(&mut args, batches);
    let receipts = || batches.iter().flat_map(|batch| &batch.receipts);
    args.push(Arg::Texts(receipts().map(InboxReceipt::consumer).collect()));
    args.push(Arg::Texts(receipts().map(InboxReceipt::message_id).collect()));
    let messages = || batches.iter().flat_map(|batch| &batch.messages);
    enqueue::push(&mut args, messages, claim);
    args.push(database.at());
    let commit = match patience {
        Patience::Short => {
            args.push(Arg::Bool(false));
            &database.functions.commit_all
        }
        Patience::Long => &database.functions.commit,
    };
    let rows = database.run_on(connection, commit, &args).await?;
    Born::read(&rows, messages(), claim).map_err(unreadable)
}

/// What was stored cannot be undone by a row that does not read: that would be this program's mistake.
fn unreadable(error: sqlx::Error) -> PostgresError {
    PostgresError::Unknown { source: error.into() }
}

fn push_streams<'a>(args: &mut Vec<Arg<'a>>, batches: &[&'a CommitBatch]) {
    let streams = || batches.iter().flat_map(|batch| &batch.streams);
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
        Arg::Bool(streams().any(|write| write.events.is_empty())),
        Arg::Texts(events().map(|(write, ..)| write.stream.kind()).collect()),
        Arg::Texts(events().map(|(write, ..)| write.stream.id()).collect()),
        Arg::Ints(events().map(|(_, sequence, _)| clamped(sequence)).collect()),
        Arg::Bools(
            events()
                .map(|(write, sequence, _)| sequence > 1 && sequence - 1 == write.expected)
                .collect(),
        ),
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

fn push_snapshots<'a>(args: &mut Vec<Arg<'a>>, batches: &[&'a CommitBatch]) {
    let snapshots = || batches.iter().flat_map(|batch| &batch.snapshots);
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
