//! The outbox itself: rows, and the one function through which each of them changes.
//!
//! Invariant: a live row stands in the schedule of its state if and only if no earlier message of its key is
//! under way; so what a claim finds there is free as soon as it is due, and nothing else is looked at.

use std::collections::HashMap;
use std::hash::RandomState;
use std::time::Duration;

use postbox::claim::{Entry, State, Status};
use postbox::id::Excerpt;
use postbox::message::OutboxMessage;
use postbox::store::{DeadPolicy, OutboxCounts, OutboxOptions, StoredMessage};
use postbox::time::Instant;

use crate::index::{ById, Index, hash};
use crate::lanes::Lanes;
use crate::packed::Packed;
use crate::schedule::Schedule;
use crate::table::{HashMapKey, List, NONE, Place, Row, Slot, Table, Turn};

/// All messages of one repository.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) options: OutboxOptions,
    pub(crate) table: Table,
    pub(crate) lanes: Lanes,
    pub(crate) pending: Schedule,
    pub(crate) leased: Schedule,
    pub(crate) published: Schedule,
    /// Why messages failed last: few did.
    pub(crate) errors: HashMap<Slot, Excerpt>,
    pub(crate) by_id: Index<ById>,
    hasher: RandomState,
    counts: OutboxCounts,
    next_sequence: u64,
    /// A row has become free to claim, or will, since the bell was last rung.
    pub(crate) freed: bool,
    /// How many rows claims have looked at.
    pub(crate) visited: u64,
    /// What a claim selects; kept so that claims do not allocate it.
    pub(crate) selected: Vec<(Turn, Slot)>,
}

