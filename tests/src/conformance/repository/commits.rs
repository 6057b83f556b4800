//! Commits that succeed: streams, and everything that is stored beside them.

use futures_util::future::join_all;
use postbox::aggregate::{CommitBatch, InboxReceipt, Repository, RepositoryError};
use postbox::store::OutboxOptions;

use super::sample::{added, snapshot, stream, write};
use crate::conformance::fixture::{A, Fixture, message, names, yield_now};
use crate::conformance::{StoreHarness, skip};

/// Events come back in their order, with the stream's version, from the start or after any version.
pub async fn a_stream_is_loaded_in_order_whole_or_in_part<H: StoreHarness>(harness: &H) {
    let repository = harness.open(OutboxOptions::new());
    for (expected, amounts) in [(0, vec![1, 2]), (2, vec![3]), (3, vec![4, 5, 6])] {
        let events = amounts.into_iter().map(added).collect();
        commit(&repository, write("s", expected, events))
            .await
            .expect("a good commit");
    }
    commit(&repository, write("t", 0, vec![added(9)]))
        .await
        .expect("a good commit");
    for after in [0, 1, 5, 6, 7, u64::MAX] {
        let tail = repository
            .load(&stream("s"), after)
            .await
            .expect("a load")
            .expect("it exists");
        assert_eq!(tail.version, 6);
        let sequences: Vec<u64> = tail.events.iter().map(|event| event.sequence).collect();
        assert_eq!(sequences, (after.saturating_add(1)..=6).collect::<Vec<_>>());
        for event in &tail.events {
            let expected = added(i64::try_from(event.sequence).expect("small"));
            assert_eq!((&event.payload, event.version), (&expected.payload, 3));
        }
    }
    assert!(repository.load(&stream("u"), 0).await.expect("a load").is_none());
}

/// Writing no events is a check of the version, not a stream.
pub async fn a_stream_without_events_does_not_exist<H: StoreHarness>(harness: &H) {
    let repository = harness.open(OutboxOptions::new());
    commit(&repository, write("s", 0, vec![]))
        .await
        .expect("a good commit");
    assert!(repository.load(&stream("s"), 0).await.expect("a load").is_none());
    let wrong = commit(&repository, write("s", 1, vec![])).await;
    assert!(matches!(
        wrong,
        Err(RepositoryError::ConcurrentWrite { actual: 0, .. })
    ));
}

/// Optimistic concurrency: the later of two writers is told what it expected and what there is.
pub async fn of_two_writers_on_one_version_one_loses<H: StoreHarness>(harness: &H) {
    let repository = harness.open(OutboxOptions::new());
    commit(&repository, write("s", 0, vec![added(1)]))
        .await
        .expect("a good commit");
    for (expected, events) in [(0, 1), (2, 1), (0, 3), (u64::MAX - 5, 1)] {
        let events = (0..events).map(added).collect();
        match commit(&repository, write("s", expected, events)).await {
            Err(RepositoryError::ConcurrentWrite {
                stream: refused,
                expected: told,
                actual,
            }) => assert_eq!((refused, told, actual), (stream("s"), expected, 1)),
            other => panic!("expected {expected}: {other:?}"),
        }
    }
    let writers = (0..5).map(|n| {
        let repository = &repository;
        async move {
            yield_now().await;
            commit(repository, write("s", 1, vec![added(n)])).await.is_ok()
        }
    });
    let won = join_all(writers).await.into_iter().filter(|won| *won).count();
    assert_eq!(won, 1);
    let tail = repository
        .load(&stream("s"), 0)
        .await
        .expect("a load")
        .expect("it exists");
    assert_eq!(tail.version, 2);
}

