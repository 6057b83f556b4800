//! The life of one outbox message as a pure state machine: no clock, no I/O, no await.
//!
//! RAM stores run it as it stands; SQL stores restate it and are checked against it by the conformance
//! suite. The order of messages within a key is the store's to keep: the machine sees one message.

use core::time::Duration;

use crate::id::WorkerId;
use crate::time::Instant;

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits until `due`, then for its turn within its key.
    Pending {
        /// When it may be claimed.
        due: Instant,
    },
    /// Held by the worker of the fence; anyone may take it over once `until` has come.
    InFlight {
        /// When the lease ends.
        until: Instant,
    },
    /// Done. Kept for the retention time only.
    Published {
        /// When it was settled.
        at: Instant,
    },
    /// Given up, until an operator puts it back. Never dropped.
    Dead {
        /// When it was given up.
        at: Instant,
    },
}

/// The name of a [`State`], without its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// See [`State::Pending`].
    Pending,
    /// See [`State::InFlight`].
    InFlight,
    /// See [`State::Published`].
    Published,
    /// See [`State::Dead`].
    Dead,
}

impl State {
    /// Its name.
    pub const fn status(&self) -> Status {
        match self {
            Self::Pending { .. } => Status::Pending,
            Self::InFlight { .. } => Status::InFlight,
            Self::Published { .. } => Status::Published,
            Self::Dead { .. } => Status::Dead,
        }
    }
}

/// Proof of a claim: who, and the how-many-eth claim of this message it is.
///
/// The attempt only grows, also over a [`requeue`](Entry::requeue), so that no earlier holder can pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fence {
    /// Who holds the claim.
    pub worker: WorkerId,
    /// Counts the claims of the message, from 1.
    pub attempt: u32,
}

/// What a holder says became of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The broker has it.
    Complete,
    /// It failed and may succeed later: one more failure.
    Retry {
        /// How long to wait, by the store's clock.
        after: Duration,
    },
    /// It was not tried, or the broker is down: no failure is counted.
    Release {
        /// How long to wait, by the store's clock.
        after: Duration,
    },
    /// It will never be accepted, or was tried often enough.
    Bury,
}

/// The claim is gone: another worker holds the message, or nobody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the claim was overtaken: its fence is {held:?}, the message's is {current:?}")]
pub struct Overtaken {
    /// What the caller came with.
    pub held: Fence,
    /// What the message carries now.
    pub current: Fence,
}

/// What came of trying to claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claiming {
    /// The claim is the caller's, under this fence.
    Granted(Fence),
    /// Not due, leased to another, or at its end.
    NotFree,
    /// Its lease lapsed too often without a word from the holder: it is dead now.
    Abandoned,
}

/// One message's place in its life.
///
/// ```
/// use core::time::Duration;
/// use postbox::{claim::*, id::WorkerId, time::Instant};
///
/// let (a, b) = (WorkerId::new(1), WorkerId::new(2));
/// let (lease, start) = (Duration::from_secs(30), Instant::ZERO);
/// let mut entry = Entry::pending(start, Duration::ZERO);
/// let Claiming::Granted(first) = entry.claim(a, lease, 10, start) else { panic!() };
/// assert_eq!(entry.claim(b, lease, 10, start), Claiming::NotFree);
/// // The lease lapses and b takes over: a's claim is void.
/// let later = start + lease;
/// let Claiming::Granted(second) = entry.claim(b, lease, 10, later) else { panic!() };
/// assert!(entry.settle(first, Verdict::Complete, later).is_err());
/// assert!(entry.settle(second, Verdict::Complete, later).is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    state: State,
    fence: Fence,
    failures: u32,
    abandoned: u32,
    committed: Instant,
}

impl Entry {
    /// Committed without a claim, due after `delay`.
    pub fn pending(now: Instant, delay: Duration) -> Self {
        let state = State::Pending { due: now + delay };
        Self {
            state,
            fence: Fence::default(),
            failures: 0,
            abandoned: 0,
            committed: now,
        }
    }

