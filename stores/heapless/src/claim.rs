//! Claims and renewals: choosing rows, and running core's rule on each.

use core::time::Duration;

use heapless::Vec;
use postbox::claim::Claiming;
use postbox::id::Excerpt;
use postbox::message::MessageRef;
use postbox::store::{ClaimRef, ClaimRequest, ClaimedMessage, Which};
use postbox::time::Instant;

use crate::rows::Rows;
use crate::schedule::Turn;
use crate::slot::{HeaplessKey, Index, List, Stored, hash};

/// A claimed message: a copy, since its place may be given to another message when the lease has lapsed.
/// The [crate] has an example.
#[derive(Clone, Debug)]
pub struct HeaplessClaimed<const TEXT: usize, const PAYLOAD: usize> {
    message: Stored<TEXT, PAYLOAD>,
    claim: ClaimRef<HeaplessKey>,
    failures: u32,
    /// Its age is the time between, which is dear to tell, and asked for only when a publish failed.
    committed: Instant,
    claimed: Instant,
}

impl<const TEXT: usize, const PAYLOAD: usize> ClaimedMessage for HeaplessClaimed<TEXT, PAYLOAD> {
    type Key = HeaplessKey;

    fn message(&self) -> MessageRef<'_> {
        self.message.as_ref()
    }
    fn claim(&self) -> ClaimRef<HeaplessKey> {
        self.claim
    }
    fn failures(&self) -> u32 {
        self.failures
    }
    fn age(&self) -> Duration {
        self.claimed.since(self.committed)
    }
}

/// The lists of rows that a claim may find.
pub(crate) const LIVE: [List; 3] = [List::Ready, List::Later, List::Leased];

impl<const N: usize, const TEXT: usize, const PAYLOAD: usize> Rows<N, TEXT, PAYLOAD> {
    /// Claims the first free rows, by when they were due and then by commit; hands them out by commit.
    pub(crate) fn claim<const BATCH: usize>(
        &mut self,
        request: &ClaimRequest<'_>,
        now: Instant,
        batch: &mut Vec<HeaplessClaimed<TEXT, PAYLOAD>, BATCH>,
    ) {
        // All are chosen before any is changed: what a buried row sets free is for the next claim.
        let mut chosen: Vec<(Turn, Index), BATCH> = Vec::new();
        match request.which {
            Which::Due => self.choose_due(request.limit, now, &mut chosen),
            Which::Ids(ids) => self.choose_ids(ids, request.limit, now, &mut chosen),
        }
        by_commit(&mut chosen);
        batch.clear();
        for (_, slot) in &chosen {
            self.claim_row(*slot, request, now, batch);
        }
    }

    /// Renews every claim whose fence holds; returns how many that were.
    pub(crate) fn renew(&mut self, claims: &[ClaimRef<HeaplessKey>], lease: Duration, now: Instant) -> usize {
        let mut renewed = 0_usize;
        for claim in claims {
            let Some(mut entry) = self.row(claim.key).map(|row| row.entry) else {
                continue;
            };
            if entry.renew(claim.fence, lease, now).is_ok() {
                self.change(claim.key.slot, entry, now);
                renewed = renewed.saturating_add(1);
            }
        }
        renewed
    }

    /// Merges the heads of the lists, as far as they are due.
    fn choose_due<const BATCH: usize>(
        &self,
        limit: usize,
        now: Instant,
        chosen: &mut Vec<(Turn, Index), BATCH>,
    ) {
        let mut heads = LIVE.map(|list| self.table.first(list).filter(|((at, _), _)| *at <= now));
        while chosen.len() < limit && !chosen.is_full() {
            let first = heads
                .iter_mut()
                .filter(|head| head.is_some())
                .min_by_key(|head| **head);
            let Some(head) = first else { return };
            let Some((turn, slot)) = *head else { return };
            let _ = chosen.push((turn, slot));
            *head = self.table.after(slot).filter(|((at, _), _)| *at <= now);
        }
    }

    /// Of `ids`, the first that are free, each once.
    fn choose_ids<const BATCH: usize>(
        &self,
        ids: &[&str],
        limit: usize,
        now: Instant,
        chosen: &mut Vec<(Turn, Index), BATCH>,
    ) {
        let limit = limit.min(BATCH);
        for id in ids {
            let Some(slot) = self.table.find(id, hash(id)) else {
                continue;
            };
            let Some(turn) = self.turn_of_free(slot, now) else {
                continue;
            };
            let at = chosen.partition_point(|(earlier, _)| *earlier < turn);
            if at >= limit || chosen.get(at).is_some_and(|(same, _)| *same == turn) {
                continue;
            }
            if chosen.len() >= limit {
                chosen.pop();
            }
            let _ = chosen.insert(at, (turn, slot));
        }
    }

    /// When a row was due, if it is free: it stands in a list of live rows, and its turn has come.
    fn turn_of_free(&self, slot: Index, now: Instant) -> Option<Turn> {
        let row = self.table.get(slot)?;
        let place = row.place.filter(|place| row.entry.is_live() && place.at <= now)?;
        Some((place.at, row.sequence))
    }

    fn claim_row<const BATCH: usize>(
        &mut self,
        slot: Index,
        request: &ClaimRequest<'_>,
        now: Instant,
        batch: &mut Vec<HeaplessClaimed<TEXT, PAYLOAD>, BATCH>,
    ) {
        let Some(row) = self.table.get_mut(slot) else {
            return;
        };
        let mut entry = row.entry;
        match entry.claim(request.worker, request.lease, request.max_abandoned, now) {
            Claiming::Granted(fence) => {
                let key = HeaplessKey {
                    slot,
                    sequence: row.sequence,
                };
                let _ = batch.push(HeaplessClaimed {
                    message: row.message.clone(),
                    claim: ClaimRef { key, fence },
                    failures: entry.failures(),
                    committed: entry.committed(),
                    claimed: now,
                });
            }
            Claiming::Abandoned => {
                row.last_error = Excerpt::new("abandoned: its leases lapsed without a word");
            }
            Claiming::NotFree => return,
        }
        self.change(slot, entry, now);
    }
}

/// Sorts by insertion: few items, in order already but for retries; the standard sort is larger than this store.
fn by_commit(chosen: &mut [(Turn, Index)]) {
    for end in 1..chosen.len() {
        let mut at = end;
        while let Some(before) = at.checked_sub(1) {
            let earlier = chosen.get(before).map(|((_, sequence), _)| *sequence);
            if earlier <= chosen.get(at).map(|((_, sequence), _)| *sequence) {
                break;
            }
            chosen.swap(before, at);
            at = before;
        }
    }
}
