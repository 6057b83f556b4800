//! The seam between the engines and whatever keeps the outbox. Batch first; one verb a step of the claim.

#[cfg(feature = "alloc")]
mod operator;
mod settlement;

use core::ops::Deref;
use core::time::Duration;

use crate::claim::Fence;
use crate::id::{Invalid, WorkerId};
use crate::message::MessageRef;
use crate::wakeup::{Never, Wakeup};

#[cfg(feature = "alloc")]
pub use operator::{OutboxCounts, OutboxOperator, OutboxOptions, StoredMessage};
#[cfg(feature = "alloc")]
pub use settlement::SettlementBuf;
pub use settlement::{Settled, Settlement};

/// The most messages of one claim, renewal or settlement.
pub const MAX_BATCH: usize = 1024;

/// Keeps outbox messages and hands out claims on them.
///
/// Every method is one atomic step of the store. Only durations cross the seam: the **store's** clock
/// decides when a message is due and when a lease ends.
///
/// # Cancel safety
/// A dropped future may or may not have taken effect. A claim whose answer was lost lapses; a settle
/// whose answer was lost is repeated by nobody, and the message is published again if it did not arrive.
///
/// # Implementing
/// Run `postbox-tests`' conformance suite over the store; it checks every rule of [`claim`](crate::claim)
/// and of the order within a key against it.
pub trait OutboxStore {
    /// What can go wrong. Every store error is taken as passing: engines back off and come again.
    type Error: core::error::Error;
    /// Names a row: an integer in SQL, slot and generation in RAM. Never used twice.
    type Key: Copy + PartialEq + core::fmt::Debug;
    /// One claimed message, owned the way this store owns bytes.
    type Claimed: ClaimedMessage<Key = Self::Key>;
    /// What a claim returns: `Vec<_>`, `heapless::Vec<_, N>`, ... Its default is empty.
    type Batch: Default + Deref<Target = [Self::Claimed]>;
    /// Hints about new messages.
    type Wakeup: Wakeup;

    /// Claims up to `request.limit` messages, oldest first, and returns them in commit order.
    ///
    /// A message is free when it is due (pending, or its lease lapsed) **and no earlier message of its key
    /// is live**. What is not free is skipped, also among [`Which::Ids`].
    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Self::Batch, Self::Error>;

    /// [`claim`](Self::claim) into the place of another batch: what engines call. A store whose batch holds its
    /// messages in place gives this itself, so that a batch is not moved on its way out.
    async fn claim_into(
        &self,
        request: &ClaimRequest<'_>,
        batch: &mut Self::Batch,
    ) -> Result<(), Self::Error> {
        *batch = self.claim(request).await?;
        Ok(())
    }

    /// Moves the lease end of every claim whose fence holds to `lease` from now, never back. Returns how
    /// many that were.
    async fn renew(&self, claims: &[ClaimRef<Self::Key>], lease: Duration) -> Result<usize, Self::Error>;

    /// Applies every settlement whose fence holds, in one write, and says which did not.
    async fn settle(&self, settlements: &[Settlement<'_, Self::Key>]) -> Result<Settled, Self::Error>;

    /// Settles without waiting until it is durable: what a handler uses that has just published. The store
    /// may gather these; one lost in a crash means a redelivery, nothing else.
    async fn settle_soon(&self, settlements: &[Settlement<'_, Self::Key>]) -> Result<(), Self::Error> {
        self.settle(settlements).await.map(|_| ())
    }

    /// Deletes up to `limit` messages that were published longer ago than the store's retention time.
    /// Returns how many; fewer than `limit` means there are no more.
    async fn purge(&self, _limit: usize) -> Result<usize, Self::Error> {
        Ok(0)
    }

    /// How long until the first of the messages that wait for their time becomes due: delayed, or put back with a
    /// pause, or (if the store knows them) under a lease that may lapse. Zero says that one is due already. `None`
    /// when none waits, or when the store does not know: engines then find it at their next poll.
    ///
    /// A hint like those of [`wakeup`](Self::wakeup), and beside them: whoever stores a message for later, or puts one
    /// back, rings, so that this is asked again.
    async fn next_due(&self) -> Result<Option<Duration>, Self::Error> {
        Ok(None)
    }

    /// The most messages that one claim returns, at least 1. Less than [`MAX_BATCH`] where a batch has a fixed
    /// place; engines then claim several times.
    fn max_batch(&self) -> usize {
        MAX_BATCH
    }

    /// A new listener for hints.
    fn wakeup(&self) -> Self::Wakeup;
}

/// What to claim, for whom and how long.
#[derive(Clone, Copy, Debug)]
pub struct ClaimRequest<'a> {
    /// For whom.
    pub worker: WorkerId,
    /// For how long, from the claim, by the store's clock.
    pub lease: Duration,
    /// How many at most; 1 to [`MAX_BATCH`].
    pub limit: usize,
    /// How many leases of a message may lapse before it is buried instead; see
    /// [`RetryPolicy`](crate::retry::RetryPolicy).
    pub max_abandoned: u32,
    /// Which.
    pub which: Which<'a>,
}

/// Which messages a claim is about.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// Whatever is due.
    Due,
    /// Of these ids, whatever is due.
    Ids(&'a [&'a str]),
}

