//! Claim, publish, settle: one pass over an outbox, as one future that spawns nothing.

mod config;
mod outcome;
mod pass;
mod scratch;
mod verdict;
mod watched;

pub use config::DispatchConfig;
pub use outcome::{DispatchError, DispatchOutcome};
#[cfg(feature = "alloc")]
pub(crate) use pass::Settle;

use crate::id::Invalid;
use crate::publisher::{AsyncMessagePublisher, Control};
use crate::runtime::{NoTimer, Timer};
use crate::store::{ClaimRequest, OutboxStore, Which, check_batch};
use pass::Pass;
use scratch::CHUNK;

/// How many ids one claim names.
const IDS: usize = 32;

/// Publishes what waits in an outbox, a pass at a time. The [`Backstop`](crate::backstop::Backstop) runs it
/// for ever; by hand it is `dispatcher.dispatch_batch(32).await?`.
///
/// # Delivery
/// At least once. A message is settled only under the claim it was published under; while a batch is under
/// way its lease is renewed, and a publish from which nothing comes is given up before the lease ends.
/// Without a timer there is no timeout and no renewal: see [`NoTimer`].
///
/// # Cancel safety
/// Dropping a pass leaves what it claimed leased; another pass takes it over when the lease ends. Nothing
/// is lost, what was already published is published again.
///
/// # Errors
/// Only the store's: what a publisher says is counted in the [`DispatchOutcome`].
#[derive(Clone, Debug)]
pub struct OutboxDispatcher<S, P, T = NoTimer> {
    store: S,
    publisher: P,
    timer: T,
    config: Result<DispatchConfig, Invalid>,
}

impl<S, P> OutboxDispatcher<S, P> {
    /// Over a store and a publisher, without a timer.
    pub const fn new(store: S, publisher: P, config: DispatchConfig) -> Self {
        Self {
            store,
            publisher,
            timer: NoTimer,
            config: Ok(config),
        }
    }
}

impl<S, P, T> OutboxDispatcher<S, P, T> {
    /// The same with a timer: with timeouts and renewals.
    pub fn with_timer<U: Timer>(self, timer: U) -> OutboxDispatcher<S, P, U> {
        OutboxDispatcher {
            store: self.store,
            publisher: self.publisher,
            timer,
            config: self.config,
        }
    }

    /// With settings that may have been refused earlier; then every pass says so.
    #[cfg(feature = "alloc")]
    pub(crate) const fn deferred(
        store: S,
        publisher: P,
        timer: T,
        config: Result<DispatchConfig, Invalid>,
    ) -> Self {
        Self {
            store,
            publisher,
            timer,
            config,
        }
    }

    /// The store.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// The timer.
    pub const fn timer(&self) -> &T {
        &self.timer
    }

    /// The settings.
    ///
    /// # Errors
    /// [`Invalid`] when a setting was refused where it could not be returned.
    pub fn config(&self) -> Result<DispatchConfig, Invalid> {
        self.config.clone()
    }
}

impl<S: OutboxStore, P: AsyncMessagePublisher, T: Timer> OutboxDispatcher<S, P, T> {
    /// Claims up to `limit` due messages, oldest first, publishes and settles them.
    ///
    /// # Errors
    /// A limit of 0 or above [`MAX_BATCH`](crate::store::MAX_BATCH), or a failing store.
    pub async fn dispatch_batch(&self, limit: usize) -> Result<DispatchOutcome, DispatchError<S::Error>> {
        self.dispatch(limit, Which::Due, &Control::new()).await
    }

    /// Claims those of these messages that are free, publishes and settles them. Ids that are missing,
    /// held, not due or behind an earlier message of their key are skipped.
    ///
    /// # Errors
    /// A failing store.
    pub async fn dispatch_ids<I: AsRef<str>>(
        &self,
        ids: &[I],
    ) -> Result<DispatchOutcome, DispatchError<S::Error>> {
        let mut total = DispatchOutcome {
            requested: ids.len(),
            ..DispatchOutcome::default()
        };
        for chunk in ids.chunks(IDS) {
            let mut names = [""; IDS];
            for (name, id) in names.iter_mut().zip(chunk) {
                *name = id.as_ref();
            }
            let names = names.get(..chunk.len()).unwrap_or_default();
            total.add(
                &self
                    .dispatch(chunk.len(), Which::Ids(names), &Control::new())
                    .await?,
            );
        }
        Ok(total)
    }

    /// Publishes and settles messages that are already claimed: rows that were enqueued, born in flight, on
    /// the caller's own transaction, once that is committed. The claims are renewed first, so that one that
    /// was overtaken meanwhile is seen before it is published.
    ///
    /// # Errors
    /// A failing store.
    pub async fn dispatch_claimed(
        &self,
        claimed: &[S::Claimed],
    ) -> Result<DispatchOutcome, DispatchError<S::Error>> {
        let config = self.checked()?;
        let mut total = DispatchOutcome {
            requested: claimed.len(),
            ..DispatchOutcome::default()
        };
        let control = Control::new();
        for chunk in claimed.chunks(CHUNK) {
            let mut pass = self.pass(config, &control);
            if pass.renew(chunk).await? == chunk.len() {
                total.add(&pass.publish(chunk).await?);
            }
        }
        Ok(total)
    }

    /// One pass, which `control` can stop between two messages.
    pub(crate) async fn dispatch(
        &self,
        limit: usize,
        which: Which<'_>,
        control: &Control,
    ) -> Result<DispatchOutcome, DispatchError<S::Error>> {
        let config = self.checked()?;
        check_batch(limit)?;
        let mut total = DispatchOutcome {
            requested: limit,
            ..DispatchOutcome::default()
        };
        let chunk = self.store.max_batch().clamp(1, CHUNK);
        while total.claimed < limit && !control.is_halted() {
            let want = limit.saturating_sub(total.claimed).min(chunk);
            let mut pass = self.pass(config, control);
            let request = ClaimRequest {
                worker: config.worker,
                lease: config.lease.length(),
                limit: want,
                max_abandoned: config.retry.max_abandoned,
                which,
            };
            let mut claimed = S::Batch::default();
            let claiming = self.store.claim_into(&request, &mut claimed).await;
            claiming.map_err(DispatchError::Store)?;
            let done = pass.publish(&claimed).await?;
            total.add(&done);
            if done.claimed < want || done.unavailable {
                break;
            }
        }
        Ok(total)
    }

    /// Publishes and settles messages that this worker was born to hold, since `since`.
    #[cfg(feature = "alloc")]
    pub(crate) async fn publish_held<C>(
        &self,
        held: &[C],
        since: crate::time::Instant,
        observe: impl FnMut(usize, &crate::publisher::PublishOutcome, crate::claim::Verdict),
    ) -> Result<DispatchOutcome, DispatchError<S::Error>>
    where
        C: crate::store::ClaimedMessage<Key = S::Key>,
    {
        let config = self.checked()?;
        let control = Control::new();
        let mut pass = self
            .pass(config, &control)
            .held_since(since)
            .settling(Settle::Soon);
        pass.publish_seen(held, observe).await
    }

    /// The settings, not copied.
    fn checked(&self) -> Result<&DispatchConfig, Invalid> {
        self.config.as_ref().map_err(Clone::clone)
    }

    fn pass<'a>(&'a self, config: &'a DispatchConfig, control: &'a Control) -> Pass<'a, S, P, T> {
        Pass::new(&self.store, &self.publisher, &self.timer, config, control)
    }
}
