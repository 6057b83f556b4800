//! Everything that one transaction stores, and what came of it.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::{EventRecord, RepositoryError, StreamIdentity};
use crate::id::{Invalid, MAX_NAME_BYTES, WorkerId, check_id, check_length, check_text};
use crate::lease::Lease;
use crate::message::{Codec, OutboxMessage};
use crate::store::{ClaimRef, OutboxOptions};

/// What one transaction stores: all of it, or nothing.
///
/// ```
/// use postbox::aggregate::CommitBatch;
/// use postbox::message::OutboxMessage;
///
/// let mut batch = CommitBatch::new();
/// batch.messages.push(OutboxMessage::create("m-1", "order.placed", b"{}".to_vec())?);
/// assert!(!batch.is_empty());
/// # Ok::<(), postbox::id::Invalid>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct CommitBatch {
    /// New events by stream; no stream twice.
    pub streams: Vec<StreamWrite>,
    /// Messages, in the order in which they are to be published.
    pub messages: Vec<OutboxMessage>,
    /// Claims every message that is the head of its key for this worker, in the same transaction.
    pub claim: Option<Birth>,
    /// Snapshots to replace earlier ones of their streams.
    pub snapshots: Vec<SnapshotRecord>,
    /// Messages whose effects these are; each may be committed once.
    pub receipts: Vec<InboxReceipt>,
}

impl CommitBatch {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self {
            streams: Vec::new(),
            messages: Vec::new(),
            claim: None,
            snapshots: Vec::new(),
            receipts: Vec::new(),
        }
    }

    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
            && self.messages.is_empty()
            && self.snapshots.is_empty()
            && self.receipts.is_empty()
    }

    /// Checks what needs no look into the store: sizes, and nothing twice. Every store calls it first.
    ///
    /// # Errors
    /// [`RepositoryError::Invalid`], [`DuplicateStream`](RepositoryError::DuplicateStream),
    /// [`DuplicateMessage`](RepositoryError::DuplicateMessage) or
    /// [`DuplicateReceipt`](RepositoryError::DuplicateReceipt).
    pub fn check(&self, options: &OutboxOptions) -> Result<(), RepositoryError> {
        let mut streams = BTreeSet::new();
        for write in &self.streams {
            if !streams.insert(&write.stream) {
                return Err(RepositoryError::DuplicateStream {
                    stream: write.stream.clone(),
                });
            }
        }
        let mut ids = BTreeSet::new();
        for message in &self.messages {
            check_length("payload", message.as_ref().payload.len(), options.max_payload())?;
            if !ids.insert(message.id()) {
                return Err(RepositoryError::DuplicateMessage {
                    id: message.id().into(),
                });
            }
        }
        let mut receipts = BTreeSet::new();
        for receipt in &self.receipts {
            if !receipts.insert(receipt) {
                return Err(RepositoryError::DuplicateReceipt {
                    receipt: receipt.clone(),
                });
            }
        }
        Ok(())
    }
}

/// New events of one stream.
#[derive(Clone, Debug)]
pub struct StreamWrite {
    /// Which stream.
    pub stream: StreamIdentity,
    /// The stream's version that these events follow; another one means a concurrent write.
    pub expected: u64,
    /// The events, numbered from `expected + 1`.
    pub events: Vec<EventRecord>,
}

/// For whom and how long messages are born claimed.
#[derive(Clone, Copy, Debug)]
pub struct Birth {
    /// The claiming worker.
    pub worker: WorkerId,
    /// The lease, which starts at the commit, by the store's clock.
    pub lease: Lease,
}

/// The state of an aggregate as of some version: a cache, never the truth.
#[derive(Clone, PartialEq)]
pub struct SnapshotRecord {
    /// Which stream.
    pub stream: StreamIdentity,
    /// The stream's version that it covers.
    pub version: u64,
    /// The name of the state's type.
    pub state_type: String,
    /// The version of the state's shape.
    pub state_version: u32,
    /// How the payload is encoded.
    pub codec: Codec,
    /// The encoded state.
    pub payload: Vec<u8>,
}

impl fmt::Debug for SnapshotRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotRecord")
            .field("stream", &self.stream)
            .field("version", &self.version)
            .field("state_type", &self.state_type)
            .field("state_version", &self.state_version)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// Says that a consumer has handled a message. Stored with the handler's effects; unique.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboxReceipt {
    consumer: String,
    message_id: String,
}

impl InboxReceipt {
    /// The receipt of `consumer` (at most 255 bytes) for a message.
    ///
    /// # Errors
    /// [`Invalid`] for a bad consumer name, and for an id that is missing, blank, over-long or has control
    /// characters.
    pub fn new(consumer: &str, message_id: &str) -> Result<Self, Invalid> {
        check_text("consumer", consumer, MAX_NAME_BYTES)?;
        check_id(message_id)?;
        Ok(Self {
            consumer: consumer.to_string(),
            message_id: message_id.to_string(),
        })
    }

    /// Who handled it.
    pub fn consumer(&self) -> &str {
        &self.consumer
    }

    /// What was handled.
    pub fn message_id(&self) -> &str {
        &self.message_id
    }
}

/// A transaction that was committed: its messages in the order of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed<K> {
    /// One entry a message.
    pub messages: Vec<CommittedMessage<K>>,
}

/// One message of a committed batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedMessage<K> {
    /// Its id.
    pub id: String,
    /// The claim it was born with; `None` when none was asked for, when it is not due yet, or when an
    /// earlier message of its key is still under way.
    pub claim: Option<ClaimRef<K>>,
}
