//! One batch of held messages: published under a renewed lease, then settled in one write.

use core::pin::pin;
use core::time::Duration;

use super::scratch::{CHUNK, Scratch};
use super::verdict::{Ending, count, verdict};
use super::watched::watched;
use super::{DispatchConfig, DispatchError, DispatchOutcome};
use crate::claim::Verdict;
use crate::id::Excerpt;
use crate::join::{Either, race};
use crate::observe::Signal;
use crate::publisher::{AsyncMessagePublisher, Control, PublishBatch, PublishOutcome, Survive};
use crate::runtime::Timer;
use crate::store::{ClaimedMessage, OutboxStore, Settlement};
use crate::time::Instant;

/// How often a settlement is tried when there is no timer to wait with.
const SETTLE_TRIES: u32 = 3;
/// The first pause before a settlement is tried again.
const SETTLE_PAUSE: Duration = Duration::from_millis(50);

/// Whether to wait until settlements are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settle {
    Now,
    #[cfg_attr(
        not(feature = "alloc"),
        expect(dead_code, reason = "handlers need an allocator")
    )]
    Soon,
}

pub(super) struct Pass<'a, S, P, T> {
    store: &'a S,
    publisher: &'a P,
    timer: &'a T,
    config: &'a DispatchConfig,
    control: &'a Control,
    settle: Settle,
    /// Until when the claims certainly hold, by the timer: counted from before they were asked for.
    held_until: Instant,
}

impl<'a, S: OutboxStore, P: AsyncMessagePublisher, T: Timer> Pass<'a, S, P, T> {
    /// A pass that is about to claim.
    pub(super) fn new(
        store: &'a S,
        publisher: &'a P,
        timer: &'a T,
        config: &'a DispatchConfig,
        control: &'a Control,
    ) -> Self {
        let held_until = timer.now() + config.lease.length();
        Self {
            store,
            publisher,
            timer,
            config,
            control,
            settle: Settle::Now,
            held_until,
        }
    }

    #[cfg(feature = "alloc")]
    pub(super) fn held_since(mut self, since: Instant) -> Self {
        self.held_until = since + self.config.lease.length();
        self
    }

    #[cfg(feature = "alloc")]
    pub(super) const fn settling(mut self, settle: Settle) -> Self {
        self.settle = settle;
        self
    }

    /// Renews the claims; how many still held.
    pub(super) async fn renew<C>(&mut self, held: &[C]) -> Result<usize, DispatchError<S::Error>>
    where
        C: ClaimedMessage<Key = S::Key>,
    {
        let asked = self.timer.now();
        let lease = self.config.lease.length();
        let renewed = renew(self.store, held, lease)
            .await
            .map_err(DispatchError::Store)?;
        self.held_until = asked + lease;
        Ok(renewed)
    }

    /// Publishes and settles what is held.
    pub(super) async fn publish<C>(&mut self, held: &[C]) -> Result<DispatchOutcome, DispatchError<S::Error>>
    where
        C: ClaimedMessage<Key = S::Key>,
    {
        self.publish_seen(held, |_, _, _| {}).await
    }

    /// The same, showing what came of each message before it is settled.
    pub(super) async fn publish_seen<C>(
        &mut self,
        held: &[C],
        mut observe: impl FnMut(usize, &PublishOutcome, Verdict),
    ) -> Result<DispatchOutcome, DispatchError<S::Error>>
    where
        C: ClaimedMessage<Key = S::Key>,
    {
        let mut outcome = DispatchOutcome {
            requested: held.len(),
            ..DispatchOutcome::default()
        };
        let Some(first) = held.first() else {
            return Ok(outcome);
        };
        let messages = Scratch::collect(first, held, |_, held| held.message());
        let mut outcomes = Scratch::waiting(held.len());
        outcome.claimed = messages.as_slice().len();
        self.config.tell(|| Signal::Claimed {
            worker: self.config.worker,
            messages: outcome.claimed,
        });

        let mut held_until = self.held_until;
        let mut panicked = false;
        // The answer of a slow store may have taken the whole lease.
        if self.timer.now() < self.end(held_until) {
            let mut batch = PublishBatch::new(messages.as_slice(), outcomes.as_mut_slice(), self.control);
            let publishing = pin!(Survive::new(self.publisher.publish_batch(&mut batch)));
            let holding = pin!(self.hold(held, &mut held_until));
            panicked = watched(publishing, holding).await == Some(None);
        }
        self.held_until = held_until;

        let outcomes = outcomes.as_slice();
        let ending = Ending::of(outcomes, panicked);
        let settlements = Scratch::collect(first, held, |at, message| {
            let come = outcomes.get(at).unwrap_or(&PublishOutcome::Waiting);
            let (verdict, error) = verdict(self.config, message, come, ending);
            let settlement = Settlement {
                claim: message.claim(),
                verdict,
                error,
            };
            count(&mut outcome, come, verdict);
            observe(at, come, verdict);
            if let Some(message) = messages.as_slice().get(at) {
                self.signal(message.id, &settlement);
            }
            settlement
        });
        self.settle(settlements.as_slice(), &mut outcome).await?;
        Ok(outcome)
    }

