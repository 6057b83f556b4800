//! The outbox itself: rows, and the one function through which each of them changes.
//!
//! Invariant: a live row stands in the schedule of its state if and only if no earlier message of its key is
//! under way; so what a claim finds there is free as soon as it is due, and nothing else is looked at.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use postbox::claim::{Entry, State, Status};
use postbox::id::Excerpt;
use postbox::message::OutboxMessage;
use postbox::store::{DeadPolicy, OutboxCounts, OutboxOptions, StoredMessage};
use postbox::time::Instant;

use crate::lanes::Lanes;
use crate::schedule::{Schedule, Turn};
use crate::slab::{HashMapKey, List, Row, Slab};

/// All messages of one repository.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) options: OutboxOptions,
    pub(crate) slab: Slab,
    pub(crate) lanes: Lanes,
    pub(crate) pending: Schedule,
    pub(crate) leased: Schedule,
    pub(crate) published: Schedule,
    /// Only ever asked for one id; its order is never seen.
    by_id: HashMap<ById, usize>,
    counts: OutboxCounts,
    next_sequence: u64,
    /// A row has become free to claim, or will, since the bell was last rung.
    pub(crate) freed: bool,
    /// How many rows claims have looked at.
    pub(crate) visited: u64,
    /// What a claim selects; kept so that claims do not allocate it.
    pub(crate) selected: Vec<(Turn, usize)>,
}

impl Rows {
    pub(crate) fn new(options: OutboxOptions) -> Self {
        Self {
            options,
            slab: Slab::new(),
            lanes: Lanes::default(),
            pending: Schedule::new(),
            leased: Schedule::new(),
            published: Schedule::new(),
            by_id: HashMap::new(),
            counts: OutboxCounts::default(),
            next_sequence: 0,
            freed: false,
            visited: 0,
            selected: Vec::new(),
        }
    }

    pub(crate) const fn counts(&self) -> OutboxCounts {
        self.counts
    }

    /// The slot of a key's row, if it still exists.
    pub(crate) fn row(&self, key: HashMapKey) -> Option<&Row> {
        self.slab.get(key.slot).filter(|row| row.sequence == key.sequence)
    }

