//! Messages into the table: in the repository's transactions, and in the user's own.

use postbox::aggregate::Birth;
use postbox::claim::Fence;
use postbox::id::{Invalid, WorkerId, check_length};
use postbox::lease::Lease;
use postbox::message::{DEFAULT_MAX_PAYLOAD_BYTES, OutboxMessage};
use postbox::store::ClaimRef;
use postbox::time::{Clock, Instant, SystemClock};
use rusqlite::{Connection, Statement, Transaction, TransactionState, params};

use crate::rows::{IN_FLIGHT, PENDING, SqliteClaimed, micros, worker};

/// One that stands behind another of its key is put back by a trigger, claimed or not.
pub(crate) const INSERT: &str = "INSERT OR FAIL INTO postbox_outbox \
    (id, name, kind, key, content_type, headers, state, due, worker, attempt, committed_at, payload) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT (id) DO NOTHING";

/// Stores messages in a transaction of your own: they exist if and only if you commit it. A backstop publishes
/// them then.
///
/// The transaction must be able to write: begin it with [`TransactionBehavior::Immediate`]. A deferred one
/// fails at once, without waiting, when somebody else wrote since it began to read.
///
/// ```
/// use postbox::message::OutboxMessage;
/// use rusqlite::{Connection, TransactionBehavior::Immediate};
///
/// let mut connection = Connection::open_in_memory()?;
/// connection.execute_batch("CREATE TABLE orders (id TEXT PRIMARY KEY)")?;
/// postbox_sqlite::migrate(&mut connection)?;
///
/// let transaction = connection.transaction_with_behavior(Immediate)?;
/// transaction.execute("INSERT INTO orders VALUES ('order-1')", [])?;
/// let message = OutboxMessage::create("order-1:placed", "order.placed", b"{}".to_vec())?;
/// postbox_sqlite::enqueue(&transaction, &[message])?;
/// transaction.commit()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`EnqueueError`]: none of the messages is stored, and the transaction is as it was before.
///
/// [`TransactionBehavior::Immediate`]: rusqlite::TransactionBehavior::Immediate
pub fn enqueue(transaction: &Transaction<'_>, messages: &[OutboxMessage]) -> Result<Enqueued, EnqueueError> {
    let options = (DEFAULT_MAX_PAYLOAD_BYTES, None);
    enqueue_with(transaction, messages, options, &SystemClock)
}

/// Stores messages as [`enqueue`] does, and claims for `worker` those that are due and first of their key.
///
/// After your commit, publish what [`Enqueued::claimed`] has and settle it, as after any claim. When you roll
/// back, or crash, nothing has happened; when you commit and do nothing, the lease lapses and a backstop takes
/// over.
///
/// # Errors
/// As [`enqueue`].
pub fn enqueue_claimed(
    transaction: &Transaction<'_>,
    messages: &[OutboxMessage],
    worker: WorkerId,
    lease: Lease,
) -> Result<Enqueued, EnqueueError> {
    let options = (DEFAULT_MAX_PAYLOAD_BYTES, Some(Birth { worker, lease }));
    enqueue_with(transaction, messages, options, &SystemClock)
}

pub(crate) fn enqueue_with(
    transaction: &Transaction<'_>,
    messages: &[OutboxMessage],
    (max_payload, birth): (usize, Option<Birth>),
    clock: &dyn Clock,
) -> Result<Enqueued, EnqueueError> {
    if transaction.transaction_state(Some("main"))? != TransactionState::Write {
        return Err(EnqueueError::NotImmediate);
    }
    for message in messages {
        check_length("payload", message.as_ref().payload.len(), max_payload)?;
    }
    transaction.execute_batch("SAVEPOINT postbox_enqueue")?;
    let stored = insert_all(transaction, messages, birth, clock.now());
    if stored.is_err() {
        transaction.execute_batch("ROLLBACK TO postbox_enqueue")?;
    }
    transaction.execute_batch("RELEASE postbox_enqueue")?;
    stored
}

/// Messages that were stored in a transaction which is yours to commit. Dropping this publishes nothing and
/// undoes nothing.
#[derive(Clone, Debug)]
#[must_use = "claimed messages wait for you to publish them after the commit"]
pub struct Enqueued {
    ids: Vec<String>,
    claimed: Vec<SqliteClaimed>,
}

impl Enqueued {
    /// The ids, in the order of the messages.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// What you hold, in commit order: publish it after the commit, not before.
    pub fn claimed(&self) -> &[SqliteClaimed] {
        &self.claimed
    }

    /// The same, to keep.
    pub fn into_claimed(self) -> Vec<SqliteClaimed> {
        self.claimed
    }
}

/// Why messages were not enqueued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnqueueError {
    /// The transaction has not taken the write lock.
    #[error("the transaction does not hold the write lock: begin it with TransactionBehavior::Immediate")]
    NotImmediate,
    /// A message with this id is stored already, or comes twice.
    #[error("a message with the id {id:?} exists already")]
    DuplicateMessage {
        /// The id.
        id: String,
    },
    /// A message breaks a limit.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// SQLite failed. If it says that there is no such table, run [`migrate`](crate::migrate) first.
    #[error("SQLite failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

fn insert_all(
    connection: &Connection,
    messages: &[OutboxMessage],
    birth: Option<Birth>,
    now: Instant,
) -> Result<Enqueued, EnqueueError> {
    let mut enqueued = Enqueued {
        ids: Vec::with_capacity(messages.len()),
        claimed: Vec::new(),
    };
    let mut statement = connection.prepare_cached(INSERT)?;
    for message in messages {
        let id = message.id().to_owned();
        match insert(connection, &mut statement, message, birth, now)? {
            Inserted::Duplicate => return Err(EnqueueError::DuplicateMessage { id }),
            Inserted::Claimed(claim) => enqueued
                .claimed
                .push(SqliteClaimed::born(message.as_ref(), claim)),
            Inserted::Free | Inserted::Waits => {}
        }
        enqueued.ids.push(id);
    }
    Ok(enqueued)
}

/// What became of one message.
pub(crate) enum Inserted {
    /// Its id is taken.
    Duplicate,
    /// Born in flight.
    Claimed(ClaimRef<i64>),
    /// Anyone may claim it now.
    Free,
    /// Not due, or not the first of its key.
    Waits,
}

/// Stores one message by [`INSERT`]; claimed, if that is wanted and it is free.
pub(crate) fn insert(
    connection: &Connection,
    statement: &mut Statement<'_>,
    message: &OutboxMessage,
    birth: Option<Birth>,
    now: Instant,
) -> rusqlite::Result<Inserted> {
    let view = message.as_ref();
    let is_due = message.delay().is_zero();
    let birth = birth.filter(|_| is_due);
    let fence = birth.map_or(Fence::default(), |birth| Fence {
        worker: birth.worker,
        attempt: 1,
    });
    let due = now + birth.map_or(message.delay(), |birth| birth.lease.length());
    let before = connection.total_changes();
    statement.execute(params![
        view.id,
        view.name,
        view.kind.as_str(),
        view.key,
        view.content_type,
        view.headers.as_lines(),
        if birth.is_some() { IN_FLIGHT } else { PENDING },
        micros(due),
        worker(fence.worker),
        fence.attempt,
        micros(now),
        view.payload,
    ])?;
    // The trigger's change counts too.
    Ok(match (connection.total_changes() - before, birth) {
        (0, _) => Inserted::Duplicate,
        (1, Some(_)) => Inserted::Claimed(ClaimRef {
            key: connection.last_insert_rowid(),
            fence,
        }),
        (1, None) if is_due => Inserted::Free,
        _ => Inserted::Waits,
    })
}
