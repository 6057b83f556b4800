//! What a handler is handed: the message, who calls, the dependencies, and the commit.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{HandlerError, ImmediatePublish, Session};
use crate::aggregate::{
    Aggregate, AggregateRepository, CommitReceipt, InboxReceipt, OutboxCommitting, QueuedRepository,
    SnapshotAggregateRepository,
};
use crate::id::{Excerpt, Invalid};
use crate::message::{Message, OutboxMessage};
use crate::sync::Mutex;

/// Dependencies that hold the repository which handlers commit to.
///
/// A repository is its own; a struct with several says which in four lines:
///
/// ```
/// use postbox::service::HasRepo;
///
/// struct Dependencies<R> {
///     orders: R,
///     mailer: String,
/// }
/// impl<R> HasRepo for Dependencies<R> {
///     type Repo = R;
///     fn repo(&self) -> &R {
///         &self.orders
///     }
/// }
/// ```
pub trait HasRepo {
    /// The repository.
    type Repo;
    /// The repository.
    fn repo(&self) -> &Self::Repo;
}

impl<R, A> HasRepo for AggregateRepository<R, A> {
    type Repo = Self;
    fn repo(&self) -> &Self {
        self
    }
}

impl<R, A> HasRepo for SnapshotAggregateRepository<R, A> {
    type Repo = Self;
    fn repo(&self) -> &Self {
        self
    }
}

impl<R> HasRepo for QueuedRepository<R> {
    type Repo = Self;
    fn repo(&self) -> &Self {
        self
    }
}

impl HasRepo for () {
    type Repo = Self;
    fn repo(&self) -> &Self {
        self
    }
}

/// One call of a handler.
pub struct Context<'a, D> {
    dependencies: &'a D,
    message: &'a Message,
    session: &'a Session,
    receipt: &'a Receipt,
    immediate: Option<&'a ImmediatePublish>,
}

impl<D> fmt::Debug for Context<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

impl<'a, D> Context<'a, D> {
    pub(super) const fn new(
        dependencies: &'a D,
        message: &'a Message,
        session: &'a Session,
        receipt: &'a Receipt,
        immediate: Option<&'a ImmediatePublish>,
    ) -> Self {
        Self {
            dependencies,
            message,
            session,
            receipt,
            immediate,
        }
    }

    /// The message.
    pub const fn message(&self) -> &Message {
        self.message
    }

    /// A header of the message, in any case.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.message.headers().get(key)
    }

    /// Who calls.
    pub const fn session(&self) -> &Session {
        self.session
    }

    /// The payload, decoded from JSON.
    ///
    /// # Errors
    /// [`HandlerError::Input`], a permanent failure.
    pub fn input<T: DeserializeOwned>(&self) -> Result<T, HandlerError> {
        serde_json::from_slice(self.message.payload()).map_err(|error| HandlerError::Input {
            name: self.message.name().into(),
            reason: Excerpt::display(&error),
        })
    }

    /// Whether the payload is a JSON object with all these fields: what guards ask.
    pub fn has_fields(&self, fields: &[&str]) -> bool {
        let value: Result<Value, _> = serde_json::from_slice(self.message.payload());
        value.is_ok_and(|value| fields.iter().all(|field| value.get(field).is_some()))
    }

    /// The dependencies.
    pub const fn dependencies(&self) -> &D {
        self.dependencies
    }

    /// The repository.
    pub fn repo(&self) -> &D::Repo
    where
        D: HasRepo,
    {
        self.dependencies.repo()
    }

    /// Commits an aggregate's new events together with one message; with a bus, publishes the message
    /// right after the commit.
    ///
    /// # Delivery
    /// `Ok` as soon as the commit succeeded, whatever became of publishing and settling: the receipt
    /// tells, and a backstop publishes what was not. With a bus the message is born claimed, so that
    /// nobody else publishes it meanwhile; behind an earlier message of its key it waits its turn. Under
    /// an inbox the receipt of the handled message is part of the commit.
    ///
    /// # Cancel safety
    /// Dropped before the commit was sent: nothing happened. Later: committed, and published by the
    /// backstop when the lease ends, at the latest.
    ///
    /// # Errors
    /// The commit's: nothing was stored and the aggregate keeps its events, except that
    /// [`Unknown`](crate::aggregate::RepositoryError::Unknown) does not tell.
    pub async fn commit_outbox<A>(
        &self,
        aggregate: &mut A,
        message: OutboxMessage,
    ) -> Result<CommitReceipt, HandlerError>
    where
        A: Aggregate,
        D: HasRepo,
        D::Repo: OutboxCommitting<A>,
    {
        self.commit_messages(aggregate, vec![message]).await
    }

    /// The same with any number of messages, published in their order; with none, it only commits.
    pub async fn commit_messages<A>(
        &self,
        aggregate: &mut A,
        messages: Vec<OutboxMessage>,
    ) -> Result<CommitReceipt, HandlerError>
    where
        A: Aggregate,
        D: HasRepo,
        D::Repo: OutboxCommitting<A>,
    {
        let receipt = self.receipt.take();
        let Some(immediate) = self.immediate else {
            let (committed, _) = self
                .repo()
                .commit_with(aggregate, messages, None, receipt)
                .await?;
            return Ok(CommitReceipt::pending(&committed));
        };
        immediate.commit(self.repo(), aggregate, messages, receipt).await
    }

    /// Commits an aggregate's new events without a message.
    ///
    /// # Errors
    /// As [`commit_outbox`](Self::commit_outbox).
    pub async fn commit<A>(&self, aggregate: &mut A) -> Result<(), HandlerError>
    where
        A: Aggregate,
        D: HasRepo,
        D::Repo: OutboxCommitting<A>,
    {
        self.repo()
            .commit_with(aggregate, Vec::new(), None, self.receipt.take())
            .await?;
        Ok(())
    }
}

/// The receipt to be committed with the handler's effects, until it is.
///
/// The first commit of a handler takes it; a handler that has several commits under an inbox makes its
/// later ones part of no receipt, so it should have one.
#[derive(Debug)]
pub(super) struct Receipt(Mutex<Option<InboxReceipt>>);

impl Receipt {
    pub(super) const fn none() -> Self {
        Self(Mutex::new(None))
    }

    /// The receipt of the handler at `index` among those of one event: the first has the consumer's name,
    /// the others append their number.
    pub(super) fn of_handler(receipt: Option<&InboxReceipt>, index: usize) -> Result<Self, Invalid> {
        let receipt = match (receipt, index) {
            (None, _) => None,
            (Some(receipt), 0) => Some(receipt.clone()),
            (Some(receipt), index) => {
                let consumer = alloc::format!("{}#{index}", receipt.consumer());
                Some(InboxReceipt::new(&consumer, receipt.message_id())?)
            }
        };
        Ok(Self(Mutex::new(receipt)))
    }

    pub(super) fn wanted(&self) -> Option<InboxReceipt> {
        self.0.with(|receipt| receipt.clone())
    }

    pub(super) fn take(&self) -> Option<InboxReceipt> {
        self.0.with(Option::take)
    }
}
