//! What is known of messages that were claimed since the last reset: in RAM, for a few at a time.

use core::time::Duration;

use heapless::Vec;
use postbox::claim::{Entry, Status};
use postbox::id::Excerpt;
use postbox::time::Instant;

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Tracked {
    pub(crate) sequence: u64,
    pub(crate) entry: Entry,
    pub(crate) last_error: Excerpt,
}

/// At most `WINDOW` messages: those in flight, those that wait for a retry, and the dead. Any other message that lies in
/// flash is pending and due.
#[derive(Debug)]
pub(crate) struct Window<const WINDOW: usize>(Vec<Tracked, WINDOW>);

impl<const WINDOW: usize> Window<WINDOW> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<&Tracked> {
        self.0.iter().find(|tracked| tracked.sequence == sequence)
    }

    pub(crate) fn entry(&self, sequence: u64) -> Option<Entry> {
        self.get(sequence).map(|tracked| tracked.entry)
    }

    /// Whether one more message can be tracked.
    pub(crate) fn has_room(&self) -> bool {
        !self.0.is_full()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Keeps what became of a message; `false` when there is no room.
    pub(crate) fn set(&mut self, sequence: u64, entry: Entry) -> bool {
        if let Some(tracked) = self.get_mut(sequence) {
            tracked.entry = entry;
            return true;
        }
        let last_error = Excerpt::EMPTY;
        let tracked = Tracked {
            sequence,
            entry,
            last_error,
        };
        self.0.push(tracked).is_ok()
    }

    /// Keeps why a message that is tracked failed; no reason keeps the earlier one.
    pub(crate) fn explain(&mut self, sequence: u64, error: &str) {
        if let Some(tracked) = self.get_mut(sequence).filter(|_| !error.is_empty()) {
            tracked.last_error = Excerpt::new(error);
        }
    }

    pub(crate) fn forget(&mut self, sequence: u64) {
        if let Some(at) = self.0.iter().position(|tracked| tracked.sequence == sequence) {
            self.0.swap_remove(at);
        }
    }

    /// How long until the first of those that are not due becomes due, or its lease ends.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Duration> {
        let dues = self.0.iter().filter_map(|tracked| tracked.entry.due());
        dues.filter(|due| *due > now).min().map(|due| due.since(now))
    }

    /// A message that was given up.
    pub(crate) fn find_dead(&self) -> Option<u64> {
        let dead = |tracked: &&Tracked| tracked.entry.state().status() == Status::Dead;
        self.0.iter().find(dead).map(|tracked| tracked.sequence)
    }

    fn get_mut(&mut self, sequence: u64) -> Option<&mut Tracked> {
        self.0.iter_mut().find(|tracked| tracked.sequence == sequence)
    }
}
