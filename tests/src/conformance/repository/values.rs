//! What comes back is what went in: metadata, bytes and ids.

use postbox::aggregate::{CommitBatch, EventRecord, Repository};
use postbox::message::{Codec, HeaderBuf, OutboxMessage};
use postbox::time::{Clock, Instant};

use super::commits::{commit, receipt};
use super::sample::{added, snapshot, stream, write};
use crate::conformance::StoreHarness;
use crate::conformance::fixture::{A, Fixture, message};

/// Correlation, causation and free keys come back with their events, and when they were committed.
pub async fn metadata_is_kept<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.advance(1_234);
    let mut metadata = HeaderBuf::new();
    for (key, value) in [
        ("correlation-id", "c-1"),
        ("causation-id", "m-7"),
        ("Tenant", "acmé: & co"),
    ] {
        metadata.set(key, value).expect("a good header");
    }
    let event = EventRecord {
        metadata: metadata.clone(),
        ..added(1)
    };
    let committed_at = fixture.clock.now();
    commit(&fixture.repository, write("s", 0, vec![event, added(2)]))
        .await
        .expect("a good commit");
    fixture.advance(5_000);
    let tail = fixture
        .repository
        .load(&stream("s"), 0)
        .await
        .expect("a load")
        .expect("it exists");
    let [first, second] = tail.events.as_slice() else {
        panic!("two events")
    };
    assert_eq!(first.metadata, metadata);
    assert_eq!(
        (first.correlation_id(), first.causation_id()),
        (Some("c-1"), Some("m-7"))
    );
    assert_eq!(first.metadata.get("tenant"), Some("acmé: & co"));
    assert_eq!(second.metadata, HeaderBuf::new());
    assert_eq!(
        (first.recorded_at, second.recorded_at),
        (committed_at, committed_at)
    );
    assert!(committed_at > Instant::ZERO);
}

/// Payloads are bytes: all of them, none of them, in any codec.
pub async fn any_bytes_are_kept<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let all: Vec<u8> = (0..=255).collect();
    let codec = Codec::new("bitcode", 7).expect("a good codec");
    for (n, payload) in [all, vec![], vec![0; 3], vec![0xff; 70_000]]
        .into_iter()
        .enumerate()
    {
        let id = format!("s-{n}");
        let event = EventRecord {
            payload: payload.clone(),
            codec: codec.clone(),
            ..added(0)
        };
        let kept = postbox::aggregate::SnapshotRecord {
            payload: payload.clone(),
            codec: codec.clone(),
            ..snapshot(&id, 1, 0)
        };
        let batch = CommitBatch {
            streams: vec![write(&id, 0, vec![event])],
            messages: vec![OutboxMessage::create(&id, "bytes", payload.clone()).expect("a good message")],
            snapshots: vec![kept.clone()],
            ..CommitBatch::new()
        };
        fixture.repository.commit(batch).await.expect("a good commit");
        let tail = fixture
            .repository
            .load(&stream(&id), 0)
            .await
            .expect("a load")
            .expect("it exists");
        assert_eq!(
            (&tail.events[0].payload, &tail.events[0].codec),
            (&payload, &codec)
        );
        assert_eq!(
            fixture.repository.snapshot(&stream(&id)).await.expect("a load"),
            Some(kept)
        );
        let found = postbox::store::OutboxOperator::find(&fixture.store, &id)
            .await
            .expect("a look-up");
        assert_eq!(found.expect("it is kept").message.as_ref().payload, payload);
    }
}

/// Ids are compared byte by byte: no folding of case, accents, spaces or length.
pub async fn unicode_and_long_ids_are_kept_apart<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let (long, longer) = ("x".repeat(511), "x".repeat(512));
    let wide = "é".repeat(256);
    let ids = [
        "a",
        "A",
        "a ",
        " a",
        "é",
        "e\u{301}",
        "日本語",
        "🦀",
        "a%",
        "a_",
        "a'b",
        "a\"b",
        "a\\b",
        "1",
        "01",
        "1.0",
        "null",
        &long,
        &longer,
        &wide,
    ];
    for id in ids {
        let batch = CommitBatch {
            streams: vec![write(id, 0, vec![added(1)])],
            messages: vec![message(id)],
            receipts: vec![receipt("c", id)],
            ..CommitBatch::new()
        };
        fixture
            .repository
            .commit(batch)
            .await
            .unwrap_or_else(|error| panic!("{id:?}: {error}"));
    }
    for id in ids {
        let tail = fixture
            .repository
            .load(&stream(id), 0)
            .await
            .expect("a load")
            .expect("it exists");
        assert_eq!(tail.version, 1, "{id:?}");
        assert!(
            fixture
                .repository
                .has_receipt(&receipt("c", id))
                .await
                .expect("a look-up")
        );
        assert!(fixture.entry(id).await.is_some());
        assert_eq!(fixture.claim_ids(A, &[id]).await, [id]);
    }
}
