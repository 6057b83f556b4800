//! What people do with an outbox: look, count, put dead letters back; and the settings every store shares.

use alloc::vec::Vec;
use core::time::Duration;

use super::{DeadPolicy, OutboxStore};
use crate::claim::{Entry, Status};
use crate::id::{Excerpt, Invalid};
use crate::message::{DEFAULT_MAX_PAYLOAD_BYTES, HARD_MAX_PAYLOAD_BYTES, OutboxMessage};

/// An outbox that an operator can look into. Every store on a server has it; listings are bounded.
pub trait OutboxOperator: OutboxStore {
    /// How many messages stand where.
    async fn counts(&self) -> Result<OutboxCounts, Self::Error>;

    /// Up to `limit` messages with this status, in commit order.
    async fn messages(&self, status: Status, limit: usize) -> Result<Vec<StoredMessage>, Self::Error>;

    /// The message with this id, if the store still has it: published ones are gone after their retention.
    async fn find(&self, id: &str) -> Result<Option<StoredMessage>, Self::Error>;

    /// Puts dead messages back, due now, failures at zero. The fence keeps growing, so that no earlier
    /// holder can settle them. Returns how many were dead and now are not.
    async fn requeue(&self, ids: &[&str]) -> Result<usize, Self::Error>;
}

/// How many messages stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    /// Waiting for a claim.
    pub pending: u64,
    /// Claimed.
    pub in_flight: u64,
    /// Published and still kept.
    pub published: u64,
    /// Given up.
    pub dead: u64,
}

/// A message as it stands in the store.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    /// The message.
    pub message: OutboxMessage,
    /// Where it stands, and its fence and counts.
    pub entry: Entry,
    /// Why it last failed; empty when it never did.
    pub last_error: Excerpt,
}

/// Settings that every store has.
///
/// ```
/// use std::time::Duration;
/// use postbox::store::OutboxOptions;
///
/// let options = OutboxOptions::new()
///     .with_retention(Duration::from_secs(7 * 24 * 3600))
///     .with_max_payload(64 * 1024)?;
/// assert_eq!(options.max_payload(), 65_536);
/// # Ok::<(), postbox::id::Invalid>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxOptions {
    retention: Option<Duration>,
    dead: DeadPolicy,
    max_payload: usize,
}

impl OutboxOptions {
    /// The defaults: published messages are deleted at once, dead ones do not block, payloads up to 1 MiB.
    pub const fn new() -> Self {
        Self {
            retention: None,
            dead: DeadPolicy::Skip,
            max_payload: DEFAULT_MAX_PAYLOAD_BYTES,
        }
    }

    /// Keeps published messages this long; the backstop purges them afterwards in bounded bites.
    pub const fn with_retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Says whether a dead message holds up its key.
    pub const fn with_dead_policy(mut self, dead: DeadPolicy) -> Self {
        self.dead = dead;
        self
    }

    /// Sets the largest payload, in bytes; larger ones are refused at commit.
    ///
    /// # Errors
    /// [`Invalid`] above 64 MiB, and for zero.
    pub fn with_max_payload(mut self, bytes: usize) -> Result<Self, Invalid> {
        if bytes == 0 || bytes > HARD_MAX_PAYLOAD_BYTES {
            let value = u64::try_from(bytes).unwrap_or(u64::MAX);
            return Err(Invalid::OutOfRange {
                field: "max payload (bytes)",
                value,
                rule: "between 1 and 64 MiB",
            });
        }
        self.max_payload = bytes;
        Ok(self)
    }

    /// How long published messages are kept; `None`: not at all.
    pub const fn retention(&self) -> Option<Duration> {
        self.retention
    }

    /// Whether a dead message holds up its key.
    pub const fn dead_policy(&self) -> DeadPolicy {
        self.dead
    }

    /// The largest payload, in bytes.
    pub const fn max_payload(&self) -> usize {
        self.max_payload
    }
}

impl Default for OutboxOptions {
    fn default() -> Self {
        Self::new()
    }
}
