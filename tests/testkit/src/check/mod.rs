//! The promises, and who checks them: each checker looks for one way to break one, and has a planted bug that
//! it must find.

mod claims;
mod ends;
mod ledger;

use std::fmt;

use postbox::time::Instant;

use crate::history::MessageNo;

pub(crate) use ends::at_the_end;
pub(crate) use ledger::{End, Holder, Ledger, Record};

/// What was promised and not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Promise {
    /// A committed message never reached the broker.
    Lost,
    /// The broker has a message that was not committed (yet).
    NotCommitted,
    /// A settlement was applied although another held the message.
    Unfenced,
    /// A settlement or renewal was applied to a message that nobody held any more.
    StaleWrite,
    /// The holder's settlement was refused, or its fence did not grow.
    HolderRefused,
    /// A message was claimed while another's lease was live.
    Stolen,
    /// A node published a message although its lease was over, and it had not stood still.
    PastItsLease,
    /// A holder let its lease lapse although it lived and nothing was slow.
    LetLapse,
    /// First deliveries of one key did not follow the order of the commits.
    Order,
    /// A message came twice, and no crash, stall or lost answer was the cause.
    Duplicate,
    /// A message lost an attempt, or was given up, although only the broker or a worker was at fault.
    AttemptsBurnt,
    /// A command was committed and its caller was told that it failed.
    FailedThoughCommitted,
    /// A message had its effect twice.
    EffectTwice,
    /// A delivered message never had its effect.
    NoEffect,
    /// When everything was well again, messages were not delivered within the bound.
    NotInTime,
    /// A batch, a window or a number of attempts went over its limit.
    Limit,
    /// A node told to stop did not.
    DidNotStop,
    /// What the scenario itself demands.
    Invariant,
}

/// One broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// The message it is about.
    pub message: Option<MessageNo>,
    /// When it was seen.
    pub at: Instant,
    /// What was seen.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.detail)
    }
}
