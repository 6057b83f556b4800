//! Many jobs in one transaction: each fails alone, a panic too, and a transaction fails as a whole.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use postbox::aggregate::{Repository, RepositoryError};
use postbox::claim::Verdict;
use postbox::store::{ClaimedMessage, HasOutboxStore, OutboxOperator};
use postbox::time::{Clock, Instant};
use postbox_sqlite::rusqlite::{Connection, TransactionBehavior};
use postbox_sqlite::{SqliteError, SqliteOptions, SqliteRepository};

use crate::common::*;

/// A clock behind a gate, which panics at one of its readings. Every job reads it once.
#[derive(Default)]
struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
    readings: AtomicUsize,
    panic_at: AtomicUsize,
}

impl Gate {
    fn set(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.opened.notify_all();
    }
}

impl Clock for Gate {
    fn now(&self) -> Instant {
        let guard = self.closed.lock().unwrap();
        drop(self.opened.wait_while(guard, |closed| *closed).unwrap());
        let reading = self.readings.fetch_add(1, Ordering::SeqCst) + 1;
        assert_ne!(
            reading,
            self.panic_at.load(Ordering::SeqCst),
            "planted in the clock"
        );
        Instant::from_millis(1_000)
    }
}

type Commit<'a> = Pin<Box<dyn Future<Output = Result<(), RepositoryError>> + 'a>>;

/// Queues commits behind one that the gate holds up, so that they wait together; then lets them run.
fn together(repository: &SqliteRepository, gate: &Gate, ids: &[&str]) -> Vec<Result<(), RepositoryError>> {
    gate.set(true);
    let mut cx = Context::from_waker(Waker::noop());
    let mut waiting: Vec<Commit<'_>> = Vec::new();
    for id in ["first"].iter().chain(ids) {
        let mut batch = step(id, 0);
        if *id == "late" {
            // Refused when its events are written already.
            batch.messages.push(message("a-0"));
        }
        let mut commit: Commit<'_> = Box::pin(async { repository.commit(batch).await.map(drop) });
        assert!(commit.as_mut().poll(&mut cx).is_pending());
        waiting.push(commit);
    }
    gate.set(false);
    waiting.into_iter().map(block_on).collect()
}

#[test]
fn a_job_that_fails_or_panics_does_not_take_its_group_along() {
    let gate = Arc::new(Gate::default());
    gate.panic_at.store(5, Ordering::SeqCst);
    let repository = SqliteOptions::memory().with_clock(gate.clone()).open().unwrap();
    let outcomes = together(&repository, &gate, &["a", "b", "a", "c", "d", "late"]);
    assert!(matches!(
        outcomes[3],
        Err(RepositoryError::ConcurrentWrite { actual: 1, .. })
    ));
    let Err(RepositoryError::Store { source }) = &outcomes[4] else {
        panic!("{:?}", outcomes[4]);
    };
    assert!(matches!(source.downcast_ref(), Some(SqliteError::Panicked)));
    let Err(RepositoryError::DuplicateMessage { .. }) = &outcomes[6] else {
        panic!("{:?}", outcomes[6]);
    };
    assert_eq!(version(&repository, "late").unwrap(), 0);
    for index in [0, 1, 2, 5] {
        assert!(outcomes[index].is_ok(), "{index}: {:?}", outcomes[index]);
    }
    assert_eq!(block_on(repository.outbox_store().counts()).unwrap().pending, 4);
    assert_eq!(version(&repository, "c").unwrap(), 0);
    // The thread lives on.
    block_on(repository.commit(step("c", 0))).unwrap();
}

#[test]
fn only_what_has_to_be_undone_makes_its_group_run_again() {
    let runs = |ids: &[&str]| {
        let gate = Arc::new(Gate::default());
        let repository = SqliteOptions::memory().with_clock(gate.clone()).open().unwrap();
        let outcomes = together(&repository, &gate, ids);
        let refused = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        assert_eq!(refused, 1);
        gate.readings.load(Ordering::SeqCst)
    };
    // The second "a" is refused before it stores anything: everything ran once.
    assert_eq!(runs(&["a", "b", "a", "c"]), 5);
    // The group ran until the last was refused, and then again; the first may or may not have been in it.
    let twice = runs(&["a", "b", "c", "d", "late"]);
    assert!((11..=12).contains(&twice), "{twice}");
}