/// Several streams, messages, snapshots and receipts in one commit.
pub async fn a_commit_stores_all_its_parts<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let receipts = [receipt("c1", "m"), receipt("c2", "m"), receipt("c1", "n")];
    let batch = CommitBatch {
        streams: vec![
            write("s", 0, vec![added(1), added(2)]),
            write("t", 0, vec![added(3)]),
        ],
        messages: vec![message("b"), message("a")],
        snapshots: vec![snapshot("s", 2, 3), snapshot("t", 1, 3)],
        receipts: receipts.to_vec(),
        claim: None,
    };
    let committed = fixture.repository.commit(batch).await.expect("a good commit");
    let ids: Vec<_> = committed
        .messages
        .iter()
        .map(|message| message.id.as_str())
        .collect();
    assert_eq!(ids, ["b", "a"]);
    let repository = &fixture.repository;
    for (id, version) in [("s", 2), ("t", 1)] {
        let tail = repository
            .load(&stream(id), 0)
            .await
            .expect("a load")
            .expect("it exists");
        assert_eq!(
            (tail.version, tail.events.len()),
            (version, usize::try_from(version).expect("small"))
        );
        let kept = repository.snapshot(&stream(id)).await.expect("a load");
        assert_eq!(kept, Some(snapshot(id, version, 3)));
    }
    for receipt in &receipts {
        assert!(repository.has_receipt(receipt).await.expect("a look-up"));
    }
    assert!(
        !repository
            .has_receipt(&receipt("c2", "n"))
            .await
            .expect("a look-up")
    );
    assert_eq!(names(&fixture.claim(A, 9).await), ["b", "a"]);
    let batch = CommitBatch {
        snapshots: vec![snapshot("s", 1, 1)],
        ..CommitBatch::new()
    };
    repository.commit(batch).await.expect("a good commit");
    let kept = repository.snapshot(&stream("s")).await.expect("a load");
    assert_eq!(
        kept,
        Some(snapshot("s", 1, 1)),
        "the latest commit counts, whatever its version"
    );
}

/// Eight writers, 400 commits, no stream in common: nobody is refused.
pub async fn writers_on_distinct_streams_all_succeed<H: StoreHarness>(harness: &H) {
    let repository = harness.open(OutboxOptions::new());
    let writer = |writer: usize| {
        let repository = repository.clone();
        async move {
            for n in 0..50 {
                let batch = CommitBatch {
                    streams: vec![write(&format!("s-{writer}"), n, vec![added(1)])],
                    messages: vec![message(&format!("m-{writer}-{n}"))],
                    ..CommitBatch::new()
                };
                repository.commit(batch).await.expect("nobody else writes here");
                yield_now().await;
            }
        }
    };
    join_all((0..8).map(writer)).await;
    for writer in 0..8 {
        let tail = repository
            .load(&stream(&format!("s-{writer}")), 50)
            .await
            .expect("a load");
        assert_eq!(tail.expect("it exists").version, 50);
    }
}

/// Durable repositories: streams, snapshots and receipts outlive a crash.
pub async fn a_reopened_repository_has_everything_it_had<H: StoreHarness>(harness: &H) {
    if !harness.is_durable() {
        return skip("a_reopened_repository_has_everything_it_had", "durability");
    }
    let repository = harness.open(OutboxOptions::new());
    let batch = CommitBatch {
        streams: vec![write("s", 0, vec![added(1), added(2)])],
        snapshots: vec![snapshot("s", 2, 3)],
        receipts: vec![receipt("c", "m")],
        ..CommitBatch::new()
    };
    repository.commit(batch).await.expect("a good commit");
    let before = repository.load(&stream("s"), 0).await.expect("a load");
    let repository = harness.reopen(repository, OutboxOptions::new());
    assert_eq!(repository.load(&stream("s"), 0).await.expect("a load"), before);
    assert_eq!(
        repository.snapshot(&stream("s")).await.expect("a load"),
        Some(snapshot("s", 2, 3))
    );
    assert!(
        repository
            .has_receipt(&receipt("c", "m"))
            .await
            .expect("a look-up")
    );
    commit(&repository, write("s", 2, vec![added(3)]))
        .await
        .expect("a good commit");
}

pub(super) fn receipt(consumer: &str, message_id: &str) -> InboxReceipt {
    InboxReceipt::new(consumer, message_id).expect("a good receipt")
}

/// Commits one write.
pub(super) async fn commit<R: Repository>(
    repository: &R,
    write: postbox::aggregate::StreamWrite,
) -> Result<(), RepositoryError> {
    let batch = CommitBatch {
        streams: vec![write],
        ..CommitBatch::new()
    };
    repository.commit(batch).await.map(|_| ())
}
