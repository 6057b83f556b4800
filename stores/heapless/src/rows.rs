//! The outbox itself: rows, and the one function through which each of them changes.
//!
//! Invariant: a live row stands in the list of its state if and only if no earlier message of its key is under way; so
//! what a claim finds there is free as soon as it is due, and nothing else is looked at.

use core::time::Duration;

use postbox::claim::{Entry, State, Status};
use postbox::message::MessageRef;
use postbox::store::DeadPolicy;
use postbox::time::Instant;

use crate::HeaplessOptions;
use crate::claim::LIVE;
use crate::slot::{HeaplessKey, Index, List, Slot};
use crate::table::Table;

/// How many messages stand where: see the [crate].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaplessCounts {
    /// Waiting for a claim.
    pub pending: usize,
    /// Claimed.
    pub in_flight: usize,
    /// Published and still kept.
    pub published: usize,
    /// Given up.
    pub dead: usize,
    /// Dropped undelivered, ever, to make room; see [`Overflow`](crate::Overflow).
    pub dropped: u64,
}

/// All messages of one outbox.
#[derive(Debug)]
pub(crate) struct Rows<const N: usize, const TEXT: usize, const PAYLOAD: usize> {
    pub(crate) table: Table<N, TEXT, PAYLOAD>,
    pub(crate) options: HeaplessOptions,
    pub(crate) counts: HeaplessCounts,
    next_sequence: u64,
    /// A row has become free to claim since the bell was last rung.
    pub(crate) freed: bool,
}

impl<const N: usize, const TEXT: usize, const PAYLOAD: usize> Rows<N, TEXT, PAYLOAD> {
    pub(crate) const fn new(options: HeaplessOptions) -> Self {
        Self {
            table: Table::new(),
            options,
            counts: HeaplessCounts {
                pending: 0,
                in_flight: 0,
                published: 0,
                dead: 0,
                dropped: 0,
            },
            next_sequence: 0,
            freed: false,
        }
    }

    /// The row that a key names, if it still exists.
    pub(crate) fn row(&self, key: HeaplessKey) -> Option<&Slot<TEXT, PAYLOAD>> {
        let row = self.table.get(key.slot)?;
        (row.sequence == key.sequence).then_some(row)
    }

    /// Takes in a new row behind all others; `None` when there is no place.
    pub(crate) fn insert(
        &mut self,
        message: &MessageRef<'_>,
        hash: u32,
        entry: Entry,
        now: Instant,
    ) -> Option<HeaplessKey> {
        let slot = self.table.take(hash)?;
        let sequence = self.next_sequence;
        self.next_sequence = sequence.saturating_add(1);
        let row = self.table.get_mut(slot)?;
        row.message.fill(message);
        row.entry = entry;
        row.sequence = sequence;
        if !row.last_error.is_empty() {
            row.last_error = postbox::id::Excerpt::EMPTY;
        }
        self.count(entry.state().status(), 1);
        self.settle_in(slot, now);
        Some(HeaplessKey { slot, sequence })
    }

    /// Gives a row its new entry and moves it, and whoever it was in the way of, to where they now belong.
    pub(crate) fn change(&mut self, slot: Index, entry: Entry, now: Instant) {
        self.table.unlink(slot);
        let Some(row) = self.table.get_mut(slot) else {
            return;
        };
        let before = core::mem::replace(&mut row.entry, entry);
        self.count(before.state().status(), -1);
        self.count(entry.state().status(), 1);
        self.settle_in(slot, now);
    }

    /// Deletes a row, whatever its state; what it was in the way of becomes free.
    pub(crate) fn delete(&mut self, slot: Index, now: Instant) {
        self.table.unlink(slot);
        self.leave_lane(slot, now);
        if let Some(row) = self.table.get(slot) {
            let status = row.entry.state().status();
            self.count(status, -1);
            self.table.give(slot);
        }
    }

    /// Puts a row that stands in no list where its state says.
    fn settle_in(&mut self, slot: Index, now: Instant) {
        let Some(row) = self.table.get(slot) else { return };
        match row.entry.state() {
            State::Pending { .. } | State::InFlight { .. } => {
                if let Some(displaced) = self.table.join_lane(slot) {
                    self.table.unlink(displaced);
                }
                self.link_if_head(slot, now);
            }
            State::Dead { .. } if self.options.dead == DeadPolicy::Block => {
                if let Some(displaced) = self.table.join_lane(slot) {
                    self.table.unlink(displaced);
                }
            }
            State::Dead { .. } => self.leave_lane(slot, now),
            State::Published { at } => {
                self.leave_lane(slot, now);
                if self.options.retention.is_some() {
                    self.table.link(slot, List::Published, at);
                } else {
                    self.delete(slot, now);
                }
            }
        }
    }

    fn leave_lane(&mut self, slot: Index, now: Instant) {
        if let Some(promoted) = self.table.leave_lane(slot) {
            self.link_if_head(promoted, now);
        }
    }

    /// Puts a live row into the list of its state, unless it has to wait for another.
    fn link_if_head(&mut self, slot: Index, now: Instant) {
        if !self.table.is_head(slot) {
            return;
        }
        let (list, at) = match self.table.get(slot).map(|row| row.entry.state()) {
            Some(State::Pending { due }) if due <= now => (List::Ready, due),
            Some(State::Pending { due }) => (List::Later, due),
            Some(State::InFlight { until }) => (List::Leased, until),
            _ => return,
        };
        self.table.link(slot, list, at);
        // Also if it is due later: whoever sleeps asks again until when.
        self.freed |= at <= now || list == List::Later;
    }

    /// How long until the first live row is free.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Duration> {
        let firsts = LIVE.map(|list| self.table.first(list));
        let first = firsts.into_iter().flatten().min();
        first.map(|((at, _), _)| at.since(now))
    }

    const fn count(&mut self, status: Status, by: isize) {
        let count = match status {
            Status::Pending => &mut self.counts.pending,
            Status::InFlight => &mut self.counts.in_flight,
            Status::Published => &mut self.counts.published,
            Status::Dead => &mut self.counts.dead,
        };
        *count = count.saturating_add_signed(by);
    }
}
