//! The database as a node sees it: over a network, failing at times, and watched.

mod outbox;
mod repository;

use std::time::Duration;

use postbox::message::{MessageRef, OutboxMessage};
use postbox::store::{ClaimRef, ClaimedMessage};

pub use outbox::SimOutbox;
pub use repository::SimRepository;

/// Names a row of a world's outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowKey(pub(crate) usize);

/// What the simulated parts say when they fail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// It failed on purpose and changed nothing.
    #[error("failed on purpose")]
    OnPurpose,
    /// It took effect, and the answer was lost on purpose.
    #[error("the answer was lost on purpose")]
    AnswerLost,
    /// The broker is down.
    #[error("the broker is down")]
    Down,
    /// The broker does not take this message.
    #[error("the broker does not take this message")]
    NotTaken,
    /// The real store failed.
    #[error("{0}")]
    Store(String),
}

impl SimError {
    pub(crate) fn store(error: impl std::error::Error) -> Self {
        Self::Store(error.to_string())
    }
}

/// A message that a node holds.
#[derive(Clone, Debug)]
pub struct SimClaimed {
    pub(crate) claim: ClaimRef<RowKey>,
    pub(crate) failures: u32,
    pub(crate) age: Duration,
    pub(crate) message: OutboxMessage,
}

impl ClaimedMessage for SimClaimed {
    type Key = RowKey;

    fn message(&self) -> MessageRef<'_> {
        self.message.as_ref()
    }
    fn claim(&self) -> ClaimRef<RowKey> {
        self.claim
    }
    fn failures(&self) -> u32 {
        self.failures
    }
    fn age(&self) -> Duration {
        self.age
    }
}
