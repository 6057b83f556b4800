//! The ends of claims, and what an operator and retention do with rows afterwards.

use postbox::claim::Verdict;
use postbox::store::{Settled, Settlement};
use postbox::time::Instant;

use crate::rows::Rows;
use crate::slab::HashMapKey;

impl Rows {
    /// Applies every settlement whose fence holds, in order, and names the others.
    pub(crate) fn settle(&mut self, settlements: &[Settlement<HashMapKey>], now: Instant) -> Settled {
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

    /// Puts dead rows back; returns how many were dead.
    pub(crate) fn requeue(&mut self, ids: &[&str], now: Instant) -> usize {
        let mut requeued = 0;
        for id in ids {
            let Some(slot) = self.slot_of(id) else { continue };
            let Some(mut entry) = self.slab.get(slot).map(|row| row.entry) else {
                continue;
            };
            if entry.requeue(now) {
                self.change(slot, entry, now);
                requeued += 1;
            }
        }
        requeued
    }

    /// Deletes up to `limit` rows whose retention is over, oldest first; returns how many.
    pub(crate) fn purge(&mut self, limit: usize, now: Instant) -> usize {
        let Some(retention) = self.options.retention() else {
            return 0;
        };
        let mut purged = 0;
        while purged < limit {
            let Some((_, slot)) = self.published.first(&self.slab) else {
                break;
            };
            if !self
                .slab
                .get(slot)
                .is_some_and(|row| row.entry.is_past(retention, now))
            {
                break;
            }
            self.unlink(slot);
            self.delete(slot);
            purged += 1;
        }
        purged
    }

    fn settle_one(&mut self, settlement: &Settlement<HashMapKey>, now: Instant) -> bool {
        let claim = settlement.claim;
        let Some(mut entry) = self.row(claim.key).map(|row| row.entry) else {
            return false;
        };
        if entry.settle(claim.fence, settlement.verdict, now).is_err() {
            return false;
        }
        // A release at a shutdown brings no reason: the earlier one is still the last failure.
        if settlement.verdict != Verdict::Complete && !settlement.error.is_empty() {
            if let Some(row) = self.slab.get_mut(claim.key.slot) {
                row.last_error = settlement.error.clone();
            }
        }
        self.change(claim.key.slot, entry, now);
        true
    }
}
