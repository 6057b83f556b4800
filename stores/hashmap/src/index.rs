//! Rows by the hash of a text: chains through the rows themselves, so that to leave one hashes nothing and allocates
//! nothing. Which text it is, and whether it is the same, is the caller's to know.

use std::marker::PhantomData;

use crate::table::{Chained, NONE, Row, Slot, Table};

/// The first row of each hash, by the hash's low bits. A chain is in the order of arrival: what is to leave first
/// stands first, and leaving touches no other row.
#[derive(Debug)]
pub(crate) struct Index<L> {
    first: Vec<Slot>,
    len: usize,
    link: PhantomData<L>,
}

/// Where a row keeps its chain.
pub(crate) trait Link {
    fn of(row: &mut Row) -> &mut Chained;
}

/// By the id of the message.
#[derive(Debug)]
pub(crate) enum ById {}

/// By its key, the heads of lanes only.
#[derive(Debug)]
pub(crate) enum ByKey {}

impl Link for ById {
    fn of(row: &mut Row) -> &mut Chained {
        &mut row.by_id
    }
}

impl Link for ByKey {
    fn of(row: &mut Row) -> &mut Chained {
        &mut row.by_key
    }
}

/// The fewest chains.
const CHAINS: usize = 16;

impl<L: Link> Index<L> {
    pub(crate) fn new() -> Self {
        Self {
            first: vec![NONE; CHAINS],
            len: 0,
            link: PhantomData,
        }
    }

    /// Where to look for a hash.
    pub(crate) fn first(&self, hash: u32) -> Slot {
        self.first.get(self.chain(hash)).copied().unwrap_or(NONE)
    }

    /// Puts a row that is in no chain at the end of its own.
    pub(crate) fn insert(&mut self, table: &mut Table, slot: Slot, hash: u32) {
        if self.len >= self.first.len() {
            self.grow(table);
        }
        self.len += 1;
        self.append(table, slot, hash);
    }

    /// Takes a row out of its chain; `heir`, if there is one, takes its place.
    pub(crate) fn remove(&mut self, table: &mut Table, slot: Slot, heir: Slot) {
        let Some(Chained { hash, next }) = Self::link(table, slot).copied() else {
            return;
        };
        let next = match Self::link(table, heir) {
            Some(link) => {
                *link = Chained { hash, next };
                heir
            }
            None => {
                self.len -= 1;
                next
            }
        };
        let mut at = self.first(hash);
        if at == slot {
            self.set_first(hash, next);
            return;
        }
        while let Some(before) = Self::link(table, at) {
            if before.next == slot {
                before.next = next;
                return;
            }
            at = before.next;
        }
    }

    fn append(&mut self, table: &mut Table, slot: Slot, hash: u32) {
        if let Some(link) = Self::link(table, slot) {
            *link = Chained { hash, next: NONE };
        }
        let mut at = self.first(hash);
        if at == NONE {
            self.set_first(hash, slot);
            return;
        }
        while let Some(before) = Self::link(table, at) {
            if before.next == NONE {
                before.next = slot;
                return;
            }
            at = before.next;
        }
    }

    /// Twice as many chains, by the hashes that the rows keep.
    fn grow(&mut self, table: &mut Table) {
        let chains = self.first.len().saturating_mul(2);
        let earlier = std::mem::replace(&mut self.first, vec![NONE; chains]);
        for first in earlier {
            let mut at = first;
            while let Some(Chained { hash, next }) = Self::link(table, at).copied() {
                self.append(table, at, hash);
                at = next;
            }
        }
    }

    fn link(table: &mut Table, slot: Slot) -> Option<&mut Chained> {
        table.get_mut(slot).map(L::of)
    }

    fn set_first(&mut self, hash: u32, slot: Slot) {
        let chain = self.chain(hash);
        if let Some(first) = self.first.get_mut(chain) {
            *first = slot;
        }
    }

    /// The number of chains is a power of two.
    const fn chain(&self, hash: u32) -> usize {
        hash as usize & (self.first.len() - 1)
    }
}
