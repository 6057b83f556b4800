//! Streams, snapshots, receipts: all or nothing, by many writers, over reopening and dropped futures.

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use postbox::aggregate::{CommitBatch, InboxReceipt, Repository, RepositoryError, SnapshotRecord};
use postbox::claim::Verdict;
use postbox::message::{Codec, OutboxMessage};
use postbox::store::{
    ClaimedMessage, HasOutboxStore, OutboxCounts, OutboxOperator, OutboxOptions, OutboxStore,
};
use postbox::time::Clock;
use postbox_sqlite::{SqliteOptions, SqliteRepository};

use crate::common::*;

fn snapshot(id: &str, version: u64) -> SnapshotRecord {
    SnapshotRecord {
        stream: stream(id),
        version,
        state_type: "thing".into(),
        state_version: 1,
        codec: Codec::JSON,
        payload: format!("{version}").into_bytes(),
    }
}

fn receipt(id: &str) -> InboxReceipt {
    InboxReceipt::new("consumer", id).unwrap()
}

/// One of everything.
fn whole(id: &str) -> CommitBatch {
    CommitBatch {
        snapshots: vec![snapshot(id, 1)],
        receipts: vec![receipt(id)],
        ..step(id, 0)
    }
}

fn nothing_of(repository: &SqliteRepository, id: &str) {
    block_on(async {
        assert_eq!(repository.load(&stream(id), 0).await.unwrap(), None);
        assert_eq!(repository.snapshot(&stream(id)).await.unwrap(), None);
        assert!(!repository.has_receipt(&receipt(id)).await.unwrap());
        let message = repository.outbox_store().find(&format!("{id}-0")).await.unwrap();
        assert!(message.is_none());
    });
}

#[test]
fn a_stream_is_loaded_with_its_version_and_only_the_tail_that_was_asked_for() {
    let bench = Bench::new();
    let mut batch = CommitBatch::new();
    batch.streams.push(write("s", 0, 3));
    block_on(async {
        bench.repository.commit(batch).await.unwrap();
        let tail = bench.repository.load(&stream("s"), 2).await.unwrap().unwrap();
        assert_eq!(tail.version, 3);
        assert_eq!(tail.events.iter().map(|e| e.sequence).collect::<Vec<_>>(), [3]);
        assert_eq!(tail.events[0].recorded_at, bench.clock.now());
        assert_eq!(
            (&*tail.events[0].name, &tail.events[0].codec),
            ("Done", &Codec::JSON)
        );
        let beyond = bench.repository.load(&stream("s"), 9).await.unwrap().unwrap();
        assert_eq!((beyond.version, beyond.events.len()), (3, 0));
        assert!(bench.repository.load(&stream("t"), 0).await.unwrap().is_none());
    });
}

#[test]
fn a_rejected_batch_leaves_no_stream_row_snapshot_or_receipt() {
    let options = OutboxOptions::new().with_max_payload(100).unwrap();
    let bench = Bench::with(SqliteOptions::memory(), options);
    block_on(bench.repository.commit(whole("old"))).unwrap();
    let reject = |change: fn(&mut CommitBatch)| {
        let mut batch = whole("new");
        change(&mut batch);
        let error = block_on(bench.repository.commit(batch)).unwrap_err();
        nothing_of(&bench.repository, "new");
        assert_eq!(bench.claim_ids(A, &["new-0"]).len(), 0);
        error
    };
    assert!(matches!(
        reject(|batch| batch.streams.push(write("old", 0, 1))),
        RepositoryError::ConcurrentWrite {
            expected: 0,
            actual: 1,
            ..
        }
    ));
    assert!(matches!(
        reject(|batch| batch.messages.push(message("old-0"))),
        RepositoryError::DuplicateMessage { id } if id == "old-0"
    ));
    assert!(matches!(
        reject(|batch| batch.receipts.push(receipt("old"))),
        RepositoryError::DuplicateReceipt { .. }
    ));
    let long = |batch: &mut CommitBatch| {
        let message = OutboxMessage::create("long", "thing.done", vec![0; 101]);
        batch.messages.push(message.unwrap());
    };
    assert!(matches!(reject(long), RepositoryError::Invalid(_)));
    // And then it goes through.
    block_on(bench.repository.commit(whole("new"))).unwrap();
    assert_eq!(version(&bench.repository, "new").unwrap(), 1);
}

#[test]
fn eight_writers_of_two_openings_all_succeed() {
    let folder = Folder::new();
    let openings = [
        SqliteRepository::open(folder.file()).unwrap(),
        SqliteRepository::open(folder.file()).unwrap(),
    ];
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let repository = &openings[writer % 2];
            scope.spawn(move || {
                let id = format!("w{writer}");
                for version in 0..50 {
                    block_on(repository.commit(step(&id, version))).unwrap();
                }
            });
        }
    });
    for writer in 0..8 {
        assert_eq!(
            version(&openings[(writer + 1) % 2], &format!("w{writer}")).unwrap(),
            50
        );
    }
    let counts = block_on(openings[0].outbox_store().counts()).unwrap();
    assert_eq!(counts.pending, 400);
}

