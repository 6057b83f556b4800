//! The seam to whatever keeps streams, snapshots, receipts and the outbox in one transaction.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::lock::StreamLock;
use super::{Aggregate, UpcastError};
use super::{
    AggregateRepository, CommitBatch, Committed, EventRecord, InboxReceipt, QueuedRepository, SnapshotRecord,
};
use crate::id::{Excerpt, Invalid, check_text};
use crate::store::{HasOutboxStore, KeyOf};

/// The longest aggregate type, in bytes.
const MAX_TYPE_BYTES: usize = 128;
/// The longest aggregate id, in bytes.
const MAX_AGGREGATE_ID_BYTES: usize = 512;

/// Keeps event streams together with the outbox.
///
/// A leaf store implements the four verbs; the provided methods wrap it: `repo.queued().aggregate::<Todo>()`.
///
/// # Cancel safety
/// A dropped `commit` may or may not have taken effect, whole or not at all. Loading changes nothing.
pub trait Repository: HasOutboxStore {
    /// The events of a stream after version `after` (0: all), and the stream's version. `None` when the
    /// stream does not exist.
    async fn load(&self, stream: &StreamIdentity, after: u64) -> Result<Option<StreamTail>, RepositoryError>;

    /// The latest snapshot of a stream.
    async fn snapshot(&self, stream: &StreamIdentity) -> Result<Option<SnapshotRecord>, RepositoryError>;

    /// Stores a batch: all of it, or nothing.
    ///
    /// # Errors
    /// [`RepositoryError`]; nothing is stored on any of them but [`Unknown`](RepositoryError::Unknown).
    async fn commit(&self, batch: CommitBatch) -> Result<Committed<KeyOf<Self>>, RepositoryError>;

    /// Whether a receipt was committed.
    async fn has_receipt(&self, receipt: &InboxReceipt) -> Result<bool, RepositoryError>;

    /// Waits for the lock of a stream, where there are locks: see [`QueuedRepository`].
    async fn lock(&self, _stream: &StreamIdentity) -> Option<StreamLock> {
        None
    }

    /// One holder of a stream at a time: see [`QueuedRepository`].
    fn queued(self) -> QueuedRepository<Self>
    where
        Self: Sized,
    {
        QueuedRepository::new(self)
    }

    /// Loads and commits aggregates of one type.
    fn aggregate<A: Aggregate>(self) -> AggregateRepository<Self, A>
    where
        Self: Sized,
    {
        AggregateRepository::new(self)
    }
}

/// Names a stream: the aggregate's type and id.
///
/// ```
/// use postbox::aggregate::StreamIdentity;
///
/// let stream = StreamIdentity::new("todo", "t1")?;
/// assert_eq!(stream.to_string(), "todo/t1");
/// assert!(StreamIdentity::new("to/do", "t1").is_err());
/// # Ok::<(), postbox::id::Invalid>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamIdentity {
    kind: String,
    id: String,
}

impl StreamIdentity {
    /// The stream of this aggregate.
    ///
    /// # Errors
    /// [`Invalid`] for a blank or over-long type (128 bytes) or id (512 bytes), control characters, or a
    /// slash in the type.
    pub fn new(kind: &str, id: &str) -> Result<Self, Invalid> {
        check_text("aggregate type", kind, MAX_TYPE_BYTES)?;
        if kind.contains('/') {
            return Err(Invalid::Character {
                field: "aggregate type",
                value: Excerpt::new(kind),
                character: '/',
            });
        }
        check_text("aggregate id", id, MAX_AGGREGATE_ID_BYTES)?;
        Ok(Self {
            kind: kind.to_string(),
            id: id.to_string(),
        })
    }

    /// The aggregate's type.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The aggregate's id.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Type, slash, id: the ordering key of the aggregate's messages.
impl fmt::Display for StreamIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.id)
    }
}

impl fmt::Debug for StreamIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The end of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamTail {
    /// The number of events in the whole stream.
    pub version: u64,
    /// The events asked for, in order.
    pub events: Vec<EventRecord>,
}

/// The driver's own error, kept as the source.
pub type BoxError = Box<dyn core::error::Error + Send + Sync>;

/// What can go wrong between an aggregate and its store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// Somebody else committed to the stream since it was loaded. Load again and decide again.
    #[error("{stream} is at version {actual}, the commit expected {expected}")]
    ConcurrentWrite {
        /// Which stream.
        stream: StreamIdentity,
        /// The version the commit was made on.
        expected: u64,
        /// The version the store has.
        actual: u64,
    },
    /// A live message with this id exists, in the store or twice in the batch.
    #[error("a message with the id {id:?} exists already")]
    DuplicateMessage {
        /// The id.
        id: String,
    },
    /// The message whose effects these are was handled before: nothing to do.
    #[error("{} has already handled {:?}", receipt.consumer(), receipt.message_id())]
    DuplicateReceipt {
        /// The receipt that exists.
        receipt: InboxReceipt,
    },
    /// One batch writes a stream twice.
    #[error("the batch writes {stream} twice")]
    DuplicateStream {
        /// Which stream.
        stream: StreamIdentity,
    },
    /// A part of the input was refused.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A stored event does not decode.
    #[error("event {sequence} of {stream} does not replay: {reason}")]
    Replay {
        /// Which stream.
        stream: StreamIdentity,
        /// Which event.
        sequence: u64,
        /// Why.
        reason: Excerpt,
    },
    /// A stored event cannot be brought to the present shape.
    #[error("event {sequence} of {stream} cannot be upcast: {source}")]
    Upcast {
        /// Which stream.
        stream: StreamIdentity,
        /// Which event.
        sequence: u64,
        /// Why.
        source: UpcastError,
    },
    /// An event or a state does not encode.
    #[error("{what} does not encode: {reason}")]
    Encode {
        /// What.
        what: &'static str,
        /// Why.
        reason: Excerpt,
    },
    /// The store failed before anything was committed. Worth another try.
    #[error("the store failed, nothing was committed: {source}")]
    Store {
        /// The driver's error.
        source: BoxError,
    },
    /// The commit was sent and its answer lost: it may have happened, whole, or not. Look before trying
    /// again: the message's id and the stream's version tell.
    #[error("the outcome of the commit is unknown: {source}")]
    Unknown {
        /// The driver's error.
        source: BoxError,
    },
}

impl RepositoryError {
    /// A store failure with its source.
    pub fn store(source: impl Into<BoxError>) -> Self {
        Self::Store {
            source: source.into(),
        }
    }

    /// Whether the same command may succeed later: lost races and failing stores, not bad input.
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::ConcurrentWrite { .. } | Self::Store { .. } | Self::Unknown { .. }
        )
    }
}
