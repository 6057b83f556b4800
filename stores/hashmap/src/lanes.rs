//! The queues of ordering keys: which message of a key is its head. Who may be claimed when is not known here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Every key that has a message under way, and its queue in commit order.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    /// Only ever asked for one key; its order is never seen.
    by_key: HashMap<Arc<str>, usize>,
    slots: Vec<Option<Lane>>,
    free: Vec<usize>,
}

/// A key's messages, by commit: never empty.
#[derive(Debug)]
struct Lane {
    key: Arc<str>,
    head: (u64, usize),
    /// Those behind the head; mostly none, which costs nothing.
    behind: BTreeMap<u64, usize>,
}

/// What came of joining a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) lane: usize,
    /// The row that was the head before, and is not any more.
    pub(crate) displaced: Option<usize>,
}

impl Lanes {
    /// Whether a message of this key would be its head.
    pub(crate) fn is_free(&self, key: &str) -> bool {
        !self.by_key.contains_key(key)
    }

    /// Puts a row into its key's queue, at the place of its commit.
    pub(crate) fn join(&mut self, key: &str, sequence: u64, slot: usize) -> Joined {
        if let Some(&lane) = self.by_key.get(key) {
            let displaced = self
                .slots
                .get_mut(lane)
                .and_then(Option::as_mut)
                .and_then(|held| held.join(sequence, slot));
            return Joined { lane, displaced };
        }
        let key: Arc<str> = key.into();
        let new = Some(Lane {
            key: key.clone(),
            head: (sequence, slot),
            behind: BTreeMap::new(),
        });
        let lane = if let Some(lane) = self.free.pop() {
            if let Some(place) = self.slots.get_mut(lane) {
                *place = new;
            }
            lane
        } else {
            self.slots.push(new);
            self.slots.len() - 1
        };
        self.by_key.insert(key, lane);
        Joined {
            lane,
            displaced: None,
        }
    }

    /// Whether this row is the head of its lane.
    pub(crate) fn is_head(&self, lane: usize, sequence: u64) -> bool {
        let lane = self.slots.get(lane).and_then(Option::as_ref);
        lane.is_some_and(|lane| lane.head.0 == sequence)
    }

    /// Takes a row out of its lane. Returns the new head, if the row was the head and others wait.
    pub(crate) fn leave(&mut self, lane: usize, sequence: u64) -> Option<usize> {
        let place = self.slots.get_mut(lane)?;
        let held = place.as_mut()?;
        if held.head.0 != sequence {
            held.behind.remove(&sequence);
            return None;
        }
        if let Some(next) = held.behind.pop_first() {
            held.head = next;
            return Some(next.1);
        }
        if let Some(empty) = place.take() {
            self.by_key.remove(&empty.key);
            self.free.push(lane);
        }
        None
    }
}

impl Lane {
    fn join(&mut self, sequence: u64, slot: usize) -> Option<usize> {
        if sequence > self.head.0 {
            self.behind.insert(sequence, slot);
            return None;
        }
        let displaced = std::mem::replace(&mut self.head, (sequence, slot));
        self.behind.insert(displaced.0, displaced.1);
        Some(displaced.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_message_that_comes_back_displaces_the_head() {
        let mut lanes = Lanes::default();
        let joined = lanes.join("k", 5, 50);
        assert_eq!(lanes.join("k", 6, 60).displaced, None);
        assert_eq!(lanes.join("k", 4, 40).displaced, Some(50));
        assert!(lanes.is_head(joined.lane, 4));
        assert_eq!(lanes.leave(joined.lane, 4), Some(50));
        assert_eq!(lanes.leave(joined.lane, 6), None);
        assert_eq!(lanes.leave(joined.lane, 5), None);
        assert!(lanes.is_free("k"));
    }
}
