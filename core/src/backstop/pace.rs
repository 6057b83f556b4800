//! When to look again: what a pass found decides.

use core::time::Duration;

use crate::dispatcher::{DispatchConfig, DispatchOutcome};
use crate::observe::Signal;
use crate::retry::{Backoff, mix, spread};
use crate::time::Instant;

/// How to wait for the next pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Not at all, but let others run.
    Not,
    /// Until then, whatever is hinted.
    Pause(Instant),
    /// Until then, or a hint.
    Listen(Instant),
}

/// What the loop remembers between passes.
#[derive(Debug)]
pub(super) struct Loop {
    poll_at: Instant,
    pub(super) purge_at: Instant,
    /// Passes in a row that found the broker down.
    pub(super) outage: u32,
    /// Passes in a row that found the store failing.
    errors: u32,
    seed: u64,
}

impl Loop {
    pub(super) const fn new(now: Instant, seed: u64) -> Self {
        Self {
            poll_at: now,
            purge_at: now,
            outage: 0,
            errors: 0,
            seed,
        }
    }

    pub(super) fn after(
        &mut self,
        outcome: &DispatchOutcome,
        limit: usize,
        now: Instant,
        poll: Duration,
        config: &DispatchConfig,
    ) -> Rest {
        self.errors = 0;
        self.seed = mix(self.seed);
        if outcome.unavailable {
            let pause = config.outage().pause(self.outage);
            self.outage = self.outage.saturating_add(1);
            (config.observer())(Signal::BrokerDown { pause });
            return Rest::Pause(now + pause);
        }
        if outcome.published > 0 {
            self.outage = 0;
        }
        // A full batch: more may wait. Progress: the next of a key may have become free.
        if outcome.claimed >= limit || outcome.published > 0 || outcome.dead > 0 {
            return Rest::Not;
        }
        if self.poll_at <= now {
            let quarter = poll.checked_div(4).unwrap_or_default();
            self.poll_at = now + poll + spread(quarter, self.seed);
        }
        Rest::Listen(
            outcome
                .next_due
                .map_or(self.poll_at, |due| self.poll_at.min(now + due)),
        )
    }

    pub(super) fn after_error(&mut self, now: Instant, backoff: &Backoff) -> Rest {
        let pause = backoff.pause(self.errors);
        self.errors = self.errors.saturating_add(1);
        Rest::Pause(now + pause)
    }
}
