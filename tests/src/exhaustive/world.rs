//! One state of the world that is searched: rows, who believes to hold them, and what is on its way to the
//! broker. What can happen is in `protocol`.

use postbox::claim::{Entry, Fence, State};
use postbox::id::WorkerId;
use postbox::time::Instant;

/// Everything there is. Messages are numbered in commit order.
#[derive(Clone, Copy, Debug, Default)]
pub struct World {
    /// `None` before the commit.
    pub rows: [Option<Row>; MAX_MESSAGES],
}

/// One message: what the store knows of it, and what it cannot know.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What the store knows.
    pub entry: Entry,
    /// Who believes to hold it, earliest claim first.
    pub held: [Option<Held>; MAX_HELD],
    /// Publishes under way that nobody waits for any more: each may land at any time, or never.
    pub late: u8,
    /// How often the broker took it: 2 stands for more than once.
    pub landed: u8,
    /// It was given up at some time.
    pub died: bool,
}

/// A claim, as its holder sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// What it was granted.
    pub fence: Fence,
    /// How far it is.
    pub phase: Phase,
    /// What the claim is worth, told by the history alone and not by the fence.
    pub right: Right,
}

/// How far a holder is with its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has not tried to publish.
    Claimed,
    /// Its publish is under way.
    Sent,
    /// Its publish landed, but the acknowledgement was lost.
    Unanswered,
    /// The broker acknowledged.
    Acknowledged,
}

/// What a claim is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// The lease runs.
    Live,
    /// The lease is over, but nobody has taken the message.
    Lapsed,
    /// Somebody else claimed the message, or buried it.
    Overtaken,
}

/// The present. Time passes by moving deadlines before it, so that there are finitely many states.
pub const NOW: Instant = Instant::from_millis(1_000_000);
/// Up to so many messages.
pub const MAX_MESSAGES: usize = 3;
/// Up to so many claims of one message at once.
pub const MAX_HELD: usize = 3;

impl World {
    /// The committed messages and their rows.
    pub fn committed(&self) -> impl Iterator<Item = (usize, &Row)> {
        let rows = self.rows.iter().enumerate();
        rows.filter_map(|(message, row)| Some((message, row.as_ref()?)))
    }

    /// All of it in one number, exactly, save that two workers who change places are taken for the same.
    pub fn pack(&self) -> u128 {
        let (mut packed, mut workers) = (0, 0);
        for row in &self.rows {
            let (row, mask) = row.as_ref().map_or((0, 0), Row::pack);
            packed = (packed << ROW_BITS) | row;
            workers = (workers << ROW_BITS) | mask;
        }
        packed.min(packed ^ workers)
    }

    /// What the store knows, and what landed; without holders and late publishes.
    pub fn pack_stored(&self) -> u128 {
        let stored = |row: &Option<Row>| row.as_ref().map_or(0, Row::pack_stored);
        self.rows
            .iter()
            .fold(0, |packed, row| (packed << ROW_BITS) | stored(row))
    }
}

impl Row {
    /// A message that was just committed.
    pub fn new(entry: Entry) -> Self {
        Self {
            entry,
            held: [None; MAX_HELD],
            late: 0,
            landed: 0,
            died: false,
        }
    }

    /// The claims and their places.
    pub fn holders(&self) -> impl Iterator<Item = (usize, &Held)> {
        let held = self.held.iter().enumerate();
        held.filter_map(|(place, held)| Some((place, held.as_ref()?)))
    }

    /// Takes in a new claim behind the others; false when there are `limit`.
    pub(super) fn hold(&mut self, held: Held, limit: usize) -> bool {
        let mut places = self.held.iter_mut().take(limit);
        let free = places.find(|place| place.is_none());
        free.map(|place| *place = Some(held)).is_some()
    }

    /// Takes a claim out; later ones move up.
    pub(super) fn let_go(&mut self, place: usize) -> Option<Held> {
        let held = self.held[place].take();
        self.held[place..].rotate_left(1);
        held
    }

    /// Whoever held it holds it no more.
    pub(super) fn overtake(&mut self) {
        for held in self.held.iter_mut().flatten() {
            held.right = Right::Overtaken;
        }
    }

    pub(super) fn advance(&mut self, place: usize, phase: Phase) {
        if let Some(held) = &mut self.held[place] {
            held.phase = phase;
        }
    }

