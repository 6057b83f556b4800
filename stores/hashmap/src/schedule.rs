//! Rows in the order of a point in time, then of their commits: first out, first in, and out of the middle.
//!
//! Nearly all of them come in order already (commits are due at once, leases have one length), so they form
//! a linked list through the table, which costs no allocation. Those that do not are strays in a tree.

use std::collections::BTreeMap;

use postbox::time::Instant;

use crate::table::{Links, List, NONE, Place, Row, Slot, Table, Turn};

/// One order of rows.
#[derive(Debug)]
pub(crate) struct Schedule {
    list: List,
    head: Slot,
    tail: Slot,
    /// The turn of the tail.
    latest: Turn,
    strays: BTreeMap<Turn, Slot>,
}

/// Behind what a row was put.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Before {
    /// Behind this row of the list, or first in it.
    Row(Slot),
    /// Into the tree: nothing is to be linked.
    Stray,
}

const FIRST: Turn = (Instant::ZERO, 0);

impl Schedule {
    pub(crate) const fn new(list: List) -> Self {
        Self {
            list,
            head: NONE,
            tail: NONE,
            latest: FIRST,
            strays: BTreeMap::new(),
        }
    }

    /// Whose turn comes first.
    pub(crate) fn first(&self, table: &Table) -> Option<(Turn, Slot)> {
        let listed = table.get(self.head).map(|row| (row.turn(), self.head));
        if self.strays.is_empty() {
            return listed;
        }
        let stray = self.strays.first_key_value().map(|(turn, slot)| (*turn, *slot));
        match (listed, stray) {
            (Some(listed), Some(stray)) => Some(listed.min(stray)),
            (listed, stray) => listed.or(stray),
        }
    }

    /// Whether the list alone says who comes first.
    pub(crate) fn is_in_order(&self) -> bool {
        self.strays.is_empty()
    }

    /// Takes out of the list whoever is due, up to `limit`; returns how many rows it looked at.
    pub(crate) fn take_due(
        &mut self,
        table: &mut Table,
        limit: usize,
        now: Instant,
        taken: &mut Vec<(Turn, Slot)>,
    ) -> u64 {
        let mut visited = 0;
        while taken.len() < limit {
            let Some(row) = table.get_mut(self.head) else {
                break;
            };
            visited += 1;
            let turn = row.turn();
            if turn.0 > now {
                break;
            }
            row.place = Place::None;
            taken.push((turn, self.head));
            self.head = row.links.next;
        }
        match table.neighbour(self.head) {
            Some(row) => row.links.previous = NONE,
            None => self.tail = NONE,
        }
        visited
    }

    /// Takes in a row that stands in no schedule. `in_order` says that later ones are likely to follow it:
    /// a row far in the future at the end of the list would make strays of all others.
    pub(crate) fn push(&mut self, table: &mut Table, slot: Slot, in_order: bool) {
        if let Some(row) = table.get_mut(slot) {
            let before = self.append(row, slot, in_order);
            self.link(table, before, slot);
        }
    }

    /// The first half of [`push`](Self::push), for whoever has the row in hand: [`link`](Self::link) what is returned.
    #[allow(
        clippy::inline_always,
        reason = "what it takes and gives is in registers then"
    )]
    #[inline(always)]
    pub(crate) fn append(&mut self, row: &mut Row, slot: Slot, in_order: bool) -> Before {
        let (tail, turn) = (self.tail, row.turn());
        if !in_order || (tail != NONE && self.latest > turn) {
            row.place = Place::Stray(self.list);
            self.strays.insert(turn, slot);
            return Before::Stray;
        }
        row.place = Place::List(self.list);
        row.links = Links {
            previous: tail,
            next: NONE,
        };
        (self.tail, self.latest) = (slot, turn);
        Before::Row(tail)
    }

    /// The second half.
    #[inline]
    pub(crate) fn link(&mut self, table: &mut Table, before: Before, slot: Slot) {
        let Before::Row(before) = before else { return };
        match table.neighbour(before) {
            Some(row) => row.links.next = slot,
            None => self.head = slot,
        }
    }

    /// Lets go of a row that stands here.
    pub(crate) fn remove(&mut self, table: &mut Table, slot: Slot) {
        let Some(row) = table.get_mut(slot) else { return };
        let (links, turn) = (row.links, row.turn());
        let place = std::mem::replace(&mut row.place, Place::None);
        self.close_up(table, place, links, turn);
    }

    /// The same of a row that stood so, and may be gone.
    #[allow(
        clippy::inline_always,
        reason = "what it takes and gives is in registers then"
    )]
    #[inline(always)]
    pub(crate) fn close_up(&mut self, table: &mut Table, place: Place, links: Links, turn: Turn) {
        if let Place::Stray(_) = place {
            self.strays.remove(&turn);
            return;
        }
        let Links { previous, next } = links;
        if let Some(row) = table.neighbour(next) {
            row.links.previous = previous;
        } else {
            self.tail = previous;
            self.latest = table.get(previous).map_or(FIRST, Row::turn);
        }
        match table.neighbour(previous) {
            Some(row) => row.links.next = next,
            None => self.head = next,
        }
    }
}
