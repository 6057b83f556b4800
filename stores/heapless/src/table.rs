//! The table: places that are used again, and which message has which id. What a message waits for is not known here.

use crate::slot::{Index, LISTS, NONE, Slot};

/// All places, and the ends of every list through them.
#[derive(Debug)]
pub(crate) struct Table<const N: usize, const TEXT: usize, const PAYLOAD: usize> {
    pub(crate) slots: [Slot<TEXT, PAYLOAD>; N],
    /// The first message of each hash of an id, and the head of the first lane of each hash of a key.
    by_id: [Index; N],
    pub(crate) by_key: [Index; N],
    pub(crate) heads: [Index; LISTS],
    pub(crate) tails: [Index; LISTS],
    free: Index,
    /// Places that were never used, from here on: so that a table of zeros and `NONE`s needs no start-up code.
    fresh: Index,
    len: Index,
}

impl<const N: usize, const TEXT: usize, const PAYLOAD: usize> Table<N, TEXT, PAYLOAD> {
    /// Refused when it is compiled: a table without places, or with more than indices can name, and text or payload
    /// over what lengths can name.
    const CHECKED: () = assert!(
        N > 0 && N < NONE as usize && TEXT < u16::MAX as usize && PAYLOAD > 0 && PAYLOAD < u16::MAX as usize,
        "capacity must be 1 to 65534, text less than 65535, payload 1 to 65534"
    );

    pub(crate) const fn new() -> Self {
        let () = Self::CHECKED;
        Self {
            slots: [const { Slot::EMPTY }; N],
            by_id: [NONE; N],
            by_key: [NONE; N],
            heads: [NONE; LISTS],
            tails: [NONE; LISTS],
            free: NONE,
            fresh: 0,
            len: 0,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    /// The message at a place, if there is one.
    pub(crate) fn get(&self, slot: Index) -> Option<&Slot<TEXT, PAYLOAD>> {
        self.slots.get(usize::from(slot)).filter(|slot| slot.used)
    }

    pub(crate) fn get_mut(&mut self, slot: Index) -> Option<&mut Slot<TEXT, PAYLOAD>> {
        self.slots.get_mut(usize::from(slot)).filter(|slot| slot.used)
    }

    /// The place of the message with this id, of this hash.
    pub(crate) fn find(&self, id: &str, hash: u32) -> Option<Index> {
        let mut at = *self.by_id.get(bucket::<N>(hash))?;
        while let Some(slot) = self.get(at) {
            if slot.id_hash == hash && slot.message.has_id(id) {
                return Some(at);
            }
            at = slot.id_chain;
        }
        None
    }

    /// A place for a new message whose id has this hash; `None` when there is none left.
    pub(crate) fn take(&mut self, hash: u32) -> Option<Index> {
        let at = if self.free == NONE {
            let fresh = self.fresh;
            (usize::from(fresh) < N).then_some(fresh)?
        } else {
            self.free
        };
        let first = self.by_id.get_mut(bucket::<N>(hash))?;
        let slot = self.slots.get_mut(usize::from(at))?;
        if self.free == NONE {
            self.fresh = self.fresh.saturating_add(1);
        } else {
            self.free = slot.id_chain;
        }
        slot.used = true;
        slot.id_hash = hash;
        slot.id_chain = core::mem::replace(first, at);
        self.len = self.len.saturating_add(1);
        Some(at)
    }

    /// Gives a place back whose message stands in no list and no lane.
    pub(crate) fn give(&mut self, at: Index) {
        let Some(slot) = self.get(at) else { return };
        let (hash, next) = (slot.id_hash, slot.id_chain);
        let mut before = self.by_id.get(bucket::<N>(hash)).copied().unwrap_or(NONE);
        if before == at {
            if let Some(first) = self.by_id.get_mut(bucket::<N>(hash)) {
                *first = next;
            }
        } else {
            while let Some(slot) = self.get_mut(before) {
                if slot.id_chain == at {
                    slot.id_chain = next;
                    break;
                }
                before = slot.id_chain;
            }
        }
        if let Some(slot) = self.slots.get_mut(usize::from(at)) {
            slot.used = false;
            slot.id_chain = self.free;
            self.free = at;
            self.len = self.len.saturating_sub(1);
        }
    }

    /// All messages, in the order of their places, which means nothing.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot<TEXT, PAYLOAD>> {
        self.slots.iter().filter(|slot| slot.used)
    }
}

/// Which of `N` chains a hash belongs to: the high bits of a product, as a division is dear on small cores.
pub(crate) const fn bucket<const N: usize>(hash: u32) -> usize {
    ((hash as u64 * N as u64) >> 32) as usize
}