/// One claimed message.
pub trait ClaimedMessage {
    /// The store's name for the row.
    type Key: Copy;
    /// The message.
    fn message(&self) -> MessageRef<'_>;
    /// The right to settle it.
    fn claim(&self) -> ClaimRef<Self::Key>;
    /// Failures counted so far.
    fn failures(&self) -> u32;
    /// How long ago it was committed.
    fn age(&self) -> Duration;
}

/// The right to renew or settle one message, as long as the fence holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimRef<K> {
    /// Which row.
    pub key: K,
    /// Under which claim.
    pub fence: Fence,
}

/// Whether a dead message holds up the later messages of its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadPolicy {
    /// Later messages go on. A requeued one is then delivered behind them.
    #[default]
    Skip,
    /// Later messages wait until an operator puts the dead one back or removes it.
    Block,
}

/// Checks a batch size: 1 to [`MAX_BATCH`].
pub(crate) fn check_batch(size: usize) -> Result<(), Invalid> {
    if (1..=MAX_BATCH).contains(&size) {
        return Ok(());
    }
    let value = u64::try_from(size).unwrap_or(u64::MAX);
    Err(Invalid::OutOfRange {
        field: "batch (messages)",
        value,
        rule: "between 1 and 1024",
    })
}

/// Owns an outbox store: repositories and their wrappers. The handle shares the repository's state and
/// outlives it.
pub trait HasOutboxStore {
    /// The store.
    type OutboxStore: OutboxStore;
    /// A handle to it.
    fn outbox_store(&self) -> Self::OutboxStore;
}

/// The key type of an owner's outbox store.
pub type KeyOf<R> = <<R as HasOutboxStore>::OutboxStore as OutboxStore>::Key;

/// An outbox that is always empty: for services that enqueue nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOutbox;

impl OutboxStore for NoOutbox {
    type Error = core::convert::Infallible;
    type Key = ();
    type Claimed = NoMessage;
    type Batch = &'static [NoMessage];
    type Wakeup = Never;

    async fn claim(&self, _: &ClaimRequest<'_>) -> Result<Self::Batch, Self::Error> {
        Ok(&[])
    }
    async fn renew(&self, _: &[ClaimRef<()>], _: Duration) -> Result<usize, Self::Error> {
        Ok(0)
    }
    async fn settle(&self, _: &[Settlement<'_, ()>]) -> Result<Settled, Self::Error> {
        Ok(Settled::none())
    }
    fn wakeup(&self) -> Never {
        Never
    }
}

impl HasOutboxStore for () {
    type OutboxStore = NoOutbox;

    fn outbox_store(&self) -> NoOutbox {
        NoOutbox
    }
}

/// What [`NoOutbox`] claims: there is none.
#[derive(Clone, Copy, Debug)]
pub enum NoMessage {}

impl ClaimedMessage for NoMessage {
    type Key = ();

    fn message(&self) -> MessageRef<'_> {
        match *self {}
    }
    fn claim(&self) -> ClaimRef<()> {
        match *self {}
    }
    fn failures(&self) -> u32 {
        match *self {}
    }
    fn age(&self) -> Duration {
        match *self {}
    }
}
