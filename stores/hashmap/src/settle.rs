//! The ends of claims, and what an operator and retention do with rows afterwards.

use postbox::claim::Verdict;
use postbox::id::Excerpt;
use postbox::store::{Settled, Settlement};
use postbox::time::Instant;

use crate::rows::Rows;
use crate::table::HashMapKey;

impl Rows {
    /// Applies every settlement whose fence holds, in order, and names the others.
    pub(crate) fn settle(&mut self, settlements: &[Settlement<'_, HashMapKey>], now: Instant) -> Settled {
        self.touch(settlements);
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

    /// Looks once at where each of these rows is listed. They lie all over memory, and looks that do not wait for each
    /// other wait together.
    fn touch(&self, settlements: &[Settlement<'_, HashMapKey>]) {
        let touch = |settlement: &Settlement<'_, HashMapKey>| {
            let row = self.table.place(settlement.claim.key.slot)?;
            let in_lane = row.lane.inside.then_some(row.by_key.hash);
            Some(self.by_id.first(row.by_id.hash) ^ in_lane.map_or(0, |hash| self.lanes.touch(hash)))
        };
        let touched = settlements.iter().filter_map(touch);
        std::hint::black_box(touched.fold(0, |all, one| all ^ one));
    }

    /// Puts dead rows back; returns how many were dead.
    pub(crate) fn requeue(&mut self, ids: &[&str], now: Instant) -> usize {
        let mut requeued = 0;
        for id in ids {
            let Some(slot) = self.slot_of(id) else { continue };
            let Some(mut entry) = self.table.get(slot).map(|row| row.entry) else {
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
            let Some((_, slot)) = self.published.first(&self.table) else {
                break;
            };
            if !self
                .table
                .get(slot)
                .is_some_and(|row| row.entry.is_past(retention, now))
            {
                break;
            }
            self.delete(slot, now);
            purged += 1;
        }
        purged
    }

    fn settle_one(&mut self, settlement: &Settlement<'_, HashMapKey>, now: Instant) -> bool {
        let claim = settlement.claim;
        let Some(mut entry) = self.row(claim.key).map(|row| row.entry) else {
            return false;
        };
        if entry.settle(claim.fence, settlement.verdict, now).is_err() {
            return false;
        }
        if settlement.verdict == Verdict::Complete && self.options.retention().is_none() {
            self.delete(claim.key.slot, now);
            return true;
        }
        // A release at a shutdown brings no reason: the earlier one is still the last failure.
        if settlement.verdict != Verdict::Complete && !settlement.error.is_empty() {
            self.errors.insert(claim.key.slot, Excerpt::new(settlement.error));
        }
        self.change(claim.key.slot, entry, now);
        true
    }
}
