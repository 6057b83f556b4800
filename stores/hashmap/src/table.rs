//! Where rows lie: slots that are used again, under keys that never are. What a row waits for is not known here.

use postbox::claim::{Entry, State};
use postbox::time::Instant;

use crate::packed::Packed;

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
    /// Whether it stands in the lane of its key, its neighbours there, and of the head of a lane the last of it; see
    /// [`lanes`](crate::lanes).
    pub(crate) in_lane: bool,
    pub(crate) lane: Links,
    pub(crate) lane_tail: Slot,
    /// Whether it has a key.
    pub(crate) keyed: bool,
    /// What it is found by; see [`Index`](crate::index::Index).
    pub(crate) by_id: Chained,
    pub(crate) by_key: Chained,
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

impl Row {
    /// A row that stands nowhere yet.
    pub(crate) const fn new(message: Packed, keyed: bool, entry: Entry, sequence: u64) -> Self {
        const UNCHAINED: Chained = Chained { hash: 0, next: NONE };
        Self {
            message: Some(message),
            entry,
            sequence,
            place: Place::None,
            links: Links::NONE,
            in_lane: false,
            lane: Links::NONE,
            lane_tail: NONE,
            keyed,
            by_id: UNCHAINED,
            by_key: UNCHAINED,
        }
    }

    /// Has the message brought near, together with those of the rows before and after that are touched as well: to
    /// clone it is an atomic step, which waits for each alone.
    pub(crate) fn touch(&self) {
        std::hint::black_box(self.message.as_ref().map(Packed::touch));
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
}

/// Rows by slot.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Row>,
    free: Slot,
}

impl Table {
    pub(crate) const fn new() -> Self {
        Self {
            rows: Vec::new(),
            free: NONE,
        }
    }

    /// Whether so many more rows can be named.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        self.rows.len().saturating_add(more) < NONE as usize
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Row> {
        self.rows.get(slot as usize).filter(|row| row.message.is_some())
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Row> {
        self.rows
            .get_mut(slot as usize)
            .filter(|row| row.message.is_some())
    }

    /// Takes in a row; there is [room](Self::has_room).
    pub(crate) fn insert(&mut self, row: Row) -> Slot {
        let slot = self.free;
        if let Some(place) = self.rows.get_mut(slot as usize) {
            self.free = place.links.next;
            *place = row;
            return slot;
        }
        self.rows.push(row);
        Slot::try_from(self.rows.len() - 1).unwrap_or(NONE)
    }

    /// Gives a place back whose row stands nowhere any more.
    pub(crate) fn remove(&mut self, slot: Slot) {
        let free = self.free;
        if let Some(row) = self.get_mut(slot) {
            row.message = None;
            row.links.next = free;
            self.free = slot;
        }
    }

    /// All rows, in the order of their slots, which means nothing.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Row)> {
        let rows = (0..).zip(&self.rows);
        rows.filter(|(_, row)| row.message.is_some())
    }

    /// Keeps a row's message in memory of its own: it is to stay for long.
    pub(crate) fn set_apart(&mut self, slot: Slot) {
        if let Some(row) = self.get_mut(slot) {
            row.message = row.message.as_ref().map(Packed::apart);
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
