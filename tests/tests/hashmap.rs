//! The store in RAM passes every suite, and stands up to threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use postbox::aggregate::{CommitBatch, Repository};
use postbox::claim::Verdict;
use postbox::id::{Excerpt, WorkerId};
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

/// Four threads that claim and settle while two others commit: each message is settled once.
#[test]
fn threads_settle_every_message_once() {
    const MESSAGES: usize = 2_000;
    let repository = HashMapRepository::new();
    let start = Arc::new(Barrier::new(6));
    let settled = Arc::new(AtomicUsize::new(0));
    let committers = (0..2).map(|committer| {
        let (repository, start) = (repository.clone(), start.clone());
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
            }
        })
    });
    let workers = (0..4).map(|worker| {
        let (store, start, settled) = (repository.outbox_store(), start.clone(), settled.clone());
        thread::spawn(move || {
            start.wait();
            let request = ClaimRequest {
                worker: WorkerId::new(worker),
                lease: Lease::LONGEST,
                limit: 5,
                max_abandoned: 1,
                which: Which::Due,
            };
            while settled.load(Ordering::Relaxed) < MESSAGES {
                let batch = now(store.claim(&request)).unwrap();
                let settlements: Vec<_> = batch.iter().map(complete).collect();
                let applied = now(store.settle(&settlements)).unwrap().applied();
                assert_eq!(applied, batch.len());
                settled.fetch_add(applied, Ordering::Relaxed);
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

fn complete<C: ClaimedMessage>(claimed: &C) -> Settlement<C::Key> {
    Settlement {
        claim: claimed.claim(),
        verdict: Verdict::Complete,
        error: Excerpt::EMPTY,
    }
}

/// Nothing in this store waits.
fn now<F: Future>(future: F) -> F::Output {
    run(&VirtualClock::new(), future).unwrap_or_else(|stalled| unreachable!("{stalled}"))
}
