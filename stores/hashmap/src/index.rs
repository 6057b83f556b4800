//! Rows by the hash of a text: chains through the rows themselves, so that to leave one hashes nothing and allocates
//! nothing. Which text it is, and whether it is the same, is the caller's to know.

use std::hash::{BuildHasher, RandomState};
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

/// The low half of a keyed hash: whoever chooses the texts cannot choose the chains.
pub(crate) fn hash(hasher: &RandomState, text: &str) -> u32 {
    let [a, b, c, d, ..] = hasher.hash_one(text).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
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

    /// Takes a row out of its chain, in which it was chained so; `heir`, if there is one, takes its place.
    #[inline]
    pub(crate) fn remove(&mut self, table: &mut Table, slot: Slot, chained: Chained, heir: Slot) {
        let Chained { hash, next } = chained;
        let next = if let Some(link) = Self::link(table, heir) {
            *link = Chained { hash, next };
            heir
        } else {
            self.len -= 1;
            next
        };
        let chain = self.chain(hash);
        match self.first.get_mut(chain) {
            Some(first) if *first == slot => *first = next,
            Some(first) => Self::unchain(table, *first, slot, next),
            None => {}
        }
    }

    #[cold]
    fn unchain(table: &mut Table, first: Slot, slot: Slot, next: Slot) {
        let mut at = first;
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
        table.neighbour(slot).map(L::of)
    }

    fn set_first(&mut self, hash: u32, slot: Slot) {
        let chain = self.chain(hash);
        if let Some(first) = self.first.get_mut(chain) {
            *first = slot;
        }
    }

    /// The number of chains is a power of two.
    fn chain(&self, hash: u32) -> usize {
        hash as usize & (self.first.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use postbox::claim::Entry;
    use postbox::message::OutboxMessage;
    use postbox::time::Instant;

    use super::*;

    /// The rows that stand in the chain of a hash.
    fn chain(index: &Index<ById>, table: &Table, hash: u32) -> BTreeSet<Slot> {
        let mut rows = BTreeSet::new();
        let mut at = index.first(hash);
        while let Some(row) = table.get(at) {
            if row.by_id.hash == hash {
                rows.insert(at);
            }
            at = row.by_id.next;
        }
        rows
    }

    fn leave(index: &mut Index<ById>, table: &mut Table, slot: Slot) {
        let stood = table.remove(slot).unwrap();
        index.remove(table, slot, stood.by_id, NONE);
    }

    #[test]
    fn rows_are_found_by_their_hash_whatever_came_and_went() {
        let (mut table, mut index) = (Table::new(), Index::<ById>::new());
        let mut known = Vec::new();
        for step in 0_u32..600 {
            // Few hashes, so that chains are long and hold several hashes.
            let hash = step.wrapping_mul(0x9e37_79b9) % 97;
            let message = OutboxMessage::create(format!("m-{step}"), "thing", vec![]).unwrap();
            let entry = Entry::pending(Instant::ZERO, Duration::ZERO);
            let slot = table.insert(&message, entry, u64::from(step));
            index.insert(&mut table, slot, hash);
            known.push((slot, hash));
            if step % 3 == 0 {
                let (slot, _) = known.swap_remove(step as usize * 7 % known.len());
                leave(&mut index, &mut table, slot);
            }
            let of = |wanted| known.iter().filter(move |(_, hash)| *hash == wanted);
            assert_eq!(
                chain(&index, &table, hash),
                of(hash).map(|(slot, _)| *slot).collect()
            );
        }
        for (slot, hash) in known {
            assert!(chain(&index, &table, hash).contains(&slot));
            leave(&mut index, &mut table, slot);
        }
        assert!(index.first.iter().all(|first| *first == NONE));
    }
}
