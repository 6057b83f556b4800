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
    /// When the first message that a pass put back becomes due, until a pass has begun after that.
    due_at: Option<Instant>,
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
            due_at: None,
            purge_at: now,
            outage: 0,
            errors: 0,
            seed,
        }
    }

    /// What comes after a pass that `began` then and ended `now`.
    pub(super) fn after(
        &mut self,
        outcome: &DispatchOutcome,
        limit: usize,
        (began, now): (Instant, Instant),
        poll: Duration,
        config: &DispatchConfig,
    ) -> Rest {
        self.errors = 0;
        self.seed = mix(self.seed);
        // Kept over passes: the one that makes progress meanwhile, and the empty one after it, do not know of it.
        let waits = self.due_at.filter(|at| *at > began);
        let put_back = outcome.next_due.map(|due| now + due);
        self.due_at = waits.into_iter().chain(put_back).min();
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
        Rest::Listen(self.due_at.map_or(self.poll_at, |at| self.poll_at.min(at)))
    }

    pub(super) fn after_error(&mut self, now: Instant, backoff: &Backoff) -> Rest {
        let pause = backoff.pause(self.errors);
        self.errors = self.errors.saturating_add(1);
        Rest::Pause(now + pause)
    }
}
