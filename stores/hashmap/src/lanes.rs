//! The queues of ordering keys, linked through the rows: which message of a key is its head. Who may be claimed when is
//! not known here.

use std::hash::RandomState;

use crate::index::{ByKey, Index, hash};
use crate::table::{Chained, InLane, Links, NONE, Slot, Table};

/// Every key that has a message under way.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// The head of each key's lane.
    heads: Index<ByKey>,
    hasher: RandomState,
}

impl Lanes {
    pub(crate) fn new(hasher: RandomState) -> Self {
        Self {
            heads: Index::new(),
            hasher,
        }
    }

    /// Whether a message of this key would be its head.
    pub(crate) fn is_free(&self, table: &Table, key: &str) -> bool {
        self.head(table, key, self.hash(key)).is_none()
    }

    /// Looks at where the head of a key of this hash is listed.
    pub(crate) fn touch(&self, hash: u32) -> Slot {
        self.heads.first(hash)
    }

    /// Puts a row of this key into its lane, at the place of its commit. Returns the row that was the head before, and
    /// is not any more.
    pub(crate) fn join(&mut self, table: &mut Table, key: &str, slot: Slot) -> Option<Slot> {
        let hash = self.hash(key);
        let sequence = table.get(slot)?.sequence;
        let Some(head) = self.head(table, key, hash) else {
            let row = table.get_mut(slot)?;
            row.lane = InLane {
                inside: true,
                links: Links::NONE,
                tail: slot,
            };
            self.heads.insert(table, slot, hash);
            return None;
        };
        let tail = table.get(head)?.lane.tail;
        let previous = place(table, head, tail, sequence);
        let next = match table.get(previous) {
            Some(row) => row.lane.links.next,
            None => head,
        };
        let row = table.get_mut(slot)?;
        (row.lane.inside, row.lane.links) = (true, Links { previous, next });
        if let Some(row) = table.get_mut(next) {
            row.lane.links.previous = slot;
        }
        let Some(row) = table.get_mut(previous) else {
            table.get_mut(slot)?.lane.tail = tail;
            let chained = table.get(head)?.by_key;
            self.heads.remove(table, head, chained, slot);
            return Some(head);
        };
        row.lane.links.next = slot;
        if next == NONE {
            table.get_mut(head)?.lane.tail = slot;
        }
        None
    }

    /// Takes a row out of its lane. Returns the new head, if the row was the head and others wait.
    pub(crate) fn leave(&mut self, table: &mut Table, slot: Slot) -> Option<Slot> {
        let row = table.get_mut(slot)?;
        let (lane, by_key) = (row.lane, row.by_key);
        row.lane.inside = false;
        self.close_up(table, slot, lane, by_key)
    }

    /// The same of a row that stood so, and may be gone.
    #[inline]
    pub(crate) fn close_up(
        &mut self,
        table: &mut Table,
        slot: Slot,
        lane: InLane,
        by_key: Chained,
    ) -> Option<Slot> {
        if !lane.inside {
            return None;
        }
        let Links { previous, next } = lane.links;
        if let Some(row) = table.neighbour(next) {
            row.lane.links.previous = previous;
        }
        if let Some(row) = table.neighbour(previous) {
            row.lane.links.next = next;
            if next == NONE {
                let head = first_of(table, previous);
                table.neighbour(head)?.lane.tail = previous;
            }
            return None;
        }
        if let Some(row) = table.neighbour(next) {
            row.lane.tail = lane.tail;
        }
        self.heads.remove(table, slot, by_key, next);
        (next != NONE).then_some(next)
    }

    fn head(&self, table: &Table, key: &str, hash: u32) -> Option<Slot> {
        let mut at = self.heads.first(hash);
        while let Some(row) = table.get(at) {
            if row.by_key.hash == hash && table.message(row).and_then(|message| message.key) == Some(key) {
                return Some(at);
            }
            at = row.by_key.next;
        }
        None
    }

    fn hash(&self, key: &str) -> u32 {
        hash(&self.hasher, key)
    }
}

/// Behind which row of a lane a commit belongs; none: before its head. Commits come last and what an operator puts back
/// comes first, so it is looked for from both ends.
fn place(table: &Table, head: Slot, tail: Slot, sequence: u64) -> Slot {
    let (mut front, mut back) = (head, tail);
    loop {
        match table.get(back) {
            Some(row) if row.sequence > sequence => back = row.lane.links.previous,
            _ => return back,
        }
        match table.get(front) {
            Some(row) if row.sequence < sequence => front = row.lane.links.next,
            Some(row) => return row.lane.links.previous,
            None => return back,
        }
    }
}

/// The head of the lane in which a row stands. Only a row that leaves from behind its head asks: one in flight that an
/// earlier one was put back before.
fn first_of(table: &Table, slot: Slot) -> Slot {
    let mut at = slot;
    while let Some(row) = table.get(at).filter(|row| row.lane.links.previous != NONE) {
        at = row.lane.links.previous;
    }
    at
}

#[cfg(test)]
mod tests {
    use postbox::claim::Entry;
    use postbox::message::OutboxMessage;
    use postbox::time::Instant;

    use super::*;

    fn row(table: &mut Table, sequence: u64) -> Slot {
        let message = OutboxMessage::create(format!("m-{sequence}"), "thing", vec![])
            .and_then(|message| message.with_key("k"))
            .unwrap();
        let entry = Entry::pending(Instant::ZERO, std::time::Duration::ZERO);
        table.insert(&message, entry, sequence)
    }

    #[test]
    fn messages_that_come_back_take_the_place_of_their_commit() {
        let (mut table, mut lanes) = (Table::new(), Lanes::new(RandomState::new()));
        let rows: Vec<Slot> = (0..7).map(|sequence| row(&mut table, sequence)).collect();
        assert_eq!(lanes.join(&mut table, "k", rows[4]), None);
        assert_eq!(lanes.join(&mut table, "k", rows[6]), None);
        assert_eq!(lanes.join(&mut table, "k", rows[1]), Some(rows[4]));
        for between in [3, 2, 5] {
            assert_eq!(lanes.join(&mut table, "k", rows[between]), None);
        }
        assert_eq!(lanes.join(&mut table, "k", rows[0]), Some(rows[1]));
        assert_eq!(lanes.leave(&mut table, rows[6]), None);
        assert_eq!(lanes.leave(&mut table, rows[3]), None);
        for (head, next) in [(0, 1), (1, 2), (2, 4), (4, 5)] {
            assert_eq!(lanes.leave(&mut table, rows[head]), Some(rows[next]));
        }
        assert!(!lanes.is_free(&table, "k"));
        assert_eq!(lanes.leave(&mut table, rows[5]), None);
        assert!(lanes.is_free(&table, "k"));
    }
}
