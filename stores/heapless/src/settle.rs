//! The ends of claims, and what retention and an operator do with rows afterwards.

use postbox::claim::{Status, Verdict};
use postbox::id::Excerpt;
use postbox::store::{Settled, Settlement};
use postbox::time::Instant;

use crate::rows::Rows;
use crate::slot::{HeaplessKey, List, hash};

impl<const N: usize, const TEXT: usize, const PAYLOAD: usize> Rows<N, TEXT, PAYLOAD> {
    /// Applies every settlement whose fence holds, in order, and names the others.
    pub(crate) fn settle(&mut self, settlements: &[Settlement<'_, HeaplessKey>], now: Instant) -> Settled {
        let mut settled = Settled::none();
        for (index, settlement) in settlements.iter().enumerate() {
            if self.settle_one(settlement, now) {
                settled.apply();
            } else {
                settled.refuse(index);
            }
        }
        settled
    }

    /// Puts a dead row back; `false` when it is not dead.
    pub(crate) fn requeue(&mut self, id: &str, now: Instant) -> bool {
        let Some(slot) = self.table.find(id, hash(id)) else {
            return false;
        };
        let Some(mut entry) = self.table.get(slot).map(|row| row.entry) else {
            return false;
        };
        let requeued = entry.requeue(now);
        if requeued {
            self.change(slot, entry, now);
        }
        requeued
    }

    /// Deletes a row that nobody holds; `false` when there is none.
    pub(crate) fn remove(&mut self, id: &str, now: Instant) -> bool {
        let found = self.table.find(id, hash(id));
        let free = |slot: &crate::slot::Index| {
            let row = self.table.get(*slot);
            row.is_some_and(|row| row.entry.state().status() != Status::InFlight)
        };
        let Some(slot) = found.filter(free) else {
            return false;
        };
        self.delete(slot, now);
        true
    }

    /// Deletes up to `limit` rows whose retention is over, oldest first; returns how many.
    pub(crate) fn purge(&mut self, limit: usize, now: Instant) -> usize {
        let Some(retention) = self.options.retention else {
            return 0;
        };
        let mut purged = 0_usize;
        while purged < limit {
            let Some((_, slot)) = self.table.first(List::Published) else {
                break;
            };
            let past = |row: &crate::slot::Slot<TEXT, PAYLOAD>| row.entry.is_past(retention, now);
            if !self.table.get(slot).is_some_and(past) {
                break;
            }
            self.delete(slot, now);
            purged = purged.saturating_add(1);
        }
        purged
    }

    fn settle_one(&mut self, settlement: &Settlement<'_, HeaplessKey>, now: Instant) -> bool {
        let claim = settlement.claim;
        let Some(mut entry) = self.row(claim.key).map(|row| row.entry) else {
            return false;
        };
        if entry.settle(claim.fence, settlement.verdict, now).is_err() {
            return false;
        }
        // A release at a shutdown brings no reason: the earlier one is still the last failure.
        if settlement.verdict != Verdict::Complete && !settlement.error.is_empty() {
            if let Some(row) = self.table.get_mut(claim.key.slot) {
                row.last_error = Excerpt::new(settlement.error);
            }
        }
        self.change(claim.key.slot, entry, now);
        true
    }
}
