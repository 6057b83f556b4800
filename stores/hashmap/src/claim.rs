//! Claims and renewals: choosing rows, and running core's rule on each.

use std::sync::Arc;
use std::time::Duration;

use postbox::claim::{Claiming, Status};
use postbox::id::Excerpt;
use postbox::message::MessageRef;
use postbox::store::{ClaimRef, ClaimRequest, ClaimedMessage, MAX_BATCH, Which};
use postbox::time::Instant;

use crate::packed::{Packed, Piece};
use crate::rows::Rows;
use crate::table::{HashMapKey, Place, Row, Slot, Turn};

/// A claimed message, shared with the store: nothing was copied.
///
/// ```
/// use postbox::store::ClaimedMessage;
///
/// fn name(claimed: &postbox_hashmap::HashMapClaimed) -> &str {
///     claimed.message().name
/// }
/// # let _ = name;
/// ```
#[derive(Clone, Debug)]
pub struct HashMapClaimed {
    piece: Arc<Piece>,
    message: Packed,
    claim: ClaimRef<HashMapKey>,
    failures: u32,
    /// By the store's clock: its age is rarely asked for.
    committed: Instant,
    claimed: Instant,
}

impl ClaimedMessage for HashMapClaimed {
    type Key = HashMapKey;

    #[inline]
    fn message(&self) -> MessageRef<'_> {
        self.message.view(&self.piece)
    }
    #[inline]
    fn claim(&self) -> ClaimRef<HashMapKey> {
        self.claim
    }
    #[inline]
    fn failures(&self) -> u32 {
        self.failures
    }
    #[inline]
    fn age(&self) -> Duration {
        self.claimed.since(self.committed)
    }
}

impl Rows {
    /// Claims the first free rows, by when they were due and then by commit; returns them by commit.
    pub(crate) fn claim(&mut self, request: &ClaimRequest<'_>, now: Instant) -> Vec<HashMapClaimed> {
        let limit = request.limit.min(MAX_BATCH);
        // All are chosen before any is changed: what a buried row sets free is for the next claim.
        let mut selected = std::mem::take(&mut self.selected);
        match request.which {
            Which::Due => self.select_due(limit, now, &mut selected),
            Which::Ids(ids) => self.select_ids(ids, limit, now, &mut selected),
        }
        if !selected.is_sorted_by_key(|((_, sequence), _)| *sequence) {
            selected.sort_unstable_by_key(|((_, sequence), _)| *sequence);
        }
        let mut batch = Vec::with_capacity(selected.len());
        for (_, slot) in selected.drain(..) {
            self.claim_row(slot, request, now, &mut batch);
        }
        self.selected = selected;
        batch
    }

    /// Renews every claim whose fence holds; returns how many that were.
    pub(crate) fn renew(&mut self, claims: &[ClaimRef<HashMapKey>], lease: Duration, now: Instant) -> usize {
        let mut renewed = 0;
        for claim in claims {
            let Some(mut entry) = self.row(claim.key).map(|row| row.entry) else {
                continue;
            };
            if entry.renew(claim.fence, lease, now).is_ok() {
                self.change(claim.key.slot, entry, now);
                renewed += 1;
            }
        }
        renewed
    }

    /// Takes out of the schedules what is due first.
    fn select_due(&mut self, limit: usize, now: Instant, selected: &mut Vec<(Turn, Slot)>) {
        let leased = self.leased.first(&self.table);
        if self.pending.is_in_order() && leased.is_none_or(|((at, _), _)| at > now) {
            self.visited += self.pending.take_due(&mut self.table, limit, now, selected);
            return;
        }
        while selected.len() < limit {
            let pending = self.pending.first(&self.table);
            let leased = self.leased.first(&self.table);
            let first = match (pending, leased) {
                (Some(pending), Some(leased)) => pending.min(leased),
                (Some(only), None) | (None, Some(only)) => only,
                (None, None) => return,
            };
            self.visited += 1;
            let ((at, _), slot) = first;
            if at > now {
                return;
            }
            self.unlink(slot);
            selected.push(first);
        }
    }

    /// Chooses those of `ids` that are free, each once.
    fn select_ids(&mut self, ids: &[&str], limit: usize, now: Instant, selected: &mut Vec<(Turn, Slot)>) {
        for id in ids {
            let Some(slot) = self.slot_of(id) else { continue };
            self.visited += 1;
            selected.extend(
                self.table
                    .get(slot)
                    .and_then(|row| free(row, now))
                    .map(|turn| (turn, slot)),
            );
        }
        selected.sort_unstable();
        selected.dedup();
        selected.truncate(limit);
        for (_, slot) in selected {
            self.unlink(*slot);
        }
    }

    /// Claims a row that was taken out of its schedule.
    #[inline]
    fn claim_row(
        &mut self,
        slot: Slot,
        request: &ClaimRequest<'_>,
        now: Instant,
        batch: &mut Vec<HashMapClaimed>,
    ) {
        let Some((row, message, pieces)) = self.table.get_beside(slot) else {
            return;
        };
        let before = row.entry.state().status();
        let claiming = row
            .entry
            .claim(request.worker, request.lease, request.max_abandoned, now);
        let fence = match claiming {
            Claiming::Granted(fence) => fence,
            Claiming::Abandoned => {
                let times = row.entry.abandoned();
                let error = Excerpt::display(&format_args!(
                    "abandoned: {times} leases lapsed without a word from their holders"
                ));
                self.errors.insert(slot, error);
                self.moved(slot, before, now);
                return;
            }
            Claiming::NotFree => {
                self.moved(slot, before, now);
                return;
            }
        };
        let Some(piece) = pieces.share(message) else {
            return;
        };
        batch.push(HashMapClaimed {
            piece: piece.clone(),
            message,
            claim: ClaimRef {
                key: HashMapKey {
                    slot,
                    sequence: row.sequence,
                },
                fence,
            },
            failures: row.entry.failures(),
            committed: row.entry.committed(),
            claimed: now,
        });
        let behind = self.leased.append(row, slot, true);
        self.leased.link(&mut self.table, behind, slot);
        // It was free, so it is a head, and stays one.
        *self.count(before) -= 1;
        *self.count(Status::InFlight) += 1;
    }
}

/// When a row was due, if it is free: it stands in a schedule of live rows, and its turn has come.
fn free(row: &Row, now: Instant) -> Option<Turn> {
    let free = row.place != Place::None && row.entry.is_live() && row.at() <= now;
    free.then(|| row.turn())
}
