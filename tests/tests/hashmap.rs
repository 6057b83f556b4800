//! The store in RAM passes every suite, and stands up to threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use postbox::aggregate::{CommitBatch, Repository};
use postbox::claim::Verdict;
use postbox::id::WorkerId;
use postbox::lease::Lease;
use postbox::message::OutboxMessage;
use postbox::store::{
    ClaimRequest, ClaimedMessage, HasOutboxStore, OutboxCounts, OutboxOperator, OutboxOptions, OutboxStore,
    Settlement, Which,
};
use postbox::testing::{VirtualClock, run};
use postbox_hashmap::HashMapRepository;
use postbox_tests::conformance::StoreHarness;

#[derive(Default)]
struct Ram(VirtualClock);

impl StoreHarness for Ram {
    type Repository = HashMapRepository;

    fn open(&self, options: OutboxOptions) -> HashMapRepository {
        HashMapRepository::new()
            .with_clock(self.0.clone())
            .with_options(options)
    }
    fn clock(&self) -> VirtualClock {
        self.0.clone()
    }
    fn rows_visited(&self, repository: &HashMapRepository) -> Option<u64> {
        Some(repository.rows_visited())
    }
}

mod outbox {
    postbox_tests::outbox_conformance!(super::Ram::default());
}

mod repository {
    postbox_tests::repository_conformance!(super::Ram::default());
}

mod model {
    postbox_tests::model_conformance!(super::Ram::default());
}

/// Says that it is durable, and keeps everything because it is never closed: what the checks of durable
/// stores are tried with here.
#[derive(Default)]
struct Kept(Ram);

impl StoreHarness for Kept {
    type Repository = HashMapRepository;

    fn open(&self, options: OutboxOptions) -> HashMapRepository {
        self.0.open(options)
    }
    fn clock(&self) -> VirtualClock {
        self.0.clock()
    }
    fn is_durable(&self) -> bool {
        true
    }
    fn cases(&self) -> u32 {
        16
    }
}

mod kept {
    use super::{Kept, now};
    use postbox_tests::conformance::{outbox, repository};

    postbox_tests::model_conformance!(Kept::default());

    #[test]
    fn a_store_that_was_reopened_has_everything_it_had() {
        now(outbox::a_reopened_store_has_everything_it_had(&Kept::default()));
        now(repository::a_reopened_repository_has_everything_it_had(
            &Kept::default(),
        ));
    }
}

/// Four threads that claim and settle while two others commit: each message is settled once.
#[test]
fn threads_settle_every_message_once() {
    const MESSAGES: usize = 2_000;
    let repository = HashMapRepository::new();
    let start = Arc::new(Barrier::new(6));
    let (committed, settled) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let committers = (0..2).map(|committer| {
        let (repository, start, committed) = (repository.clone(), start.clone(), committed.clone());
        thread::spawn(move || {
            start.wait();
            for n in 0..MESSAGES / 2 {
                let message = OutboxMessage::create(format!("{committer}-{n}"), "thing", b"{}".to_vec())
                    .and_then(|message| message.with_key(format!("{committer}-{}", n % 7)));
                let batch = CommitBatch {
                    messages: vec![message.unwrap()],
                    ..CommitBatch::new()
                };
                now(repository.commit(batch)).unwrap();
                committed.fetch_add(1, Ordering::Release);
            }
        })
    });
    let workers = (0..4).map(|worker| {
        let (store, start, settled) = (repository.outbox_store(), start.clone(), settled.clone());
        let committed = committed.clone();
        thread::spawn(move || {
            start.wait();
            let request = ClaimRequest {
                worker: WorkerId::new(worker),
                lease: Lease::LONGEST,
                limit: 5,
                max_abandoned: 1,
                which: Which::Due,
            };
            loop {
                let all_committed = committed.load(Ordering::Acquire) == MESSAGES;
                let batch = now(store.claim(&request)).unwrap();
                let settlements: Vec<_> = batch.iter().map(complete).collect();
                let applied = now(store.settle(&settlements)).unwrap().applied();
                settled.fetch_add(applied, Ordering::Relaxed);
                if all_committed && batch.is_empty() && now(store.counts()).unwrap().in_flight == 0 {
                    return;
                }
                thread::yield_now();
            }
        })
    });
    let threads: Vec<_> = committers.chain(workers).collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(settled.load(Ordering::Relaxed), MESSAGES);
    let counts = now(repository.outbox_store().counts()).unwrap();
    assert_eq!(counts, OutboxCounts::default());
}

#[test]
fn clones_share_what_they_keep() {
    let repository = HashMapRepository::new();
    let clone = repository.clone();
    let batch = CommitBatch {
        messages: vec![OutboxMessage::create("m", "thing", vec![]).unwrap()],
        ..CommitBatch::new()
    };
    now(clone.commit(batch)).unwrap();
    assert!(now(repository.outbox_store().find("m")).unwrap().is_some());
}

#[test]
fn its_futures_may_be_sent_to_other_threads() {
    fn is_send(_: impl Send) {}
    let repository = HashMapRepository::new();
    is_send(repository.commit(CommitBatch::new()));
    is_send(repository.outbox_store().counts());
    is_send(repository.outbox_store().wakeup());
}

fn complete<C: ClaimedMessage>(claimed: &C) -> Settlement<'static, C::Key> {
    Settlement {
        claim: claimed.claim(),
        verdict: Verdict::Complete,
        error: "",
    }
}

/// Nothing in this store waits.
fn now<F: Future>(future: F) -> F::Output {
    run(&VirtualClock::new(), future).unwrap_or_else(|stalled| unreachable!("{stalled}"))
}