    /// Committed together with a claim: the first attempt.
    pub fn in_flight(worker: WorkerId, lease: Duration, now: Instant) -> Self {
        let fence = Fence { worker, attempt: 1 };
        Self {
            state: State::InFlight { until: now + lease },
            fence,
            failures: 0,
            abandoned: 0,
            committed: now,
        }
    }

    /// An entry as it was stored.
    pub const fn restored(
        state: State,
        fence: Fence,
        failures: u32,
        abandoned: u32,
        committed: Instant,
    ) -> Self {
        Self {
            state,
            fence,
            failures,
            abandoned,
            committed,
        }
    }

    /// Where it stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// The fence of the latest claim; attempt 0 before the first.
    pub const fn fence(&self) -> Fence {
        self.fence
    }

    /// Failures counted so far.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Leases that lapsed without a word.
    pub const fn abandoned(&self) -> u32 {
        self.abandoned
    }

    /// When it was committed.
    pub const fn committed(&self) -> Instant {
        self.committed
    }

    /// Whether later messages of the same key have to wait for this one.
    pub const fn is_live(&self) -> bool {
        matches!(self.state, State::Pending { .. } | State::InFlight { .. })
    }

    /// When it may next be claimed: when due, or when its lease ends. `None` at its end.
    pub const fn due(&self) -> Option<Instant> {
        match self.state {
            State::Pending { due } => Some(due),
            State::InFlight { until } => Some(until),
            State::Published { .. } | State::Dead { .. } => None,
        }
    }

    /// Claims for `worker`. A lease that ended exactly now is over.
    ///
    /// `max_abandoned` leases may lapse; the next claim after that buries the message.
    pub fn claim(&mut self, worker: WorkerId, lease: Duration, max_abandoned: u32, now: Instant) -> Claiming {
        if self.due().is_none_or(|due| due > now) {
            return Claiming::NotFree;
        }
        if let State::InFlight { .. } = self.state {
            self.abandoned = self.abandoned.saturating_add(1);
            if self.abandoned >= max_abandoned {
                self.state = State::Dead { at: now };
                return Claiming::Abandoned;
            }
        }
        self.fence = Fence {
            worker,
            attempt: self.fence.attempt.saturating_add(1),
        };
        self.state = State::InFlight { until: now + lease };
        Claiming::Granted(self.fence)
    }

    /// Moves the end of the lease to `lease` from now, if that is later. A lapsed lease that nobody
    /// overtook is renewed too.
    pub fn renew(&mut self, fence: Fence, lease: Duration, now: Instant) -> Result<(), Overtaken> {
        let until = self.held(fence)?;
        self.state = State::InFlight {
            until: until.max(now + lease),
        };
        Ok(())
    }

    /// Applies the holder's verdict. A lapsed lease that nobody overtook still settles: the work was
    /// done, once.
    pub fn settle(&mut self, fence: Fence, verdict: Verdict, now: Instant) -> Result<(), Overtaken> {
        self.held(fence)?;
        self.state = match verdict {
            Verdict::Complete => State::Published { at: now },
            Verdict::Retry { after } => {
                self.failures = self.failures.saturating_add(1);
                State::Pending { due: now + after }
            }
            Verdict::Release { after } => State::Pending { due: now + after },
            Verdict::Bury => State::Dead { at: now },
        };
        Ok(())
    }

    /// Puts a dead message back, due now, with its counts at zero; the fence keeps growing.
    /// `false` when it is not dead.
    pub fn requeue(&mut self, now: Instant) -> bool {
        let dead = matches!(self.state, State::Dead { .. });
        if dead {
            self.state = State::Pending { due: now };
            self.failures = 0;
            self.abandoned = 0;
        }
        dead
    }

    /// Whether it was published at least `retention` ago.
    pub fn is_past(&self, retention: Duration, now: Instant) -> bool {
        matches!(self.state, State::Published { at } if at + retention <= now)
    }

    /// The end of the lease, if `fence` still holds.
    fn held(&self, fence: Fence) -> Result<Instant, Overtaken> {
        match self.state {
            State::InFlight { until } if self.fence == fence => Ok(until),
            _ => Err(Overtaken {
                held: fence,
                current: self.fence,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
