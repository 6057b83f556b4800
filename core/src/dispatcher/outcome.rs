//! What a pass did, in exact counts.

use core::time::Duration;

use crate::id::Invalid;

/// The counts of one pass. Every claimed message is in exactly one of `published`, `retried`, `released`
/// and `dead`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DispatchOutcome {
    /// How many were asked for.
    pub requested: usize,
    /// How many were claimed.
    pub claimed: usize,
    /// The broker has them.
    pub published: usize,
    /// They failed, which was counted, and will be tried again.
    pub retried: usize,
    /// They were given back uncounted: not tried, or the broker takes nothing.
    pub released: usize,
    /// They were given up.
    pub dead: usize,
    /// Of all these, how many settlements came too late: another claim holds the message.
    pub overtaken: usize,
    /// Whether the broker takes nothing.
    pub unavailable: bool,
    /// When the first of the retried and released becomes due, from now.
    pub next_due: Option<Duration>,
}

impl DispatchOutcome {
    pub(super) fn add(&mut self, other: &Self) {
        self.requested = self.requested.max(other.requested);
        self.claimed = self.claimed.saturating_add(other.claimed);
        self.published = self.published.saturating_add(other.published);
        self.retried = self.retried.saturating_add(other.retried);
        self.released = self.released.saturating_add(other.released);
        self.dead = self.dead.saturating_add(other.dead);
        self.overtaken = self.overtaken.saturating_add(other.overtaken);
        self.unavailable |= other.unavailable;
        if let Some(due) = other.next_due {
            self.due_after(due);
        }
    }

    pub(super) fn due_after(&mut self, due: Duration) {
        self.next_due = Some(self.next_due.map_or(due, |earlier| earlier.min(due)));
    }
}

/// A pass did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DispatchError<E> {
    /// A setting or a batch size was refused; nothing was claimed.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store failed. What was claimed comes back when its lease ends.
    #[error("the outbox store failed: {0}")]
    Store(E),
}
