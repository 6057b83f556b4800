//! Messages into the outbox: as the functions take them, and in the user's own transaction.

use std::collections::{BTreeMap, BTreeSet};

use postbox::aggregate::Birth;
use postbox::claim::Fence;
use postbox::id::{Invalid, check_length};
use postbox::message::OutboxMessage;
use postbox::store::ClaimRef;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use crate::call::Arg;
use crate::commit::single;
use crate::database::{Database, micros};
use crate::error::{DUPLICATE_MESSAGE, PostgresError, UNIQUE_VIOLATION};
use crate::rows::{PostgresClaimed, small, worker};

/// Messages that were stored in a transaction which is yours to commit. Dropping this publishes nothing and
/// undoes nothing; after a rollback there is nothing to publish, so drop it.
#[derive(Clone, Debug)]
#[must_use = "claimed messages wait for you to publish them after the commit"]
pub struct Enqueued {
    ids: Vec<String>,
    claimed: Vec<PostgresClaimed>,
}

impl Enqueued {
    /// The ids, in the order of the messages.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// What you hold, in commit order: publish it after the commit, not before, for example with
    /// [`dispatch_claimed`](postbox::dispatcher::OutboxDispatcher::dispatch_claimed).
    pub fn claimed(&self) -> &[PostgresClaimed] {
        &self.claimed
    }

    /// The same, to keep.
    pub fn into_claimed(self) -> Vec<PostgresClaimed> {
        self.claimed
    }
}

/// Why messages were not enqueued. The transaction can only be rolled back, except after
/// [`Invalid`](Self::Invalid), which is found before anything is sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnqueueError {
    /// A message with this id is stored already, or comes twice.
    #[error("a message with the id {id:?} exists already")]
    DuplicateMessage {
        /// The id.
        id: String,
    },
    /// A message breaks a limit.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// PostgreSQL failed. If it says that there is no such function, run the migrations first.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

/// Stores messages on the caller's connection, and reads what came of them.
pub(crate) async fn enqueue(
    database: &Database,
    connection: &mut PgConnection,
    messages: &[OutboxMessage],
    claim: Option<Birth>,
) -> Result<Enqueued, EnqueueError> {
    let mut known = BTreeSet::new();
    for message in messages {
        let payload = message.as_ref().payload.len();
        check_length("payload", payload, database.options.outbox.max_payload())?;
        if !known.insert(message.id()) {
            let id = message.id().to_owned();
            return Err(EnqueueError::DuplicateMessage { id });
        }
    }
    let mut enqueued = Enqueued {
        ids: messages.iter().map(|message| message.id().to_owned()).collect(),
        claimed: Vec::new(),
    };
    if messages.is_empty() {
        return Ok(enqueued);
    }
    let mut args = Vec::with_capacity(11);
    let function = match messages {
        [message] => {
            single::push(&mut args, message, claim);
            &database.functions.enqueue_one
        }
        messages => {
            push(&mut args, || messages.iter(), claim);
            &database.functions.enqueue
        }
    };
    args.push(database.at());
    let rows = function
        .call(connection, &args, database.options.prepared)
        .await
        .map_err(|error| failure(PostgresError::statement(error), messages))?;
    let born = Born::read(&rows, messages, claim).map_err(PostgresError::from)?;
    let claimed = messages.iter().filter_map(|message| {
        let claim = born.claim(message.id())?;
        Some(PostgresClaimed::born(message.clone(), claim))
    });
    enqueued.claimed = claimed.collect();
    Ok(enqueued)
}

/// The messages as twelve arguments.
pub(crate) fn push<'a, I>(args: &mut Vec<Arg<'a>>, messages: impl Fn() -> I, claim: Option<Birth>)
where
    I: Iterator<Item = &'a OutboxMessage>,
{
    let views = || messages().map(OutboxMessage::as_ref);
    let mut keys = BTreeSet::new();
    // Only the first of a key may be claimed, and only at once.
    let wanted = messages().map(|message| {
        let first = message.as_ref().key.is_none_or(|key| keys.insert(key));
        first && message.delay().is_zero()
    });
    let wanted = wanted.collect();
    args.extend([
        Arg::Texts(views().map(|message| message.id).collect()),
        Arg::Texts(views().map(|message| message.name).collect()),
        Arg::Texts(views().map(|message| message.kind.as_str()).collect()),
        Arg::Keys(views().map(|message| message.key).collect()),
        Arg::Texts(views().map(|message| message.content_type).collect()),
        Arg::Texts(views().map(|message| message.headers.as_lines()).collect()),
        Arg::Ints(messages().map(|message| micros(message.delay())).collect()),
        Arg::Blobs(views().map(|message| message.payload).collect()),
        Arg::Bools(wanted),
        Arg::Texts(keys.into_iter().collect()),
        Arg::Int(claim.map_or(0, |claim| worker(claim.worker))),
        Arg::MaybeInt(claim.map(|claim| micros(claim.lease.length()))),
    ]);
}

/// What became of the messages of one commit.
pub(crate) struct Born {
    claims: BTreeMap<String, ClaimRef<i64>>,
    /// Whether anyone may claim one of them now.
    pub(crate) free: bool,
}

impl Born {
    /// Reads what the functions return: three numbers a message.
    pub(crate) fn read<'a>(
        rows: &[PgRow],
        messages: impl IntoIterator<Item = &'a OutboxMessage>,
        claim: Option<Birth>,
    ) -> Result<Self, sqlx::Error> {
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        let numbers = row.try_get::<Option<Vec<i64>>, _>(0)?.unwrap_or_default();
        let (seqs, rest) = numbers.split_at(numbers.len() / 3);
        let (attempts, frees) = rest.split_at(seqs.len());
        let mut born = Self {
            claims: BTreeMap::new(),
            free: frees.contains(&1),
        };
        for ((message, &key), &attempt) in messages.into_iter().zip(seqs).zip(attempts) {
            if let (Some(claim), 1..) = (claim, attempt) {
                let fence = Fence {
                    worker: claim.worker,
                    attempt: small(attempt),
                };
                born.claims
                    .insert(message.id().to_owned(), ClaimRef { key, fence });
            }
        }
        Ok(born)
    }

    /// The claim of a message, if it was born with one.
    pub(crate) fn claim(&self, id: &str) -> Option<ClaimRef<i64>> {
        self.claims.get(id).copied()
    }
}

/// The place that an error of this crate's functions names, counted from 0.
pub(crate) fn place(error: &PostgresError) -> Option<usize> {
    let number = error.detail()?.split(' ').next()?;
    number.parse::<usize>().ok()?.checked_sub(1)
}

fn failure(error: PostgresError, messages: &[OutboxMessage]) -> EnqueueError {
    if matches!(
        error.sqlstate().as_deref(),
        Some(DUPLICATE_MESSAGE | UNIQUE_VIOLATION)
    ) {
        let message = place(&error)
            .and_then(|place| messages.get(place))
            .or(messages.first());
        let id = message.map_or("", OutboxMessage::id).to_owned();
        return EnqueueError::DuplicateMessage { id };
    }
    EnqueueError::Postgres(error)
}
