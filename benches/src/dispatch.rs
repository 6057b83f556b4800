//! Claim, publish to nowhere, settle: the dispatcher over the store in RAM, beside a slab that does the least that the
//! same promises need.

use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::WorkerId;
use postbox::store::HasOutboxStore;
use postbox_hashmap::{HashMapOutboxStore, HashMapRepository};

use crate::{
    Case, Contender, Effort, Failure, Figures, Filled, Nowhere, Suite, nanoseconds, side_by_side, spin,
};

pub(crate) const SUITE: Suite = Suite {
    name: "dispatch",
    measure,
    cases: &[
        Case {
            name: "dispatch keyed batch 256",
            steps: 8,
            units: 256,
            run: |steps| counted(steps, 256, true),
        },
        Case {
            name: "dispatch unkeyed batch 256",
            steps: 8,
            units: 256,
            run: |steps| counted(steps, 256, false),
        },
        Case {
            name: "dispatch keyed batch 32",
            steps: 64,
            units: 32,
            run: |steps| counted(steps, 32, true),
        },
    ],
};

/// Bytes of a payload.
const PAYLOAD: usize = 256;
/// Messages that wait while others are counted.
const WAITING: u64 = 8_192;
/// Messages drained for one figure, at least: as many stores as that takes.
const ENOUGH: u64 = 100_000;

/// A store full of messages, each of a key of its own or without, and what publishes them.
#[derive(Debug)]
pub struct Drain(OutboxDispatcher<HashMapOutboxStore, Nowhere>);

impl Drain {
    /// Over so many messages.
    pub fn of(rows: u64, keyed: bool) -> Result<Self, Failure> {
        let repository = HashMapRepository::new();
        // As they come: each in a commit of its own would be another order of memory, not of rows.
        Filled::fill(&repository, rows, PAYLOAD, keyed.then_some(rows))?;
        let config = DispatchConfig::new(WorkerId::new(1));
        Ok(Self(OutboxDispatcher::new(
            repository.outbox_store(),
            Nowhere,
            config,
        )))
    }

    /// Publishes a batch; returns how many that were.
    pub fn pass(&mut self, batch: usize) -> usize {
        spin(self.0.dispatch_batch(batch)).map_or(0, |outcome| outcome.published)
    }
}

/// Dispatches so many batches of a store that holds as many messages whatever the number.
fn counted(steps: u64, batch: usize, keyed: bool) {
    let Ok(mut drain) = Drain::of(WAITING, keyed) else {
        return;
    };
    for _ in 0..steps {
        drain.pass(batch);
    }
    // To free what is left would cost less the more was dispatched.
    std::mem::forget(drain);
}

fn measure(effort: Effort, figures: &mut Figures) -> Result<(), Failure> {
    for rows in [1_000, effort.pick(2_000, 100_000), effort.pick(3_000, 1_000_000)] {
        let stores = effort.pick(1, ENOUGH.div_ceil(rows));
        let of = move |keyed| {
            move || {
                let make = |_| Drain::of(rows, keyed);
                let mut drains: Vec<Drain> = (0..stores).map(make).collect::<Result<_, _>>()?;
                drained(rows * stores, &mut drains, |drain| drain.pass(256))
            }
        };
        let contenders = vec![
            Contender::new("a slab by hand", move || {
                let mut slabs: Vec<Slab> = (0..stores).map(|_| Slab::of(rows)).collect();
                drained(rows * stores, &mut slabs, |slab| slab.pass(256))
            }),
            Contender::new("ours", of(true)),
            Contender::new("ours, without keys", of(false)),
        ];
        side_by_side(figures, "dispatch", rows, effort.rounds(), contenders)?;
    }
    Ok(())
}

/// Nanoseconds a message, until nothing is left of any.
fn drained<D>(messages: u64, drains: &mut [D], pass: impl Fn(&mut D) -> usize) -> Result<f64, Failure> {
    let (done, each) = nanoseconds(messages, || {
        let mut done = 0;
        for drain in drains {
            loop {
                match pass(drain) {
                    0 => break,
                    some => done += some as u64,
                }
            }
        }
        done
    });
    if done == messages {
        return Ok(each);
    }
    Err(format!("published {done} of {messages}").into())
}

/// No slot.
const NONE: u32 = u32::MAX;

/// The limit: rows that are due in a list, rows that are held in a list, both through the rows; one length of lease, one
/// worker, no names, no keys, no retries.
#[derive(Debug)]
pub struct Slab {
    rows: Vec<Row>,
    due: u32,
    held: (u32, u32),
    free: u32,
    claims: Vec<(u32, u32)>,
    now: u64,
}

#[derive(Debug)]
struct Row {
    payload: Option<Box<[u8]>>,
    previous: u32,
    next: u32,
    attempt: u32,
    until: u64,
}

impl Slab {
    /// Full of so many rows.
    pub fn of(rows: u64) -> Self {
        let rows = u32::try_from(rows).unwrap_or(NONE - 1);
        let row = |slot: u32| Row {
            payload: Some(vec![7; PAYLOAD].into()),
            previous: NONE,
            next: if slot + 1 < rows { slot + 1 } else { NONE },
            attempt: 0,
            until: 0,
        };
        Self {
            rows: (0..rows).map(row).collect(),
            due: if rows == 0 { NONE } else { 0 },
            held: (NONE, NONE),
            free: NONE,
            claims: Vec::new(),
            now: 0,
        }
    }

    /// Claims, publishes and settles a batch; returns how many that were.
    pub fn pass(&mut self, batch: usize) -> usize {
        self.now += 1;
        self.claims.clear();
        while self.claims.len() < batch && self.due != NONE {
            self.claim(self.due);
        }
        for (slot, _) in &self.claims {
            std::hint::black_box(
                self.rows[*slot as usize]
                    .payload
                    .as_deref()
                    .and_then(<[u8]>::first),
            );
        }
        let claims = std::mem::take(&mut self.claims);
        let settled = claims.iter().filter(|claim| self.settle(**claim)).count();
        self.claims = claims;
        settled
    }

    fn claim(&mut self, slot: u32) {
        let last = self.held.1;
        let row = &mut self.rows[slot as usize];
        self.due = row.next;
        row.attempt += 1;
        row.until = self.now + 30_000_000;
        (row.previous, row.next) = (last, NONE);
        self.claims.push((slot, row.attempt));
        match last {
            NONE => self.held.0 = slot,
            last => self.rows[last as usize].next = slot,
        }
        self.held.1 = slot;
    }

    fn settle(&mut self, (slot, attempt): (u32, u32)) -> bool {
        let row = &mut self.rows[slot as usize];
        if row.payload.is_none() || row.attempt != attempt || row.until <= self.now {
            return false;
        }
        let (previous, next) = (row.previous, row.next);
        row.payload = None;
        row.next = std::mem::replace(&mut self.free, slot);
        match previous {
            NONE => self.held.0 = next,
            previous => self.rows[previous as usize].next = next,
        }
        match next {
            NONE => self.held.1 = previous,
            next => self.rows[next as usize].previous = previous,
        }
        true
    }
}
