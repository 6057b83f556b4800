//! Rows in the order of a point in time, then of their commits: first out, first in, and out of the middle.
//!
//! Nearly all of them come in order already (commits are due at once, leases have one length), so they form
//! a linked list through the slab, which costs no allocation. Those that do not are strays in a tree.

use std::collections::BTreeMap;

use postbox::time::Instant;

use crate::slab::{List, NONE, Place, Slab};

/// One order of rows.
#[derive(Debug)]
pub(crate) struct Schedule {
    head: usize,
    tail: usize,
    strays: BTreeMap<(Instant, u64), usize>,
}

/// The place of a row in its order: when, and which commit.
pub(crate) type Turn = (Instant, u64);

impl Schedule {
    pub(crate) const fn new() -> Self {
        Self {
            head: NONE,
            tail: NONE,
            strays: BTreeMap::new(),
        }
    }

    /// Whose turn comes first.
    pub(crate) fn first(&self, slab: &Slab) -> Option<(Turn, usize)> {
        let listed = turn(slab, self.head).map(|turn| (turn, self.head));
        let stray = self.strays.first_key_value().map(|(turn, slot)| (*turn, *slot));
        match (listed, stray) {
            (Some(listed), Some(stray)) => Some(listed.min(stray)),
            (listed, stray) => listed.or(stray),
        }
    }

    /// Takes in a row that stands in no schedule. `in_order` says that later ones are likely to follow it:
    /// a row far in the future at the end of the list would make strays of all others.
    pub(crate) fn push(&mut self, slab: &mut Slab, slot: usize, list: List, at: Instant, in_order: bool) {
        let latest = turn(slab, self.tail);
        let Some(row) = slab.get_mut(slot) else { return };
        let stray = latest.is_some_and(|latest| latest > (at, row.sequence)) || !in_order;
        let previous = if stray { NONE } else { self.tail };
        row.place = Some(Place {
            list,
            at,
            stray,
            previous,
            next: NONE,
        });
        if stray {
            self.strays.insert((at, row.sequence), slot);
            return;
        }
        match slab.place_mut(previous) {
            Some(place) => place.next = slot,
            None => self.head = slot,
        }
        self.tail = slot;
    }

    /// Lets go of a row that `place` says stood here.
    pub(crate) fn remove(&mut self, slab: &mut Slab, sequence: u64, place: Place) {
        if place.stray {
            self.strays.remove(&(place.at, sequence));
            return;
        }
        match slab.place_mut(place.previous) {
            Some(previous) => previous.next = place.next,
            None => self.head = place.next,
        }
        match slab.place_mut(place.next) {
            Some(next) => next.previous = place.previous,
            None => self.tail = place.previous,
        }
    }
}

fn turn(slab: &Slab, slot: usize) -> Option<Turn> {
    let row = slab.get(slot)?;
    row.place.map(|place| (place.at, row.sequence))
}