    pub(crate) fn slot_of(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn find(&self, id: &str) -> Option<StoredMessage> {
        self.slab.get(self.slot_of(id)?).map(stored)
    }

    /// Up to `limit` rows with this status, in commit order.
    pub(crate) fn list(&self, status: Status, limit: usize) -> Vec<StoredMessage> {
        let with_status = |(_, row): &(usize, &Row)| row.entry.state().status() == status;
        let mut rows: Vec<&Row> = self.slab.iter().filter(with_status).map(|(_, row)| row).collect();
        rows.sort_unstable_by_key(|row| row.sequence);
        rows.into_iter().take(limit).map(stored).collect()
    }

    /// Takes in a new row behind all others.
    pub(crate) fn insert(&mut self, message: OutboxMessage, entry: Entry, now: Instant) -> HashMapKey {
        let message = Arc::new(message);
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let slot = self.slab.insert(Row {
            message: message.clone(),
            entry,
            sequence,
            last_error: Excerpt::EMPTY,
            lane: None,
            place: None,
        });
        self.by_id.insert(ById(message), slot);
        *self.count(entry.state().status()) += 1;
        self.settle_in(slot, now);
        HashMapKey { slot, sequence }
    }

    /// Gives a row its new entry and moves it, and whoever it was in the way of, to where they now belong.
    pub(crate) fn change(&mut self, slot: usize, entry: Entry, now: Instant) {
        self.unlink(slot);
        let Some(row) = self.slab.get_mut(slot) else {
            return;
        };
        let before = std::mem::replace(&mut row.entry, entry).state().status();
        *self.count(before) -= 1;
        *self.count(entry.state().status()) += 1;
        self.settle_in(slot, now);
    }

    /// Takes a row out of its schedule, if it stands in one.
    pub(crate) fn unlink(&mut self, slot: usize) {
        let Some(row) = self.slab.get_mut(slot) else {
            return;
        };
        let sequence = row.sequence;
        if let Some(place) = row.place.take() {
            let schedule = match place.list {
                List::Pending => &mut self.pending,
                List::Leased => &mut self.leased,
                List::Published => &mut self.published,
            };
            schedule.remove(&mut self.slab, sequence, place);
        }
    }

    /// Deletes a row that stands in no schedule.
    pub(crate) fn delete(&mut self, slot: usize) {
        if let Some(row) = self.slab.remove(slot) {
            self.by_id.remove(row.message.id());
            *self.count(row.entry.state().status()) -= 1;
        }
    }

    /// Puts a row that stands in no schedule where its state says.
    fn settle_in(&mut self, slot: usize, now: Instant) {
        let Some(row) = self.slab.get(slot) else { return };
        match row.entry.state() {
            State::Pending { .. } | State::InFlight { .. } => {
                self.join_lane(slot);
                self.link_if_head(slot, now);
            }
            State::Dead { .. } if self.options.dead_policy() == DeadPolicy::Block => self.join_lane(slot),
            State::Dead { .. } => self.leave_lane(slot, now),
            State::Published { at } => {
                self.leave_lane(slot, now);
                if self.options.retention().is_some() {
                    self.published
                        .push(&mut self.slab, slot, List::Published, at, true);
                } else {
                    self.delete(slot);
                }
            }
        }
    }

    fn join_lane(&mut self, slot: usize) {
        let Some(row) = self.slab.get_mut(slot) else {
            return;
        };
        let (None, Some(key)) = (row.lane, row.message.as_ref().as_ref().key) else {
            return;
        };
        let joined = self.lanes.join(key, row.sequence, slot);
        row.lane = Some(joined.lane);
        if let Some(displaced) = joined.displaced {
            self.unlink(displaced);
        }
    }

    fn leave_lane(&mut self, slot: usize, now: Instant) {
        let Some(row) = self.slab.get_mut(slot) else {
            return;
        };
        let Some(lane) = row.lane.take() else { return };
        if let Some(promoted) = self.lanes.leave(lane, row.sequence) {
            self.link_if_head(promoted, now);
        }
    }

    /// Puts a live row into the schedule of its state, unless it has to wait for another.
    fn link_if_head(&mut self, slot: usize, now: Instant) {
        let Some(row) = self.slab.get(slot) else { return };
        if row
            .lane
            .is_some_and(|lane| !self.lanes.is_head(lane, row.sequence))
        {
            return;
        }
        match row.entry.state() {
            State::Pending { due } => {
                let in_order = due <= now;
                self.pending
                    .push(&mut self.slab, slot, List::Pending, due, in_order);
                // Also if it is due later: whoever sleeps asks again until when.
                self.freed = true;
            }
            State::InFlight { until } => {
                self.leased.push(&mut self.slab, slot, List::Leased, until, true);
                self.freed |= until <= now;
            }
            State::Published { .. } | State::Dead { .. } => {}
        }
    }

    /// How long until the first live row is free.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Duration> {
        let firsts = [&self.pending, &self.leased].map(|schedule| schedule.first(&self.slab));
        let first = firsts.into_iter().flatten().min();
        first.map(|((at, _), _)| at.since(now))
    }

    const fn count(&mut self, status: Status) -> &mut u64 {
        match status {
            Status::Pending => &mut self.counts.pending,
            Status::InFlight => &mut self.counts.in_flight,
            Status::Published => &mut self.counts.published,
            Status::Dead => &mut self.counts.dead,
        }
    }
}

fn stored(row: &Row) -> StoredMessage {
    StoredMessage {
        message: row.message.as_ref().clone(),
        entry: row.entry,
        last_error: row.last_error.clone(),
    }
}

/// A message that is looked up by its id.
#[derive(Debug)]
struct ById(Arc<OutboxMessage>);

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        self.0.id()
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

impl Eq for ById {}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id().hash(state);
    }
}