#[test]
fn a_small_group_limit_changes_nothing_but_the_number_of_transactions() {
    let gate = Arc::new(Gate::default());
    let options = SqliteOptions::memory().with_clock(gate.clone());
    assert!(options.clone().with_max_group(0).is_err());
    let repository = options.with_max_group(2).unwrap().open().unwrap();
    let outcomes = together(&repository, &gate, &["a", "b", "c", "d", "e"]);
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(block_on(repository.outbox_store().counts()).unwrap().pending, 6);
}

#[test]
fn while_another_process_writes_commits_wait_and_then_fail_with_nothing_stored() {
    let folder = Folder::new();
    let options = SqliteOptions::file(folder.file()).with_busy_timeout(Duration::from_millis(30));
    let repository = options.open().unwrap();
    let mut other = Connection::open(folder.file()).unwrap();
    let lock = other
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();
    let Err(RepositoryError::Store { source }) = block_on(repository.commit(step("s", 0))) else {
        panic!("the lock is held");
    };
    assert!(matches!(source.downcast_ref(), Some(SqliteError::Busy { .. })));
    // Reading needs no lock.
    assert_eq!(version(&repository, "s").unwrap(), 0);
    drop(lock);
    block_on(repository.commit(step("s", 0))).unwrap();
    assert_eq!(version(&repository, "s").unwrap(), 1);
}

#[test]
fn a_claim_that_finds_nothing_writes_nothing() {
    let folder = Folder::new();
    let bench = Bench::with(
        SqliteOptions::file(folder.file()),
        postbox::store::OutboxOptions::new(),
    );
    bench.commit_claimed(vec![message("held")]);
    let size = || {
        std::fs::metadata(folder.file().with_extension("db-wal"))
            .unwrap()
            .len()
    };
    let before = size();
    for _ in 0..100 {
        assert!(bench.claim(B, 10).is_empty());
    }
    assert_eq!(size(), before);
}

#[test]
fn a_claim_that_a_power_cut_takes_leaves_its_messages_free_and_a_settlement_takes_the_claim_along() {
    let (before, lost, kept) = (Folder::new(), Folder::new(), Folder::new());
    let outbox = postbox::store::OutboxOptions::new;
    let bench = Bench::with(SqliteOptions::file(before.file()), outbox());
    // What has reached the disk for certain.
    let disk = |to: &Folder| {
        for end in ["db", "db-wal"] {
            let name = |folder: &Folder| folder.file().with_extension(end);
            std::fs::copy(name(&before), name(to)).unwrap();
        }
    };
    bench.commit(vec![message("m1"), message("m2"), message("m3")]);
    disk(&lost);
    let first = bench.claim(A, 2);
    let second = bench.claim(A, 1);
    assert_eq!((first.len(), second.len()), (2, 1));
    // The settlement waits for the disk, and with it all claims before it.
    assert!(bench.settle(first[0].claim(), Verdict::Complete));
    disk(&kept);

    let cut = Bench::with(SqliteOptions::file(lost.file()), outbox());
    let again = cut.claim(A, 10);
    let ids: Vec<_> = again.iter().map(|claimed| claimed.message().id).collect();
    assert_eq!(ids, ["m1", "m2", "m3"]);
    assert_eq!(again[0].claim(), first[0].claim());
    assert!(cut.settle(again[0].claim(), Verdict::Complete));

    let cut = Bench::with(SqliteOptions::file(kept.file()), outbox());
    assert!(cut.claim(B, 10).is_empty());
    assert!(cut.settle(second[0].claim(), Verdict::Complete));
    cut.clock.advance(LEASE);
    assert_eq!(cut.claim(B, 10).len(), 1);
}