    /// Its deadline passes.
    pub(super) fn pass(&mut self) {
        let state = match self.entry.state() {
            State::Pending { .. } => State::Pending { due: NOW },
            State::InFlight { .. } => State::InFlight { until: NOW },
            at_its_end => at_its_end,
        };
        let (fence, failures, abandoned) =
            (self.entry.fence(), self.entry.failures(), self.entry.abandoned());
        self.entry = Entry::restored(state, fence, failures, abandoned, NOW);
        for held in self.held.iter_mut().flatten() {
            if held.right == Right::Live {
                held.right = Right::Lapsed;
            }
        }
    }

    /// The same row in the smallest numbers that behave the same: attempts keep their order and lose their
    /// gaps, and a worker whose claim nobody has needs no name. So a history of any length has finitely many states.
    pub(super) fn normalise(&mut self) {
        let current = self.entry.fence();
        let attempts = self
            .held
            .map(|held| held.map_or(current.attempt, |held| held.fence.attempt));
        // How many different attempts are earlier. Held ones are in order.
        let rank = |attempt: u32| {
            let mut rank = u32::from(current.attempt < attempt && !attempts.contains(&current.attempt));
            let mut before = None;
            for earlier in attempts {
                rank += u32::from(earlier < attempt && before != Some(earlier));
                before = Some(earlier);
            }
            rank
        };
        let fence = Fence {
            worker: self.named_worker(),
            attempt: rank(current.attempt),
        };
        for held in self.held.iter_mut().flatten() {
            held.fence.attempt = rank(held.fence.attempt);
        }
        let (failures, abandoned) = (self.entry.failures(), self.entry.abandoned());
        self.entry = Entry::restored(self.entry.state(), fence, failures, abandoned, NOW);
    }

    /// The worker of the row's fence, if anybody has a claim of that attempt.
    fn named_worker(&self) -> WorkerId {
        let fence = self.entry.fence();
        let is_held = self
            .holders()
            .any(|(_, held)| held.fence.attempt == fence.attempt);
        if is_held {
            fence.worker
        } else {
            WorkerId::default()
        }
    }

    /// The row, and where in that number the names of workers stand.
    fn pack(&self) -> (u128, u128) {
        let fence = self.entry.fence();
        let is_held = self
            .holders()
            .any(|(_, held)| held.fence.attempt == fence.attempt);
        let mut packed = self.pack_stored() << 5;
        packed |=
            u128::from(fence.worker.get()) << 4 | u128::from(fence.attempt) << 2 | u128::from(self.late);
        let mut workers = u128::from(is_held) << 4;
        for held in self.held {
            packed = (packed << HELD_BITS) | held.map_or(0, Held::pack);
            workers = (workers << HELD_BITS) | held.map_or(0, |_| WORKER_BIT);
        }
        (packed, workers)
    }

    fn pack_stored(&self) -> u128 {
        let state: u128 = match self.entry.state() {
            State::Pending { due } if due <= NOW => 1,
            State::Pending { .. } => 2,
            State::InFlight { until } if until > NOW => 3,
            State::InFlight { .. } => 4,
            State::Published { .. } => 5,
            State::Dead { .. } => 6,
        };
        let failures = u128::from(self.entry.failures());
        let abandoned = u128::from(self.entry.abandoned());
        let (landed, died) = (u128::from(self.landed), u128::from(self.died));
        [(failures, 2), (abandoned, 2), (landed, 2), (died, 1)]
            .into_iter()
            .fold(state, |packed, (value, bits)| (packed << bits) | value)
    }
}

impl Held {
    /// Just granted.
    pub(super) const fn new(fence: Fence) -> Self {
        Self {
            fence,
            phase: Phase::Claimed,
            right: Right::Live,
        }
    }

    fn pack(self) -> u128 {
        let (phase, right) = (self.phase as u128, self.right as u128);
        let (worker, attempt) = (
            u128::from(self.fence.worker.get()),
            u128::from(self.fence.attempt),
        );
        (1 << 7) | (phase << 5) | (right << 3) | (worker * WORKER_BIT) | attempt
    }
}

/// 1 that it is there, 2 for the phase, 2 for the right, 1 for the worker, 2 for the attempt.
const HELD_BITS: usize = 8;
const WORKER_BIT: u128 = 1 << 2;
/// 3 for the state, 2 + 2 + 2 + 1 for counts, 1 + 2 for the fence, 2 for late publishes, and the claims.
const ROW_BITS: usize = 15 + HELD_BITS * MAX_HELD;
const _: () = assert!(ROW_BITS * MAX_MESSAGES <= 128);
