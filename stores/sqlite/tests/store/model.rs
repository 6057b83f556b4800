//! Random operations against core's claim machine and a plain restatement of the order within a key.

use std::collections::BTreeMap;
use std::time::Duration;

use postbox::claim::{Claiming, Entry, Verdict};
use postbox::store::{
    ClaimRef, ClaimRequest, ClaimedMessage, DeadPolicy, OutboxOperator, OutboxOptions, OutboxStore, Which,
};
use postbox::time::Clock;
use postbox_sqlite::rusqlite::Connection;
use postbox_sqlite::{SqliteOptions, Synchronous};

use crate::common::*;

/// `SplitMix64`: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        let at = usize::try_from(self.below(list.len().max(1) as u64)).unwrap();
        list.get(at)
    }
}

struct Row {
    id: String,
    key: Option<String>,
    entry: Entry,
}

/// Rows in commit order, under the keys that the store gave them.
struct Model {
    rows: BTreeMap<u64, Row>,
    dead: DeadPolicy,
}

impl Model {
    fn is_free(&self, order: u64) -> bool {
        let key = &self.rows[&order].key;
        let holds =
            |row: &Row| row.entry.is_live() || (self.dead == DeadPolicy::Block && row.entry.due().is_none());
        key.is_none()
            || !self
                .rows
                .range(..order)
                .any(|(_, row)| row.key == *key && holds(row))
    }
}

/// A store, its model, and what happens to both.
struct History {
    bench: Bench,
    model: Model,
    random: Random,
    claims: Vec<(u64, ClaimRef<i64>)>,
}

impl History {
    fn step(&mut self, step: u64) {
        match self.random.below(10) {
            0..=2 => self.commit(step),
            3..=5 => self.claim(),
            6 | 7 => self.settle(),
            8 => self.renew(),
            _ => self.requeue(),
        }
        let seconds = self.random.below(3) * self.random.below(6);
        self.bench.clock.advance(Duration::from_secs(seconds));
        for row in self.model.rows.values() {
            let stored = block_on(self.bench.store.find(&row.id)).unwrap().unwrap();
            assert_eq!(stored.entry, row.entry, "{} after step {step}", row.id);
        }
    }

    fn commit(&mut self, step: u64) {
        let (now, random) = (self.bench.clock.now(), &mut self.random);
        let (id, delay) = (format!("m{step}"), Duration::from_secs(random.below(2) * 3));
        let key = (random.below(4) > 0).then(|| format!("k{}", random.below(3)));
        let mut message = message(&id).with_delay(delay);
        if let Some(key) = &key {
            message = message.with_key(key.as_str()).unwrap();
        }
        let birth = random.below(2) == 0;
        let committed = if birth {
            self.bench.commit_claimed(vec![message])
        } else {
            self.bench.commit(vec![message])
        };
        let entry = Entry::pending(now, delay);
        self.model.rows.insert(step, Row { id, key, entry });
        let claim = committed.messages[0].claim;
        assert_eq!(
            claim.is_some(),
            birth && delay.is_zero() && self.model.is_free(step)
        );
        if let Some(claim) = claim {
            self.model.rows.get_mut(&step).unwrap().entry = Entry::in_flight(A, LEASE, now);
            self.claims.push((step, claim));
        }
    }

    fn claim(&mut self) {
        let (now, rows) = (self.bench.clock.now(), &self.model.rows);
        let worker = if self.random.below(2) == 0 { A } else { B };
        let limit = usize::try_from(1 + self.random.below(4)).unwrap();
        let mut free: Vec<_> = rows
            .keys()
            .copied()
            .filter(|order| self.model.is_free(*order))
            .collect();
        free.retain(|order| rows[order].entry.due().is_some_and(|due| due <= now));
        free.sort_by_key(|order| (rows[order].entry.due(), *order));
        free.truncate(limit);
        free.sort_unstable();
        let all: Vec<_> = rows.values().map(|row| row.id.as_str()).collect();
        let request = ClaimRequest {
            which: if self.random.below(2) == 0 {
                Which::Due
            } else {
                Which::Ids(&all)
            },
            ..due(worker, limit)
        };
        let batch = block_on(self.bench.store.claim(&request)).unwrap();
        free.retain(|order| {
            let entry = &mut self.model.rows.get_mut(order).unwrap().entry;
            matches!(entry.claim(worker, LEASE, 3, now), Claiming::Granted(_))
        });
        let expected: Vec<_> = free
            .iter()
            .map(|order| self.model.rows[order].id.as_str())
            .collect();
        assert_eq!(ids(&batch), expected);
        self.claims
            .extend(free.into_iter().zip(batch.iter().map(ClaimedMessage::claim)));
    }

    fn settle(&mut self) {
        let Some((order, claim)) = self.random.pick(&self.claims).copied() else {
            return;
        };
        let after = Duration::from_secs(self.random.below(3) * 5);
        let verdict = match self.random.below(5) {
            0 | 1 => Verdict::Complete,
            2 => Verdict::Retry { after },
            3 => Verdict::Release { after },
            _ => Verdict::Bury,
        };
        let (now, row) = (self.bench.clock.now(), self.model.rows.get_mut(&order));
        let holds = row.is_some_and(|row| row.entry.settle(claim.fence, verdict, now).is_ok());
        assert_eq!(self.bench.settle(claim, verdict), holds);
        if holds && verdict == Verdict::Complete {
            self.model.rows.remove(&order);
        }
    }

    fn renew(&mut self) {
        let Some((order, claim)) = self.random.pick(&self.claims).copied() else {
            return;
        };
        let (now, row) = (self.bench.clock.now(), self.model.rows.get_mut(&order));
        let holds = row.is_some_and(|row| row.entry.renew(claim.fence, LEASE, now).is_ok());
        let renewed = block_on(self.bench.store.renew(&[claim], LEASE)).unwrap();
        assert_eq!(renewed, usize::from(holds));
    }

    fn requeue(&mut self) {
        let orders: Vec<_> = self.model.rows.keys().copied().collect();
        let Some(order) = self.random.pick(&orders) else {
            return;
        };
        let row = self.model.rows.get_mut(order).unwrap();
        let dead = row.entry.requeue(self.bench.clock.now());
        let requeued = block_on(self.bench.store.requeue(&[&row.id])).unwrap();
        assert_eq!(requeued, usize::from(dead));
    }
}

/// Held rows whose mark is not what their key says.
const WRONGLY_MARKED: &str =
    "SELECT count(*) FROM postbox_outbox AS o WHERE holds = 1 AND blocked <> EXISTS (
    SELECT 1 FROM postbox_outbox WHERE key = o.key AND holds = 1 AND seq < o.seq)";

fn history(seed: u64, dead: DeadPolicy) {
    let folder = Folder::new();
    let file = SqliteOptions::file(folder.file()).with_synchronous(Synchronous::Normal);
    let mut history = History {
        bench: Bench::with(file, OutboxOptions::new().with_dead_policy(dead)),
        model: Model {
            rows: BTreeMap::new(),
            dead,
        },
        random: Random(seed),
        claims: Vec::new(),
    };
    let look = Connection::open(folder.file()).unwrap();
    for step in 0..300 {
        history.step(step);
        let wrong: u32 = look.query_row(WRONGLY_MARKED, [], |row| row.get(0)).unwrap();
        assert_eq!(wrong, 0, "after step {step}");
    }
}

#[test]
fn random_histories_go_as_the_claim_machine_says() {
    for seed in 0..6 {
        for dead in [DeadPolicy::Skip, DeadPolicy::Block] {
            println!("seed {seed}, {dead:?}");
            history(seed, dead);
        }
    }
}
