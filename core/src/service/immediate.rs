//! The immediate path: commit with the message born claimed, publish it, settle it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::HandlerError;
use crate::aggregate::{
    Aggregate, Birth, CommitReceipt, CommittedMessage, InboxReceipt, OutboxCommitting, PublishStatus,
};
use crate::claim::Verdict;
use crate::dispatcher::{DispatchConfig, OutboxDispatcher};
use crate::id::{Excerpt, Invalid, WorkerId};
use crate::lease::Lease;
use crate::message::{MessageRef, OutboxMessage};
use crate::publisher::{DynPublisher, PublishOutcome};
use crate::runtime::{DynTimer, NoTimer};
use crate::store::{ClaimRef, ClaimedMessage, HasOutboxStore, OutboxStore};
use crate::time::Clock;

/// What a service needs to publish right after a commit: the bus, a timer, and how long to hold.
///
/// Handlers have it while a bus is attached. Without a timer (outside of
/// [`run_with`](super::Microservice::run_with), unless one is set) a publish has no timeout.
#[derive(Clone, Debug)]
pub struct ImmediatePublish {
    publisher: Arc<dyn DynPublisher>,
    timer: Arc<dyn DynTimer>,
    pub(super) config: Result<DispatchConfig, Invalid>,
}

impl ImmediatePublish {
    pub(super) fn new(publisher: Arc<dyn DynPublisher>) -> Self {
        let config = DispatchConfig::new(default_worker("postbox-immediate")).with_lease(Lease::IMMEDIATE);
        Self {
            publisher,
            timer: Arc::new(NoTimer),
            config: Ok(config),
        }
    }

    pub(super) fn with_timer(mut self, timer: Arc<dyn DynTimer>) -> Self {
        self.timer = timer;
        self
    }

    /// Commits, publishes what it may, settles; tells what became of each message.
    pub(super) async fn commit<R, A>(
        &self,
        repo: &R,
        aggregate: &mut A,
        messages: Vec<OutboxMessage>,
        receipt: Option<InboxReceipt>,
    ) -> Result<CommitReceipt, HandlerError>
    where
        R: OutboxCommitting<A>,
        A: Aggregate,
    {
        let config = self.config.clone()?;
        let since = self.timer.now();
        let claim = Birth {
            worker: config.worker(),
            lease: config.lease(),
        };
        let (committed, stored) = repo
            .commit_with(aggregate, messages, Some(claim), receipt)
            .await?;
        // From here on the command has succeeded.
        let mut statuses: Vec<PublishStatus> = committed
            .messages
            .iter()
            .map(|_| PublishStatus::Deferred)
            .collect();
        let (held, places): (Vec<_>, Vec<_>) = born(&committed.messages, &stored).unzip();
        if !held.is_empty() {
            self.publish(repo, config, &held, since, |at, status| {
                if let Some(slot) = places.get(at).and_then(|place| statuses.get_mut(*place)) {
                    *slot = status;
                }
            })
            .await;
        }
        let mut receipt = CommitReceipt::default();
        for (message, status) in committed.messages.into_iter().zip(statuses) {
            receipt.push(message.id, status);
        }
        Ok(receipt)
    }

    async fn publish<R: HasOutboxStore>(
        &self,
        repo: &R,
        config: DispatchConfig,
        held: &[Born<'_, <R::OutboxStore as OutboxStore>::Key>],
        since: crate::time::Instant,
        mut tell: impl FnMut(usize, PublishStatus),
    ) {
        let (publisher, timer) = (self.publisher.clone(), self.timer.clone());
        let dispatcher = OutboxDispatcher::deferred(repo.outbox_store(), publisher, timer, Ok(config));
        let told = |at, outcome: &PublishOutcome, verdict| tell(at, status(outcome, verdict));
        // A settlement that failed changes nothing for the caller: the lease ends, the backstop goes on.
        let _ = dispatcher.publish_held(held, since, told).await;
    }
}

/// The worker id of a role in this process.
pub(super) fn default_worker(role: &str) -> WorkerId {
    #[cfg(feature = "std")]
    {
        let _ = role;
        WorkerId::random()
    }
    #[cfg(not(feature = "std"))]
    WorkerId::named(role)
}

/// The messages that were born claimed, with their places.
fn born<'a, K: Copy>(
    committed: &'a [CommittedMessage<K>],
    stored: &'a [OutboxMessage],
) -> impl Iterator<Item = (Born<'a, K>, usize)> {
    committed
        .iter()
        .zip(stored)
        .enumerate()
        .filter_map(|(place, (row, message))| {
            let claim = row.claim?;
            Some((Born { claim, message }, place))
        })
}

fn status(outcome: &PublishOutcome, verdict: Verdict) -> PublishStatus {
    let error = match outcome {
        PublishOutcome::Failed { error, .. } => error.clone(),
        _ => Excerpt::new("no answer within the timeout"),
    };
    match verdict {
        Verdict::Complete => PublishStatus::Published,
        Verdict::Bury => PublishStatus::Dead { error },
        Verdict::Retry { .. } | Verdict::Release { .. } => PublishStatus::Released { error },
    }
}

/// A message that was claimed in its commit.
struct Born<'a, K> {
    claim: ClaimRef<K>,
    message: &'a OutboxMessage,
}

impl<K: Copy> ClaimedMessage for Born<'_, K> {
    type Key = K;

    fn message(&self) -> MessageRef<'_> {
        self.message.as_ref()
    }
    fn claim(&self) -> ClaimRef<K> {
        self.claim
    }
    fn failures(&self) -> u32 {
        0
    }
    fn age(&self) -> Duration {
        Duration::ZERO
    }
}