    /// When publishing under a lease that ends at `held_until` must be over.
    fn end(&self, held_until: Instant) -> Instant {
        held_until - self.config.lease.margin()
    }

    /// Renews the lease while the batch moves. Returns when it must not go on: nothing came of it for the
    /// publish timeout, or the lease could not be renewed and is about to end.
    async fn hold<C>(&self, held: &[C], held_until: &mut Instant)
    where
        C: ClaimedMessage<Key = S::Key>,
    {
        let lease = self.config.lease;
        let mut progress = self.control.progress();
        let mut renew_at = self.timer.now() + lease.renew_every();
        let mut stall_at = self.timer.now() + lease.publish_timeout();
        loop {
            let end = self.end(*held_until);
            self.timer.sleep_until(end.min(renew_at).min(stall_at)).await;
            let now = self.timer.now();
            if now >= end {
                return;
            }
            if now >= stall_at {
                let seen = self.control.progress();
                if seen == progress {
                    return;
                }
                progress = seen;
                stall_at = now + lease.publish_timeout();
            }
            if now >= renew_at {
                renew_at = now + lease.renew_every();
                // A store that hangs must not keep the deadlines from being kept.
                let deadline = self.timer.sleep_until(end.min(stall_at));
                match race(deadline, renew(self.store, held, lease.length())).await {
                    Either::A(()) => {}
                    Either::B(Ok(renewed)) if renewed >= held.len().min(CHUNK) => {
                        *held_until = now + lease.length();
                    }
                    // Some were overtaken, and nobody says which: nothing more is started.
                    Either::B(Ok(_)) => self.control.halt(),
                    Either::B(Err(error)) => self.store_error("renewing", &error, Duration::ZERO),
                }
            }
        }
    }

    fn signal(&self, id: &str, settlement: &Settlement<'_, S::Key>) {
        let error = settlement.error;
        self.config.tell(|| match settlement.verdict {
            Verdict::Complete => Signal::Published { id },
            Verdict::Bury => Signal::Buried { id, error },
            Verdict::Retry { after } | Verdict::Release { after } => Signal::Retrying { id, error, after },
        });
    }

    /// Settles, and again if the store fails, as long as the claims hold.
    async fn settle(
        &self,
        settlements: &[Settlement<'_, S::Key>],
        outcome: &mut DispatchOutcome,
    ) -> Result<(), DispatchError<S::Error>> {
        let mut pause = SETTLE_PAUSE;
        for tries in 1_u32.. {
            let result = match self.settle {
                Settle::Now => self
                    .store
                    .settle(settlements)
                    .await
                    .map(|done| done.overtaken_count()),
                Settle::Soon => self.store.settle_soon(settlements).await.map(|()| 0),
            };
            let error = match result {
                Ok(overtaken) => {
                    outcome.overtaken = overtaken;
                    if overtaken > 0 {
                        let worker = self.config.worker;
                        self.config.tell(|| Signal::Overtaken {
                            worker,
                            messages: overtaken,
                        });
                    }
                    return Ok(());
                }
                Err(error) => error,
            };
            let next = self.timer.now() + pause;
            let over = if self.timer.runs() {
                next >= self.held_until
            } else {
                tries >= SETTLE_TRIES
            };
            if over {
                return Err(DispatchError::Store(error));
            }
            self.store_error("settling", &error, pause);
            if self.timer.runs() {
                self.timer.sleep_until(next).await;
            }
            pause = pause.saturating_mul(2);
        }
        Ok(())
    }

    fn store_error(&self, doing: &'static str, error: &S::Error, pause: Duration) {
        let error = Excerpt::display(error);
        self.config.tell(|| Signal::StoreError {
            doing,
            error: error.as_str(),
            pause,
        });
    }
}

/// Renews the claims on what is held: they are listed only then, as most batches end before it comes to that.
async fn renew<S: OutboxStore, C>(store: &S, held: &[C], lease: Duration) -> Result<usize, S::Error>
where
    C: ClaimedMessage<Key = S::Key>,
{
    let Some(first) = held.first() else {
        return Ok(0);
    };
    let claims = Scratch::collect(first, held, |_, held| held.claim());
    store.renew(claims.as_slice(), lease).await
}
