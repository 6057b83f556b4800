//! The queues of ordering keys, linked through the table: which message of a key is its head. Who may be claimed when
//! is not known here.

use crate::slot::{Index, Links, NONE, hash};
use crate::table::{Table, bucket};

impl<const N: usize, const TEXT: usize, const PAYLOAD: usize> Table<N, TEXT, PAYLOAD> {
    /// Whether a message of this key would be its head.
    pub(crate) fn lane_is_free(&self, key: &str) -> bool {
        self.lane(key, hash(key)).is_none()
    }

    /// Whether no earlier message of its key stands in the way of this one.
    pub(crate) fn is_head(&self, slot: Index) -> bool {
        let lane = self.get(slot).and_then(|slot| slot.lane);
        lane.is_none_or(|links| links.previous == NONE)
    }

    /// Puts a message into its key's queue, at the place of its commit. Returns the one that was the head before,
    /// and is not any more.
    pub(crate) fn join_lane(&mut self, slot: Index) -> Option<Index> {
        let it = self.get(slot)?;
        if it.lane.is_some() {
            return None;
        }
        let (sequence, key) = (it.sequence, it.message.key()?);
        let hash = hash(key);
        let Some(head) = self.lane(key, hash) else {
            let first = self.by_key.get_mut(bucket::<N>(hash))?;
            let chain = core::mem::replace(first, slot);
            let it = self.get_mut(slot)?;
            it.lane = Some(Links::NONE);
            (it.key_hash, it.lane_tail, it.lane_chain) = (hash, slot, chain);
            return None;
        };
        let mut previous = self.get(head)?.lane_tail;
        let mut next = NONE;
        while self
            .get(previous)
            .is_some_and(|earlier| earlier.sequence > sequence)
        {
            next = previous;
            previous = self.links(previous)?.previous;
        }
        let it = self.get_mut(slot)?;
        it.key_hash = hash;
        it.lane = Some(Links { previous, next });
        if let Some(links) = self.links(previous) {
            links.next = slot;
        }
        if let Some(links) = self.links(next) {
            links.previous = slot;
        }
        if previous == NONE {
            let tail = self.get(head)?.lane_tail;
            self.crown(head, slot, tail);
            return Some(head);
        }
        if next == NONE {
            self.get_mut(head)?.lane_tail = slot;
        }
        None
    }

    /// Takes a message out of its lane. Returns the new head, if the message was the head and others wait.
    pub(crate) fn leave_lane(&mut self, slot: Index) -> Option<Index> {
        let it = self.get_mut(slot)?;
        let links = it.lane.take()?;
        let (tail, hash) = (it.lane_tail, it.key_hash);
        if let Some(next) = self.links(links.next) {
            next.previous = links.previous;
        }
        if let Some(previous) = self.links(links.previous) {
            previous.next = links.next;
            if links.next == NONE {
                let key = self.get(slot)?.message.key()?;
                let head = self.lane(key, hash)?;
                self.get_mut(head)?.lane_tail = links.previous;
            }
            return None;
        }
        self.crown(slot, links.next, tail);
        (links.next != NONE).then_some(links.next)
    }

    /// The head of a key's lane.
    fn lane(&self, key: &str, hash: u32) -> Option<Index> {
        let mut at = *self.by_key.get(bucket::<N>(hash))?;
        while let Some(head) = self.get(at) {
            if head.key_hash == hash && head.message.has_key(key) {
                return Some(at);
            }
            at = head.lane_chain;
        }
        None
    }

    /// Puts a new head, or none, in the place of the old one in the chain of its hash.
    fn crown(&mut self, old: Index, new: Index, tail: Index) {
        let Some(it) = self.get(old) else { return };
        let (hash, chain) = (it.key_hash, it.lane_chain);
        let replacement = if new == NONE { chain } else { new };
        if let Some(head) = self.get_mut(new) {
            (head.lane_tail, head.lane_chain) = (tail, chain);
        }
        let mut before = self.by_key.get(bucket::<N>(hash)).copied().unwrap_or(NONE);
        if before == old {
            if let Some(first) = self.by_key.get_mut(bucket::<N>(hash)) {
                *first = replacement;
            }
            return;
        }
        while let Some(head) = self.get_mut(before) {
            if head.lane_chain == old {
                head.lane_chain = replacement;
                return;
            }
            before = head.lane_chain;
        }
    }

    fn links(&mut self, slot: Index) -> Option<&mut Links> {
        self.get_mut(slot)?.lane.as_mut()
    }
}