#[test]
fn of_two_writers_on_one_stream_one_is_told_what_the_other_did() {
    let repository = SqliteRepository::memory().unwrap();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let write = |name: &'static str| {
            let repository = &repository;
            move || {
                let mut batch = batch(vec![message(name)]);
                batch.streams.push(write("s", 0, 1));
                block_on(repository.commit(batch))
            }
        };
        let writers = [scope.spawn(write("one")), scope.spawn(write("two"))];
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let lost = outcomes.into_iter().find_map(Result::err).unwrap();
    assert!(matches!(
        lost,
        RepositoryError::ConcurrentWrite {
            expected: 0,
            actual: 1,
            ..
        }
    ));
}

#[test]
fn a_commit_is_read_back_as_soon_as_it_was_answered() {
    let folder = Folder::new();
    let repository = SqliteRepository::open(folder.file()).unwrap();
    for expected in 0..200 {
        block_on(repository.commit(step("s", expected))).unwrap();
        assert_eq!(version(&repository, "s").unwrap(), expected + 1);
    }
}

#[test]
fn a_file_that_is_opened_again_has_everything() {
    let folder = Folder::new();
    let repository = SqliteRepository::open(folder.file()).unwrap();
    let store = repository.outbox_store();
    block_on(async {
        repository.commit(whole("s")).await.unwrap();
        repository.commit(claimed(whole("t"), A)).await.unwrap();
        repository.commit(whole("u")).await.unwrap();
        let request = postbox::store::ClaimRequest {
            which: postbox::store::Which::Ids(&["u-0"]),
            ..due(A, 1)
        };
        let held = store.claim(&request).await.unwrap();
        store
            .settle_soon(&[settlement(held[0].claim(), Verdict::Complete)])
            .await
            .unwrap();
        repository.flush().await.unwrap();
    });
    drop((repository, store));
    let repository = SqliteRepository::open(folder.file()).unwrap();
    block_on(async {
        for id in ["s", "t", "u"] {
            assert_eq!(repository.load(&stream(id), 0).await.unwrap().unwrap().version, 1);
            assert_eq!(
                repository.snapshot(&stream(id)).await.unwrap(),
                Some(snapshot(id, 1))
            );
            assert!(repository.has_receipt(&receipt(id)).await.unwrap());
        }
        let expected = OutboxCounts {
            pending: 1,
            in_flight: 1,
            ..OutboxCounts::default()
        };
        assert_eq!(repository.outbox_store().counts().await.unwrap(), expected);
    });
}

#[test]
fn a_soft_settlement_is_done_although_the_last_handle_is_dropped() {
    let folder = Folder::new();
    let options = SqliteOptions::file(folder.file()).with_linger(Duration::from_secs(3600));
    let repository = options.open().unwrap();
    let committed = block_on(repository.commit(claimed(step("s", 0), A))).unwrap();
    let claim = committed.messages[0].claim.unwrap();
    let settlements = [settlement(claim, Verdict::Complete)];
    block_on(repository.outbox_store().settle_soon(&settlements)).unwrap();
    drop(repository);
    // The thread may still be at it; whoever looks next waits for its transaction at most.
    let again = SqliteRepository::open(folder.file()).unwrap();
    let gone = (0..5_000).any(|_| {
        std::thread::yield_now();
        block_on(again.outbox_store().find("s-0")).unwrap().is_none()
    });
    assert!(gone);
}

#[test]
fn a_future_dropped_at_any_poll_has_done_all_or_nothing() {
    let folder = Folder::new();
    let repository = SqliteRepository::open(folder.file()).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    for polls in 0..3 {
        let id = format!("s{polls}");
        {
            let mut commit = pin!(repository.commit(whole(&id)));
            for _ in 0..polls {
                if commit.as_mut().poll(&mut cx).is_ready() {
                    break;
                }
            }
        }
        block_on(repository.flush()).unwrap();
        if polls == 0 {
            nothing_of(&repository, &id);
        } else {
            assert_eq!(version(&repository, &id).unwrap(), 1);
            assert!(block_on(repository.has_receipt(&receipt(&id))).unwrap());
        }
    }
    // A claim whose answer nobody took is held all the same, until it lapses.
    let store = repository.outbox_store();
    let request = due(A, 10);
    assert!(pin!(store.claim(&request)).poll(&mut cx).is_pending());
    block_on(repository.flush()).unwrap();
    assert_eq!(block_on(store.counts()).unwrap().in_flight, 2);
}
