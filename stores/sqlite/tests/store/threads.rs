//! Callers on several threads, with the store's own threads between them: what no schedule of the queue alone
//! shows. Futures are dropped at any point. The seed fixes what is done, not when: threads are real here.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use postbox::aggregate::Repository;
use postbox::claim::Verdict;
use postbox::id::WorkerId;
use postbox::retry::mix;
use postbox::store::{ClaimedMessage, HasOutboxStore, OutboxOperator, OutboxStore};
use postbox::testing::VirtualClock;
use postbox_sqlite::{SqliteOptions, SqliteRepository};

use crate::common::*;

/// One caller, with a stream of its own.
struct Caller<'a> {
    number: u64,
    random: u64,
    repository: &'a SqliteRepository,
    claimed: &'a Mutex<BTreeSet<String>>,
    /// Events that are written, or will be before anything that is asked for later.
    version: u64,
    settled: u64,
}

impl Caller<'_> {
    fn below(&mut self, limit: u64) -> u64 {
        self.random = mix(self.random);
        self.random % limit
    }

    fn act(&mut self) {
        let name = format!("stream-{}", self.number);
        match self.below(8) {
            0..=2 => {
                block_on(self.repository.commit(step(&name, self.version))).unwrap();
                self.version += 1;
                let seen = version(self.repository, &name).unwrap();
                assert_eq!(
                    seen, self.version,
                    "a read that begins after an answer has what was answered"
                );
            }
            3 => {
                // Polled once, it is done, whether anybody waits or not.
                let commit = self.repository.commit(step(&name, self.version));
                let _ = pin!(commit).poll(&mut Context::from_waker(Waker::noop()));
                self.version += 1;
            }
            4 => drop(self.repository.commit(step(&name, self.version))),
            5 | 6 => self.publish(),
            _ => {
                let seen = version(self.repository, &name).unwrap();
                assert!(
                    seen <= self.version,
                    "{seen} events, {} were written",
                    self.version
                );
            }
        }
        if self.below(4) == 0 {
            std::thread::yield_now();
        }
    }

    /// Claims, and settles without waiting for it.
    fn publish(&mut self) {
        let store = self.repository.outbox_store();
        let limit = usize::try_from(1 + self.below(3)).unwrap();
        let batch = block_on(store.claim(&due(WorkerId::new(self.number), limit))).unwrap();
        let mut claimed = self.claimed.lock().unwrap();
        for message in &batch {
            let id = message.message().id.to_owned();
            assert!(claimed.insert(id), "{:?} was claimed twice", message.message().id);
        }
        drop(claimed);
        let settlements: Vec<_> = batch
            .iter()
            .map(|message| settlement(message.claim(), Verdict::Complete))
            .collect();
        if !settlements.is_empty() {
            block_on(store.settle_soon(&settlements)).unwrap();
            self.settled += u64::try_from(settlements.len()).unwrap();
        }
    }
}

#[test]
fn callers_on_threads_see_what_they_were_answered_and_nothing_is_lost_or_claimed_twice() {
    let given = std::env::var("POSTBOX_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| RandomState::new().hash_one(()));
    println!("POSTBOX_SEED={seed} repeats what is done");
    for round in 0..ROUNDS {
        let folder = Folder::new();
        let options = SqliteOptions::file(folder.file()).with_clock(Arc::new(VirtualClock::new()));
        let repository = options
            .with_max_group(1 + usize::try_from(round % 5).unwrap())
            .unwrap()
            .open()
            .unwrap();
        let claimed = Mutex::new(BTreeSet::new());
        let caller = |number| Caller {
            number,
            random: seed ^ mix(round * CALLERS + number),
            repository: &repository,
            claimed: &claimed,
            version: 0,
            settled: 0,
        };
        let callers: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..CALLERS)
                .map(|number| {
                    let mut caller = caller(number);
                    scope.spawn(move || {
                        (0..STEPS).for_each(|_| caller.act());
                        (caller.version, caller.settled)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        // A write waits for all that was queued before it.
        block_on(repository.commit(step("last", 0))).unwrap();
        for ((written, _), number) in callers.iter().zip(0..) {
            assert_eq!(
                version(&repository, &format!("stream-{number}")).unwrap(),
                *written
            );
        }
        let (written, settled) = callers
            .iter()
            .fold((1, 0), |(w, s), (written, done)| (w + written, s + done));
        let counts = block_on(repository.outbox_store().counts()).unwrap();
        assert_eq!(counts.pending + counts.in_flight + settled, written, "{counts:?}");
    }
}

const CALLERS: u64 = 4;
const STEPS: u64 = 40;
const ROUNDS: u64 = 12;