impl Rows {
    pub(crate) fn new(options: OutboxOptions) -> Self {
        let hasher = RandomState::new();
        Self {
            options,
            table: Table::new(),
            lanes: Lanes::new(hasher.clone()),
            pending: Schedule::new(List::Pending),
            leased: Schedule::new(List::Leased),
            published: Schedule::new(List::Published),
            errors: HashMap::new(),
            by_id: Index::new(),
            hasher,
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

    /// The row that a key names, if it still exists.
    pub(crate) fn row(&self, key: HashMapKey) -> Option<&Row> {
        let row = self.table.get(key.slot)?;
        (row.sequence == key.sequence).then_some(row)
    }

    pub(crate) fn slot_of(&self, id: &str) -> Option<Slot> {
        let hash = self.hash(id);
        let mut at = self.by_id.first(hash);
        while let Some(row) = self.table.get(at) {
            if row.by_id.hash == hash && self.table.message(row).is_some_and(|message| message.id == id) {
                return Some(at);
            }
            at = row.by_id.next;
        }
        None
    }

    pub(crate) fn find(&self, id: &str) -> Option<StoredMessage> {
        self.stored(self.slot_of(id)?)
    }

    /// Up to `limit` rows with this status, in commit order.
    pub(crate) fn list(&self, status: Status, limit: usize) -> Vec<StoredMessage> {
        let with_status = |(_, row): &(Slot, &Row)| row.entry.state().status() == status;
        let mut rows: Vec<(Slot, &Row)> = self.table.iter().filter(with_status).collect();
        rows.sort_unstable_by_key(|(_, row)| row.sequence);
        let listed = rows.into_iter().take(limit);
        listed.filter_map(|(slot, _)| self.stored(slot)).collect()
    }

    /// Takes in a new row behind all others.
    pub(crate) fn insert(&mut self, message: &OutboxMessage, entry: Entry, now: Instant) -> HashMapKey {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let hash = self.hash(message.id());
        let slot = self.table.insert(message, entry, sequence);
        self.by_id.insert(&mut self.table, slot, hash);
        *self.count(entry.state().status()) += 1;
        self.settle_in(slot, now);
        HashMapKey { slot, sequence }
    }

    /// Gives a row its new entry and moves it, and whoever it was in the way of, to where they now belong.
    pub(crate) fn change(&mut self, slot: Slot, entry: Entry, now: Instant) {
        self.unlink(slot);
        let Some(row) = self.table.get_mut(slot) else {
            return;
        };
        let before = std::mem::replace(&mut row.entry, entry).state().status();
        self.moved(slot, before, now);
    }

    /// Moves a row that stands in no schedule and has a new entry to where it now belongs.
    pub(crate) fn moved(&mut self, slot: Slot, before: Status, now: Instant) {
        let Some(row) = self.table.get(slot) else { return };
        let after = row.entry.state().status();
        *self.count(before) -= 1;
        *self.count(after) += 1;
        self.settle_in(slot, now);
    }

    /// Takes a row out of its schedule, if it stands in one.
    pub(crate) fn unlink(&mut self, slot: Slot) {
        let place = self.table.get(slot).map(|row| row.place);
        if let Some(schedule) =
            place.and_then(|place| schedule(&mut self.pending, &mut self.leased, &mut self.published, place))
        {
            schedule.remove(&mut self.table, slot);
        }
    }

    /// Deletes a row, wherever it stands. All that is known of it is read at once.
    pub(crate) fn delete(&mut self, slot: Slot, now: Instant) {
        let Some(stood) = self.table.remove(slot) else {
            return;
        };
        if let Some(schedule) = schedule(
            &mut self.pending,
            &mut self.leased,
            &mut self.published,
            stood.place,
        ) {
            schedule.close_up(&mut self.table, stood.place, stood.links, stood.turn);
        }
        if let Some(promoted) = self
            .lanes
            .close_up(&mut self.table, slot, stood.lane, stood.by_key)
        {
            self.link_if_head(promoted, now);
        }
        self.by_id.remove(&mut self.table, slot, stood.by_id, NONE);
        *self.count(stood.status) -= 1;
        if !self.errors.is_empty() {
            self.errors.remove(&slot);
        }
    }

    /// Puts a row that stands in no schedule where its state says.
    fn settle_in(&mut self, slot: Slot, now: Instant) {
        let Some(row) = self.table.get(slot) else { return };
        match row.entry.state() {
            State::Pending { .. } | State::InFlight { .. } => {
                self.join_lane(slot);
                self.link_if_head(slot, now);
            }
            State::Dead { .. } => {
                self.table.set_apart(slot);
                match self.options.dead_policy() {
                    DeadPolicy::Block => self.join_lane(slot),
                    DeadPolicy::Skip => self.leave_lane(slot, now),
                }
            }
            State::Published { .. } => {
                if self.options.retention().is_some() {
                    self.leave_lane(slot, now);
                    self.published.push(&mut self.table, slot, true);
                } else {
                    self.delete(slot, now);
                }
            }
        }
    }

    fn join_lane(&mut self, slot: Slot) {
        let keyed = |row: &&Row| !row.lane.inside && row.message.is_some_and(Packed::is_keyed);
        let Some(row) = self.table.get(slot).filter(keyed) else {
            return;
        };
        // Shared for the moment, as the key is read while the lane is written.
        let Some((message, piece)) = row
            .message
            .and_then(|message| Some((message, self.table.pieces.share(message)?.clone())))
        else {
            return;
        };
        let key = message.view(&piece).key.unwrap_or_default();
        if let Some(displaced) = self.lanes.join(&mut self.table, key, slot) {
            self.unlink(displaced);
        }
    }

    fn leave_lane(&mut self, slot: Slot, now: Instant) {
        if let Some(promoted) = self.lanes.leave(&mut self.table, slot) {
            self.link_if_head(promoted, now);
        }
    }

    /// Puts a live row into the schedule of its state, unless it has to wait for another.
    fn link_if_head(&mut self, slot: Slot, now: Instant) {
        let Some(row) = self.table.get(slot) else { return };
        if row.lane.inside && row.lane.links.previous != NONE {
            return;
        }
        let at = row.at();
        match row.entry.state() {
            State::Pending { .. } => {
                self.pending.push(&mut self.table, slot, at <= now);
                // Also if it is due later: whoever sleeps asks again until when.
                self.freed = true;
            }
            State::InFlight { .. } => {
                self.leased.push(&mut self.table, slot, true);
                self.freed |= at <= now;
            }
            State::Published { .. } | State::Dead { .. } => {}
        }
    }

    /// How long until the first live row is free.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Duration> {
        let firsts = [&self.pending, &self.leased].map(|schedule| schedule.first(&self.table));
        let first = firsts.into_iter().flatten().min();
        first.map(|((at, _), _)| at.since(now))
    }

    fn hash(&self, id: &str) -> u32 {
        hash(&self.hasher, id)
    }

    pub(crate) const fn count(&mut self, status: Status) -> &mut u64 {
        match status {
            Status::Pending => &mut self.counts.pending,
            Status::InFlight => &mut self.counts.in_flight,
            Status::Published => &mut self.counts.published,
            Status::Dead => &mut self.counts.dead,
        }
    }

    fn stored(&self, slot: Slot) -> Option<StoredMessage> {
        let row = self.table.get(slot)?;
        Some(StoredMessage {
            message: self.table.pieces.to_message(row.message?),
            entry: row.entry,
            last_error: self.errors.get(&slot).cloned().unwrap_or_default(),
        })
    }
}

/// The schedule in which a row stands in this place.
#[inline]
const fn schedule<'a>(
    pending: &'a mut Schedule,
    leased: &'a mut Schedule,
    published: &'a mut Schedule,
    place: Place,
) -> Option<&'a mut Schedule> {
    match place {
        Place::None => None,
        Place::List(List::Pending) | Place::Stray(List::Pending) => Some(pending),
        Place::List(List::Leased) | Place::Stray(List::Leased) => Some(leased),
        Place::List(List::Published) | Place::Stray(List::Published) => Some(published),
    }
}
