//! What is known of messages that were claimed since the last reset: in RAM, for a few at a time.

use heapless::Vec;
use postbox::claim::Entry;

/// One message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tracked {
    pub(crate) sequence: u64,
    pub(crate) entry: Entry,
}

/// At most `WINDOW` messages: those in flight, those that wait for a retry, and the dead. Any other message that lies in
/// flash is pending and due.
#[derive(Debug)]
pub(crate) struct Window<const WINDOW: usize>(Vec<Tracked, WINDOW>);

impl<const WINDOW: usize> Window<WINDOW> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<Entry> {
        let tracked = self.0.iter().find(|tracked| tracked.sequence == sequence);
        tracked.map(|tracked| tracked.entry)
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
        match self.0.iter_mut().find(|tracked| tracked.sequence == sequence) {
            Some(tracked) => {
                tracked.entry = entry;
                true
            }
            None => self.0.push(Tracked { sequence, entry }).is_ok(),
        }
    }

    pub(crate) fn forget(&mut self, sequence: u64) {
        if let Some(at) = self.0.iter().position(|tracked| tracked.sequence == sequence) {
            self.0.swap_remove(at);
        }
    }
}
