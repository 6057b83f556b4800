//! Where rows lie: slots that are used again, under keys that never are.

use std::sync::Arc;

use postbox::claim::Entry;
use postbox::id::Excerpt;
use postbox::message::OutboxMessage;
use postbox::time::Instant;

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
    pub(crate) slot: usize,
    pub(crate) sequence: u64,
}

/// No slot.
pub(crate) const NONE: usize = usize::MAX;

/// One message and what the store knows of it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) message: Arc<OutboxMessage>,
    pub(crate) entry: Entry,
    /// The order of commits.
    pub(crate) sequence: u64,
    pub(crate) last_error: Excerpt,
    /// The lane in which it stands; see [`Lanes`](crate::lanes::Lanes).
    pub(crate) lane: Option<usize>,
    /// The schedule in which it stands; see [`Schedule`](crate::schedule::Schedule).
    pub(crate) place: Option<Place>,
}

/// Which schedule a row stands in, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) list: List,
    pub(crate) at: Instant,
    pub(crate) stray: bool,
    pub(crate) previous: usize,
    pub(crate) next: usize,
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

/// Rows by slot.
#[derive(Debug)]
pub(crate) struct Slab {
    slots: Vec<Slot>,
    free: usize,
}

#[derive(Debug)]
enum Slot {
    Row(Row),
    /// The next free one.
    Free(usize),
}

impl Slab {
    pub(crate) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
        }
    }

    pub(crate) fn get(&self, slot: usize) -> Option<&Row> {
        match self.slots.get(slot) {
            Some(Slot::Row(row)) => Some(row),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut Row> {
        match self.slots.get_mut(slot) {
            Some(Slot::Row(row)) => Some(row),
            _ => None,
        }
    }

    /// The place of a row that stands in a schedule.
    pub(crate) fn place_mut(&mut self, slot: usize) -> Option<&mut Place> {
        self.get_mut(slot)?.place.as_mut()
    }

    pub(crate) fn insert(&mut self, row: Row) -> usize {
        let slot = self.free;
        if let Some(place) = self.slots.get_mut(slot) {
            if let Slot::Free(next) = place {
                self.free = *next;
            }
            *place = Slot::Row(row);
            return slot;
        }
        self.slots.push(Slot::Row(row));
        self.slots.len() - 1
    }

    pub(crate) fn remove(&mut self, slot: usize) -> Option<Row> {
        let place = self.slots.get_mut(slot)?;
        match std::mem::replace(place, Slot::Free(self.free)) {
            Slot::Row(row) => {
                self.free = slot;
                Some(row)
            }
            free @ Slot::Free(_) => {
                *place = free;
                None
            }
        }
    }

    /// All rows, in the order of their slots, which means nothing.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Row)> {
        self.slots.iter().enumerate().filter_map(|(at, slot)| match slot {
            Slot::Row(row) => Some((at, row)),
            Slot::Free(_) => None,
        })
    }
}
