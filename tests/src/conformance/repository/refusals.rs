//! Commits that are refused: for every reason there is, nothing at all is stored.

use postbox::aggregate::{CommitBatch, Repository, RepositoryError};
use postbox::id::Invalid;
use postbox::message::OutboxMessage;
use postbox::store::{OutboxCounts, OutboxOperator, OutboxOptions};

use super::commits::receipt;
use super::sample::{added, snapshot, stream, write};
use crate::conformance::StoreHarness;
use crate::conformance::fixture::{A, Fixture, keyed, message};

/// The last of several streams was written by somebody else.
pub async fn a_concurrent_write_stores_nothing<H: StoreHarness>(harness: &H) {
    let error = refused(harness, |batch| {
        batch.streams.push(write("old", 0, vec![added(1)]));
    })
    .await;
    let RepositoryError::ConcurrentWrite {
        stream: named,
        expected: 0,
        actual: 1,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(named, stream("old"));
}

/// The last message's id is taken.
pub async fn a_duplicate_message_stores_nothing<H: StoreHarness>(harness: &H) {
    let error = refused(harness, |batch| batch.messages.push(message("old"))).await;
    assert!(matches!(error, RepositoryError::DuplicateMessage { id } if id == "old"));
}

/// The last receipt says that the work was done before.
pub async fn a_duplicate_receipt_stores_nothing<H: StoreHarness>(harness: &H) {
    let error = refused(harness, |batch| batch.receipts.push(receipt("c", "old"))).await;
    assert!(
        matches!(error, RepositoryError::DuplicateReceipt { receipt: named } if named == receipt("c", "old"))
    );
}

/// One batch writes a stream twice, the second write even on the version that the first one makes.
pub async fn a_stream_written_twice_stores_nothing<H: StoreHarness>(harness: &H) {
    let error = refused(harness, |batch| {
        batch.streams.push(write("new", 2, vec![added(3)]));
    })
    .await;
    assert!(matches!(error, RepositoryError::DuplicateStream { stream: named } if named == stream("new")));
}

/// One batch has a message twice.
pub async fn a_message_given_twice_stores_nothing<H: StoreHarness>(harness: &H) {
    let error = refused(harness, |batch| batch.messages.push(keyed("new", "k"))).await;
    assert!(matches!(error, RepositoryError::DuplicateMessage { id } if id == "new"));
}

/// One batch has a receipt twice.
pub async fn a_receipt_given_twice_stores_nothing<H: StoreHarness>(harness: &H) {
    let error = refused(harness, |batch| batch.receipts.push(receipt("c", "new"))).await;
    assert!(
        matches!(error, RepositoryError::DuplicateReceipt { receipt: named } if named == receipt("c", "new"))
    );
}

/// A payload one byte over the store's limit; one of exactly the limit is stored.
pub async fn a_payload_over_the_limit_stores_nothing<H: StoreHarness>(harness: &H) {
    let sized =
        |id: &str, bytes: usize| OutboxMessage::create(id, "big", vec![b'x'; bytes]).expect("a good message");
    let error = refused(harness, |batch| {
        batch.messages.push(sized("fits", LIMIT));
        batch.messages.push(sized("big", LIMIT + 1));
    })
    .await;
    let RepositoryError::Invalid(Invalid::TooLong { len, limit, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!((len, limit), (LIMIT + 1, LIMIT));
}

const LIMIT: usize = 1_000;

/// Commits a good batch with one `defect`, sees that nothing came of it, then the same without the defect.
async fn refused<H: StoreHarness>(harness: &H, defect: impl FnOnce(&mut CommitBatch)) -> RepositoryError {
    let options = OutboxOptions::new()
        .with_max_payload(LIMIT)
        .expect("a good limit");
    let fixture = Fixture::with(harness, options);
    let repository = &fixture.repository;
    let before = CommitBatch {
        streams: vec![write("old", 0, vec![added(1)])],
        messages: vec![keyed("old", "k")],
        snapshots: vec![snapshot("old", 1, 1)],
        receipts: vec![receipt("c", "old")],
        claim: None,
    };
    repository.commit(before).await.expect("a good commit");
    let good = CommitBatch {
        streams: vec![
            write("new", 0, vec![added(1), added(2)]),
            write("newer", 0, vec![added(3)]),
        ],
        messages: vec![message("new"), keyed("newer", "k"), message("fits too")],
        snapshots: vec![snapshot("new", 2, 3), snapshot("old", 1, 17)],
        receipts: vec![receipt("c", "new"), receipt("c", "newer")],
        claim: Some(postbox::aggregate::Birth {
            worker: A,
            lease: postbox::lease::Lease::BACKSTOP,
        }),
    };
    let mut bad = good.clone();
    defect(&mut bad);
    let error = repository.commit(bad).await.expect_err("the batch has a defect");
    assert_nothing(&fixture).await;
    repository
        .commit(good)
        .await
        .expect("without the defect it is a good batch");
    error
}

async fn assert_nothing<H: StoreHarness>(fixture: &Fixture<H>) {
    let repository = &fixture.repository;
    for id in ["new", "newer"] {
        assert!(
            repository.load(&stream(id), 0).await.expect("a load").is_none(),
            "stream {id}"
        );
        assert!(
            repository.snapshot(&stream(id)).await.expect("a load").is_none(),
            "snapshot {id}"
        );
        assert!(
            !repository
                .has_receipt(&receipt("c", id))
                .await
                .expect("a look-up"),
            "receipt {id}"
        );
        assert!(fixture.entry(id).await.is_none(), "message {id}");
    }
    let old = repository
        .load(&stream("old"), 0)
        .await
        .expect("a load")
        .expect("it exists");
    assert_eq!((old.version, old.events.len()), (1, 1));
    assert_eq!(
        repository.snapshot(&stream("old")).await.expect("a load"),
        Some(snapshot("old", 1, 1))
    );
    let counts = fixture.store.counts().await.expect("counts");
    let only_old = OutboxCounts {
        pending: 1,
        ..OutboxCounts::default()
    };
    assert_eq!(counts, only_old);
}
