//! A batch on its way: messages to start, verdicts that come back, and a way to stop in between.

use core::fmt;

use portable_atomic::{AtomicBool, AtomicUsize, Ordering};

use super::PublishError;
use crate::id::Excerpt;
use crate::message::MessageRef;

/// What kind of failure a publish ended in; see [`PublishError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// May succeed later; counted.
    Retryable,
    /// Never will.
    Permanent,
    /// The broker takes nothing; not counted.
    Unavailable,
}

/// How far one message of a batch has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PublishOutcome {
    /// Nobody has touched it: it certainly has not gone out.
    #[default]
    Waiting,
    /// It was started: it may have gone out.
    Started,
    /// The broker has it.
    Published,
    /// The broker does not have it.
    Failed {
        /// What kind of failure.
        kind: FailureKind,
        /// What the publisher said.
        error: Excerpt,
    },
}

/// Names a started message within its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(usize);

/// Messages to publish, and where their verdicts go.
///
/// After a verdict of [`PublishError::Unavailable`], and when the dispatcher is shutting down, no further
/// message is given out: those that wait are released without having been tried.
///
/// ```
/// use postbox::publisher::{Control, PublishBatch, PublishError, PublishOutcome};
///
/// let mut outcomes = [PublishOutcome::Waiting];
/// let control = Control::new();
/// let mut batch = PublishBatch::new(&[], &mut outcomes, &control);
/// assert!(batch.start().is_none());
/// ```
#[derive(Debug)]
pub struct PublishBatch<'a> {
    messages: &'a [MessageRef<'a>],
    outcomes: &'a mut [PublishOutcome],
    control: &'a Control,
    next: usize,
    halted: bool,
}

impl<'a> PublishBatch<'a> {
    /// A batch of `messages`, whose verdicts go to the outcomes of the same position.
    pub const fn new(
        messages: &'a [MessageRef<'a>],
        outcomes: &'a mut [PublishOutcome],
        control: &'a Control,
    ) -> Self {
        Self {
            messages,
            outcomes,
            control,
            next: 0,
            halted: false,
        }
    }

    /// Takes the next message; from now on it may have gone out.
    pub fn start(&mut self) -> Option<(Ticket, MessageRef<'a>)> {
        self.begin().map(|(ticket, message)| (ticket, *message))
    }

    /// The same, where it lies: a message is many words to copy.
    #[inline]
    pub(super) fn begin(&mut self) -> Option<(Ticket, &'a MessageRef<'a>)> {
        if self.halted || self.control.is_halted() {
            return None;
        }
        let index = self.next;
        let message = self.messages.get(index)?;
        *self.outcomes.get_mut(index)? = PublishOutcome::Started;
        self.next = index.saturating_add(1);
        Some((Ticket(index), message))
    }

    /// Records the verdict on a started message.
    #[inline]
    pub fn report<E: fmt::Display>(&mut self, ticket: Ticket, result: Result<(), PublishError<E>>) {
        self.control.move_on();
        let outcome = match result {
            Ok(()) => PublishOutcome::Published,
            Err(error) => self.failed(&error),
        };
        if let Some(slot) = self.outcomes.get_mut(ticket.0) {
            *slot = outcome;
        }
    }

    #[cold]
    fn failed<E: fmt::Display>(&mut self, error: &PublishError<E>) -> PublishOutcome {
        let kind = error.kind();
        self.halted |= kind == FailureKind::Unavailable;
        PublishOutcome::Failed {
            kind,
            error: Excerpt::display(error.error()),
        }
    }
}

/// Lets the owner of a batch see that it moves, and stop it between two messages.
#[derive(Debug, Default)]
pub struct Control {
    halted: AtomicBool,
    progress: AtomicUsize,
}

impl Control {
    /// Running, no verdict yet.
    pub const fn new() -> Self {
        Self {
            halted: AtomicBool::new(false),
            progress: AtomicUsize::new(0),
        }
    }

    /// Gives out no further message.
    pub fn halt(&self) {
        self.halted.store(true, Ordering::Release);
    }

    /// Whether it was halted.
    pub fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Acquire)
    }

    /// How many verdicts have come in, wrapping.
    pub fn progress(&self) -> usize {
        self.progress.load(Ordering::Relaxed)
    }

    /// One more verdict. Not one atomic step, which would be dear: only the one batch that is under way counts here.
    fn move_on(&self) {
        let next = self.progress().wrapping_add(1);
        self.progress.store(next, Ordering::Relaxed);
    }
}
