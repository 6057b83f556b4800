//! Where rows lie: slots that are used again, under keys that never are. What a row waits for is not known here.

use postbox::claim::{Entry, State, Status};
use postbox::message::{MessageRef, OutboxMessage};
use postbox::time::Instant;

use crate::packed::Packed;
use crate::pieces::Pieces;

/// Names a row: its slot, and the place of its message in the order of all commits.
///
/// The slot is used again, the number is not: a key of a row that is gone names nothing, ever after.
///
/// ```
/// fn same(a: postbox_hashmap::HashMapKey, b: postbox_hashmap::HashMapKey) -> bool {
///     a == b
/// }
/// # let _ = same;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HashMapKey {
    pub(crate) slot: Slot,
    pub(crate) sequence: u64,
}

/// Names a place of the table.
pub(crate) type Slot = u32;
/// No place.
pub(crate) const NONE: Slot = Slot::MAX;

/// One message and what the store knows of it: two lines of a cache, its message apart.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Row {
    /// `None`: the place is free.
    pub(crate) message: Option<Packed>,
    pub(crate) entry: Entry,
    /// The order of commits.
    pub(crate) sequence: u64,
    /// Where it waits; see [`Schedule`](crate::schedule::Schedule).
    pub(crate) place: Place,
    /// Its neighbours there; of a free place, `next` is the next free one.
    pub(crate) links: Links,
    /// Where it stands among those of its key.
    pub(crate) lane: InLane,
    /// What it is found by; see [`Index`](crate::index::Index).
    pub(crate) by_id: Chained,
    pub(crate) by_key: Chained,
}

/// The place of a row in the lane of its key; see [`lanes`](crate::lanes).
#[derive(Clone, Copy, Debug)]
pub(crate) struct InLane {
    /// Whether it stands there at all.
    pub(crate) inside: bool,
    pub(crate) links: Links,
    /// Of the head of a lane, the last of it.
    pub(crate) tail: Slot,
}

/// Neighbours in a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    pub(crate) previous: Slot,
    pub(crate) next: Slot,
}

/// A hash, and the next row in the chain of that hash.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chained {
    pub(crate) hash: u32,
    pub(crate) next: Slot,
}

/// The place of a row in its order: when, and which commit.
pub(crate) type Turn = (Instant, u64);

/// Where a row stood that is gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stood {
    pub(crate) status: Status,
    pub(crate) turn: Turn,
    pub(crate) place: Place,
    pub(crate) links: Links,
    pub(crate) lane: InLane,
    pub(crate) by_id: Chained,
    pub(crate) by_key: Chained,
}

/// Where a row waits for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere.
    None,
    /// In a list.
    List(List),
    /// In the tree of those that came out of order.
    Stray(List),
}

/// The schedules there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    /// Heads that are pending, by when they are due.
    Pending,
    /// Heads that are in flight, by the end of their lease.
    Leased,
    /// Published rows that are kept, by when they were published.
    Published,
}

impl Links {
    pub(crate) const NONE: Self = Self {
        previous: NONE,
        next: NONE,
    };
}

impl InLane {
    pub(crate) const OUTSIDE: Self = Self {
        inside: false,
        links: Links::NONE,
        tail: NONE,
    };
}

impl Row {
    /// A row that stands nowhere yet.
    pub(crate) const fn new(message: Packed, entry: Entry, sequence: u64) -> Self {
        const UNCHAINED: Chained = Chained { hash: 0, next: NONE };
        Self {
            message: Some(message),
            entry,
            sequence,
            place: Place::None,
            links: Links::NONE,
            lane: InLane::OUTSIDE,
            by_id: UNCHAINED,
            by_key: UNCHAINED,
        }
    }

    /// What orders it in its schedule.
    #[inline]
    pub(crate) const fn at(&self) -> Instant {
        match self.entry.state() {
            State::Pending { due: at }
            | State::InFlight { until: at }
            | State::Published { at }
            | State::Dead { at } => at,
        }
    }

    /// The same, and its commit, as no two have the same.
    #[inline]
    pub(crate) const fn turn(&self) -> Turn {
        (self.at(), self.sequence)
    }
}

/// Rows by slot.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Row>,
    free: Slot,
    /// Their messages.
    pub(crate) pieces: Pieces,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            rows: Vec::new(),
            free: NONE,
            pieces: Pieces::default(),
        }
    }

    /// Whether so many more rows can be named.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        self.rows.len().saturating_add(more) < NONE as usize
    }

    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> Option<&Row> {
        self.rows.get(slot as usize).filter(|row| row.message.is_some())
    }

    /// What lies in a place: a row, or what is left of one that is gone.
    #[inline]
    pub(crate) fn place(&self, slot: Slot) -> Option<&Row> {
        self.rows.get(slot as usize)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Row> {
        self.rows
            .get_mut(slot as usize)
            .filter(|row| row.message.is_some())
    }

    /// The row that another one names as its neighbour, which is never a free place; of [`NONE`] none.
    #[inline]
    pub(crate) fn neighbour(&mut self, slot: Slot) -> Option<&mut Row> {
        self.rows.get_mut(slot as usize)
    }

    /// A row to change, and the messages beside it.
    #[inline]
    pub(crate) fn get_beside(&mut self, slot: Slot) -> Option<(&mut Row, Packed, &Pieces)> {
        let row = self.rows.get_mut(slot as usize)?;
        let message = row.message?;
        Some((row, message, &self.pieces))
    }

    /// The message of a row.
    pub(crate) fn message(&self, row: &Row) -> Option<MessageRef<'_>> {
        row.message.map(|message| self.pieces.view(message))
    }

    /// Takes in a row; there is [room](Self::has_room).
    pub(crate) fn insert(&mut self, message: &OutboxMessage, entry: Entry, sequence: u64) -> Slot {
        let row = Row::new(self.pieces.pack(message), entry, sequence);
        let slot = self.free;
        if let Some(place) = self.rows.get_mut(slot as usize) {
            self.free = place.links.next;
            *place = row;
            return slot;
        }
        self.rows.push(row);
        Slot::try_from(self.rows.len() - 1).unwrap_or(NONE)
    }

    /// Gives the place of a row back. Tells where it stands, for it to be taken out of there.
    #[allow(
        clippy::inline_always,
        reason = "what it takes and gives is in registers then"
    )]
    #[inline(always)]
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Stood> {
        let row = self.rows.get_mut(slot as usize)?;
        let message = row.message.take()?;
        let stood = Stood {
            status: row.entry.state().status(),
            turn: row.turn(),
            place: row.place,
            links: row.links,
            lane: row.lane,
            by_id: row.by_id,
            by_key: row.by_key,
        };
        row.links.next = self.free;
        self.free = slot;
        self.pieces.forget(message);
        Some(stood)
    }

    /// All rows, in the order of their slots, which means nothing.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Row)> {
        let rows = (0..).zip(&self.rows);
        rows.filter(|(_, row)| row.message.is_some())
    }

    /// Keeps a row's message in memory of its own: it is to stay for long.
    pub(crate) fn set_apart(&mut self, slot: Slot) {
        if let Some(row) = self.rows.get_mut(slot as usize) {
            row.message = row.message.map(|message| self.pieces.set_apart(message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_two_lines_of_a_cache() {
        assert_eq!(size_of::<Row>(), 128);
    }
}
