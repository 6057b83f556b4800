//! Committing an aggregate together with messages, and what the caller learns of them.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::marker::PhantomData;

use super::{Aggregate, Birth, Committed, InboxReceipt, RepositoryError};
use crate::id::{Excerpt, WorkerId};
use crate::lease::Lease;
use crate::message::OutboxMessage;
use crate::store::{HasOutboxStore, KeyOf};

/// A repository that commits aggregates of type `A` together with messages.
pub trait OutboxCommitting<A: Aggregate>: HasOutboxStore {
    /// Commits the aggregate's new events and `messages` (and an inbox receipt) in one transaction. Each
    /// message carries the aggregate as its source and, unless it has one, as its ordering key.
    ///
    /// With a claim the messages come back as they were stored, to be published; without one, none do.
    ///
    /// # Errors
    /// [`RepositoryError`]; nothing is stored and the aggregate keeps its new events (except that
    /// [`Unknown`](RepositoryError::Unknown) does not tell).
    async fn commit_with(
        &self,
        aggregate: &mut A,
        messages: Vec<OutboxMessage>,
        claim: Option<Birth>,
        receipt: Option<InboxReceipt>,
    ) -> Result<(Committed<KeyOf<Self>>, Vec<OutboxMessage>), RepositoryError>;

    /// Commits with one pending message: a backstop will publish it.
    async fn commit_outbox_pending(
        &self,
        aggregate: &mut A,
        message: OutboxMessage,
    ) -> Result<Committed<KeyOf<Self>>, RepositoryError> {
        Ok(self.commit_with(aggregate, vec![message], None, None).await?.0)
    }

    /// Commits with one message that is born in flight, held by `worker`: the caller publishes it.
    async fn commit_outbox_claimed(
        &self,
        aggregate: &mut A,
        message: OutboxMessage,
        worker: WorkerId,
        lease: Lease,
    ) -> Result<(Committed<KeyOf<Self>>, Vec<OutboxMessage>), RepositoryError> {
        self.commit_with(aggregate, vec![message], Some(Birth { worker, lease }), None)
            .await
    }
}

/// One message on its way to be committed with an aggregate: made by
/// [`AggregateRepository::outbox`](super::AggregateRepository::outbox).
#[derive(Debug)]
#[must_use = "nothing is stored until it is committed"]
pub struct OutboxCommit<'a, R, A> {
    repository: &'a R,
    message: OutboxMessage,
    aggregate: PhantomData<fn() -> A>,
}

impl<'a, R, A> OutboxCommit<'a, R, A> {
    pub(super) const fn new(repository: &'a R, message: OutboxMessage) -> Self {
        Self {
            repository,
            message,
            aggregate: PhantomData,
        }
    }
}

impl<R: OutboxCommitting<A>, A: Aggregate> OutboxCommit<'_, R, A> {
    /// Commits the aggregate and the message, pending.
    ///
    /// # Errors
    /// [`RepositoryError`], with nothing stored and the aggregate's events kept.
    pub async fn commit(self, aggregate: &mut A) -> Result<CommitReceipt, RepositoryError> {
        let committed = self
            .repository
            .commit_outbox_pending(aggregate, self.message)
            .await?;
        Ok(CommitReceipt::pending(&committed))
    }

    /// Commits the aggregate and the message, born in flight: returns the message as stored and, when it is
    /// the head of its key, the claim under which the caller publishes and settles it.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub async fn commit_claimed(
        self,
        aggregate: &mut A,
        worker: WorkerId,
        lease: Lease,
    ) -> Result<(Committed<KeyOf<R>>, Vec<OutboxMessage>), RepositoryError> {
        self.repository
            .commit_outbox_claimed(aggregate, self.message, worker, lease)
            .await
    }
}

/// The commit succeeded; this is what became of its messages, in the order they were given.
///
/// ```
/// use postbox::aggregate::{CommitReceipt, PublishStatus};
///
/// fn show(receipt: &CommitReceipt) {
///     for (id, status) in receipt.messages() {
///         let _ = (id, *status == PublishStatus::Published);
///     }
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitReceipt {
    ids: Vec<String>,
    statuses: Vec<PublishStatus>,
}

/// What became of one committed message by the time the receipt was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishStatus {
    /// No bus is attached: a backstop will publish it.
    Pending,
    /// An earlier message of its key is under way, or it is not due yet: it will be published in its turn.
    Deferred,
    /// The broker has it.
    Published,
    /// Publishing failed or took too long; the backstop will try again.
    Released {
        /// Why.
        error: Excerpt,
    },
    /// The broker will never take it: it is a dead letter now.
    Dead {
        /// Why.
        error: Excerpt,
    },
}

impl CommitReceipt {
    /// Every message waits for a backstop.
    pub(crate) fn pending<K>(committed: &Committed<K>) -> Self {
        let mut receipt = Self::default();
        for message in &committed.messages {
            receipt.push(message.id.clone(), PublishStatus::Pending);
        }
        receipt
    }

    /// Notes what became of one more message.
    pub(crate) fn push(&mut self, id: String, status: PublishStatus) {
        self.ids.push(id);
        self.statuses.push(status);
    }

    /// The ids of the committed messages.
    pub fn outbox_message_ids(&self) -> &[String] {
        &self.ids
    }

    /// Whether any message was committed.
    pub fn has_outbox_messages(&self) -> bool {
        !self.ids.is_empty()
    }

    /// Each message's id and what became of it.
    pub fn messages(&self) -> impl Iterator<Item = (&str, &PublishStatus)> {
        self.ids.iter().map(String::as_str).zip(&self.statuses)
    }

    /// Whether the broker has them all.
    pub fn is_published(&self) -> bool {
        self.statuses
            .iter()
            .all(|status| *status == PublishStatus::Published)
    }
}
