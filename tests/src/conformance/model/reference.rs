//! The reference: messages in a vector, in commit order; every question is a scan. Read it to know the rules.

use std::time::Duration;

use postbox::claim::{Claiming, Entry, Fence, State, Status, Verdict};
use postbox::id::WorkerId;
use postbox::store::{DeadPolicy, OutboxCounts};
use postbox::time::Instant;

use super::history::History;
use crate::conformance::StoreHarness;

/// An outbox, as simple as it can be said.
pub(super) struct Model {
    rows: Vec<Row>,
    retention: Option<Duration>,
    dead: DeadPolicy,
    max_abandoned: u32,
    /// See [`StoreHarness::lapsed_keep_their_place`].
    lapsed_keep_their_place: bool,
    /// See [`StoreHarness::claims_in_commit_order`].
    in_commit_order: bool,
}

struct Row {
    id: String,
    key: Option<u8>,
    entry: Entry,
    /// When it was due while it was last pending.
    was_due: Option<Instant>,
    /// It was deleted; the place in the vector stays, so that positions never change.
    gone: bool,
}

/// A claim that was granted: whose message, by its position, and under which fence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Granted {
    pub(super) row: usize,
    pub(super) fence: Fence,
    pub(super) failures: u32,
}

impl Model {
    pub(super) fn new<H: StoreHarness>(history: &History, harness: &H) -> Self {
        Self {
            lapsed_keep_their_place: harness.lapsed_keep_their_place(),
            in_commit_order: harness.claims_in_commit_order(),
            rows: Vec::new(),
            retention: history
                .retention
                .filter(|_| harness.retention())
                .map(Duration::from_millis),
            dead: history.dead,
            max_abandoned: history.max_abandoned,
        }
    }

    /// How many messages were ever committed; the next id comes from it.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn id(&self, row: usize) -> &str {
        &self.rows[row].id
    }

    pub(super) fn position(&self, id: &str) -> Option<usize> {
        self.rows.iter().position(|row| row.id == id && !row.gone)
    }

    /// A message comes; it is born claimed if that is asked for, it is due, and nobody is before it.
    pub(super) fn commit(
        &mut self,
        id: String,
        key: Option<u8>,
        delay: Duration,
        birth: Option<(WorkerId, Duration)>,
        now: Instant,
    ) -> Option<Granted> {
        let row = self.rows.len();
        let entry = Entry::pending(now, delay);
        let (gone, was_due) = (false, entry.due());
        self.rows.push(Row {
            id,
            key,
            entry,
            was_due,
            gone,
        });
        let (worker, lease) = birth.filter(|_| delay.is_zero() && self.is_head(row))?;
        let entry = Entry::in_flight(worker, lease, now);
        self.rows[row].entry = entry;
        Some(Granted {
            row,
            fence: entry.fence(),
            failures: 0,
        })
    }

    /// The first `limit` free ones by (due, commit), claimed, in commit order.
    pub(super) fn claim(
        &mut self,
        among: Option<&[usize]>,
        worker: WorkerId,
        limit: usize,
        lease: Duration,
        now: Instant,
    ) -> Vec<Granted> {
        let asked = |row: &usize| among.is_none_or(|among| among.contains(row));
        let mut free: Vec<usize> = (0..self.rows.len())
            .filter(|row| asked(row) && self.is_free(*row, now))
            .collect();
        free.sort_by_key(|row| (self.place(*row), *row));
        free.truncate(limit);
        free.sort_unstable();
        let mut granted = Vec::new();
        for row in free {
            let max = self.max_abandoned;
            self.rows[row].was_due = self.place(row);
            let entry = &mut self.rows[row].entry;
            if let Claiming::Granted(fence) = entry.claim(worker, lease, max, now) {
                let failures = entry.failures();
                granted.push(Granted { row, fence, failures });
            }
        }
        granted
    }

    pub(super) fn renew(&mut self, claims: &[(usize, Fence)], lease: Duration, now: Instant) -> usize {
        let mut renewed = 0;
        for (row, fence) in claims {
            let row = &mut self.rows[*row];
            renewed += usize::from(!row.gone && row.entry.renew(*fence, lease, now).is_ok());
        }
        renewed
    }

    /// Returns the positions of the settlements that were refused.
    pub(super) fn settle(&mut self, settlements: &[(usize, Fence, Verdict)], now: Instant) -> Vec<usize> {
        let mut refused = Vec::new();
        for (index, (row, fence, verdict)) in settlements.iter().enumerate() {
            let row = &mut self.rows[*row];
            if row.gone || row.entry.settle(*fence, *verdict, now).is_err() {
                refused.push(index);
            } else if *verdict == Verdict::Complete && self.retention.is_none() {
                row.gone = true;
            }
        }
        refused
    }

    pub(super) fn requeue(&mut self, rows: &[usize], now: Instant) -> usize {
        rows.iter()
            .filter(|row| self.rows[**row].entry.requeue(now))
            .count()
    }

    /// Nothing is left of claims: all that was not published is pending.
    pub(super) fn forget_claims(&mut self, now: Instant) {
        for row in &mut self.rows {
            row.entry = Entry::pending(now, Duration::ZERO);
        }
    }

    /// How many could be purged.
    pub(super) fn past(&self, now: Instant) -> usize {
        (0..self.rows.len()).filter(|row| self.is_past(*row, now)).count()
    }

    /// Follows a purge: which of those that may go go first is the store's to choose.
    pub(super) fn purged(&mut self, kept: &[String], now: Instant) {
        for row in 0..self.rows.len() {
            if self.is_past(row, now) && !kept.contains(&self.rows[row].id) {
                self.rows[row].gone = true;
            }
        }
    }

    /// All messages with a status, in commit order.
    pub(super) fn list(&self, status: Status) -> Vec<(String, Entry)> {
        let rows = self
            .rows
            .iter()
            .filter(|row| !row.gone && row.entry.state().status() == status);
        rows.map(|row| (row.id.clone(), row.entry)).collect()
    }

    pub(super) fn counts(&self) -> OutboxCounts {
        let count = |status| u64::try_from(self.list(status).len()).unwrap_or(u64::MAX);
        OutboxCounts {
            pending: count(Status::Pending),
            in_flight: count(Status::InFlight),
            published: count(Status::Published),
            dead: count(Status::Dead),
        }
    }

    /// By what the free ones are ordered.
    fn place(&self, row: usize) -> Option<Instant> {
        let it = &self.rows[row];
        match it.entry.state() {
            _ if self.in_commit_order => None,
            State::InFlight { .. } if self.lapsed_keep_their_place => it.was_due,
            _ => it.entry.due(),
        }
    }

    fn is_free(&self, row: usize, now: Instant) -> bool {
        let it = &self.rows[row];
        !it.gone && it.entry.due().is_some_and(|due| due <= now) && self.is_head(row)
    }

    /// No earlier message of its key is live, nor dead where the dead block.
    fn is_head(&self, row: usize) -> bool {
        let key = self.rows[row].key;
        let blocks = |earlier: &Row| match earlier.entry.state() {
            State::Pending { .. } | State::InFlight { .. } => true,
            State::Dead { .. } => self.dead == DeadPolicy::Block,
            State::Published { .. } => false,
        };
        key.is_none()
            || !self.rows[..row]
                .iter()
                .any(|earlier| earlier.key == key && !earlier.gone && blocks(earlier))
    }

    fn is_past(&self, row: usize, now: Instant) -> bool {
        let it = &self.rows[row];
        !it.gone
            && self
                .retention
                .is_some_and(|retention| it.entry.is_past(retention, now))
    }
}
