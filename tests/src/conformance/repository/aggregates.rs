//! Aggregates over the store: what core's typed repository promises, with a real store below.

use postbox::aggregate::{
    Aggregate, CommitBatch, OutboxCommitting, Repository, RepositoryError, UpcastError,
};
use postbox::message::OutboxMessage;
use postbox::store::{OutboxOperator, OutboxOptions};
use serde_json::json;

use super::commits::commit;
use super::sample::{Counter, event, stream, write};
use crate::conformance::StoreHarness;
use crate::conformance::fixture::{A, Fixture, message};

/// State, version and id are rebuilt from the events alone.
pub async fn an_aggregate_comes_back_as_it_was_committed<H: StoreHarness>(harness: &H) {
    let counters = harness.open(OutboxOptions::new()).aggregate::<Counter>();
    assert!(counters.get("c").await.expect("a load").is_none());
    let mut counter = Counter::open("c");
    counter.entity_mut().set_correlation_id("r-1").expect("a good id");
    counter.add(5);
    counters.commit(&mut counter).await.expect("a good commit");
    assert!(counter.entity().new_events().is_empty());
    counter.add(-2);
    counters.commit(&mut counter).await.expect("a good commit");
    counters
        .commit(&mut counter)
        .await
        .expect("nothing to commit is no error");
    let loaded = counters.get("c").await.expect("a load").expect("it exists");
    assert_eq!((loaded.entity().id(), loaded.version(), loaded.sum), ("c", 3, 3));
    let tail = counters
        .inner()
        .load(&stream("c"), 0)
        .await
        .expect("a load")
        .expect("it exists");
    let correlations: Vec<_> = tail
        .events
        .iter()
        .map(|event| event.correlation_id().map(str::to_owned))
        .collect();
    assert_eq!(
        correlations,
        [None, Some("r-1".to_owned()), Some("r-1".to_owned())]
    );
    let all = counters.get_all(&["d", "c", "c"]).await.expect("a load");
    assert_eq!(all.len(), 1);
}

/// Who lost a race keeps its events, and may look at them, reload, and decide again.
pub async fn a_refused_commit_keeps_the_aggregates_new_events<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let counters = fixture.repository.clone().aggregate::<Counter>();
    counters
        .commit(&mut Counter::open("c"))
        .await
        .expect("a good commit");
    let load = async || counters.get("c").await.expect("a load").expect("it exists");
    let (mut winner, mut loser) = (load().await, load().await);
    winner.add(1);
    loser.add(10);
    counters.commit(&mut winner).await.expect("a good commit");
    for _ in 0..2 {
        let refused = counters.outbox(message("m")).commit(&mut loser).await;
        assert!(matches!(
            refused,
            Err(RepositoryError::ConcurrentWrite {
                expected: 1,
                actual: 2,
                ..
            })
        ));
        assert_eq!(
            (loser.entity().new_events().len(), loser.version(), loser.sum),
            (1, 2, 10)
        );
    }
    assert!(fixture.entry("m").await.is_none());
    let mut again = load().await;
    again.add(10);
    counters
        .outbox(message("m"))
        .commit(&mut again)
        .await
        .expect("a good commit");
    assert_eq!(load().await.sum, 11);
    let mut other = load().await;
    other.add(100);
    let refused = counters.outbox(message("m")).commit(&mut other).await;
    assert!(matches!(refused, Err(RepositoryError::DuplicateMessage { .. })));
    assert_eq!((other.entity().new_events().len(), load().await.sum), (1, 11));
}

/// Ids that could not be told apart, or that break what they are put into, are refused in advance.
pub async fn a_bad_aggregate_id_stores_nothing<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let counters = fixture.repository.clone().aggregate::<Counter>();
    let long = "x".repeat(513);
    for (n, id) in ["", "  ", "a\nb", "a\0b", "\u{85}", &long]
        .into_iter()
        .enumerate()
    {
        let message_id = format!("m-{n}");
        let refused = counters
            .outbox(message(&message_id))
            .commit(&mut Counter::open(id))
            .await;
        assert!(matches!(refused, Err(RepositoryError::Invalid(_))), "{id:?}");
        assert!(
            matches!(counters.get(id).await, Err(RepositoryError::Invalid(_))),
            "{id:?}"
        );
        assert!(fixture.entry(&message_id).await.is_none());
        assert!(OutboxMessage::create(id, "thing", vec![]).is_err(), "{id:?}");
    }
    let counts = fixture.store.counts().await.expect("counts");
    assert_eq!(counts, postbox::store::OutboxCounts::default());
}

/// All or none of several aggregates.
pub async fn several_aggregates_are_committed_together<H: StoreHarness>(harness: &H) {
    let counters = harness.open(OutboxOptions::new()).aggregate::<Counter>();
    let (mut a, mut b) = (Counter::open("a"), Counter::open("b"));
    counters
        .commit_all(&mut [&mut a, &mut b])
        .await
        .expect("a good commit");
    a.add(1);
    b.add(2);
    let mut stale = Counter::open("b");
    let refused = counters.commit_all(&mut [&mut a, &mut stale]).await;
    assert!(matches!(refused, Err(RepositoryError::ConcurrentWrite { .. })));
    assert_eq!(a.entity().new_events().len(), 1);
    assert_eq!(
        counters.get("a").await.expect("a load").expect("it exists").sum,
        0
    );
    counters
        .commit_all(&mut [&mut b, &mut a])
        .await
        .expect("a good commit");
    let sums: Vec<i64> = counters
        .get_all(&["b", "a"])
        .await
        .expect("a load")
        .iter()
        .map(|c| c.sum)
        .collect();
    assert_eq!(sums, [2, 1]);
}

/// A message tells which aggregate it came from, and follows its order, unless it has a key of its own.
pub async fn messages_carry_the_aggregate_as_source_and_key<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let counters = fixture.repository.clone().aggregate::<Counter>();
    let mut counter = Counter::open("c");
    let own_key = message("own").with_key("mine").expect("a good key");
    let messages = vec![message("first"), message("second"), own_key];
    counters
        .commit_with(&mut counter, messages, None, None)
        .await
        .expect("a good commit");
    for (id, key) in [("first", "counter/c"), ("second", "counter/c"), ("own", "mine")] {
        let found = fixture
            .store
            .find(id)
            .await
            .expect("a look-up")
            .expect("it is kept");
        let message = found.message.as_ref();
        assert_eq!(message.key, Some(key));
        assert!(
            message
                .headers
                .iter()
                .any(|(name, value)| name.starts_with("x-postbox-") && value == "c")
        );
    }
    let batch = fixture.claim(A, 9).await;
    assert_eq!(crate::conformance::fixture::names(&batch), ["first", "own"]);
}

/// Events of every earlier shape are brought to the present one, a step at a time.
pub async fn old_events_are_upcast_in_a_chain<H: StoreHarness>(harness: &H) {
    let counters = harness.open(OutboxOptions::new()).aggregate::<Counter>();
    let events = vec![
        event("Opened", 1, &json!({ "id": "c" })),
        event("Added", 1, &json!({ "by": 1 })),
        event("Added", 2, &json!({ "amount": 2 })),
        event("Added", 3, &json!({ "amount": 3, "unit": "one" })),
    ];
    commit(counters.inner(), write("c", 0, events))
        .await
        .expect("a good commit");
    let mut counter = counters.get("c").await.expect("a load").expect("it exists");
    assert_eq!((counter.sum, counter.version()), (12 + 24 + 3, 4));
    counter.add(1);
    counter.label("x").expect("it encodes");
    counters.commit(&mut counter).await.expect("a good commit");
    let tail = counters
        .inner()
        .load(&stream("c"), 0)
        .await
        .expect("a load")
        .expect("it exists");
    let versions: Vec<u32> = tail.events.iter().map(|event| event.version).collect();
    assert_eq!(versions, [1, 1, 2, 3, 3, 1], "what was stored stays as it was");
    assert_eq!(
        counters.get("c").await.expect("a load").expect("it exists").label,
        "x"
    );
}

/// A stored event that this program cannot read names itself, and is not passed over.
pub async fn events_that_do_not_decode_are_typed_errors<H: StoreHarness>(harness: &H) {
    let counters = harness.open(OutboxOptions::new()).aggregate::<Counter>();
    let opened = || event("Opened", 1, &json!({ "id": "c" }));
    for (id, bad) in [
        ("refused", event("Added", 1, &json!({ "from": 1 }))),
        ("newer", event("Added", 4, &json!({}))),
        ("unknown", event("Vanished", 1, &json!({}))),
        ("shape", event("Added", 3, &json!({ "amount": "many" }))),
    ] {
        let batch = CommitBatch {
            streams: vec![write(id, 0, vec![opened(), bad])],
            ..CommitBatch::new()
        };
        counters.inner().commit(batch).await.expect("a good commit");
        let error = counters.get(id).await.expect_err("event 2 cannot be read");
        let sequence = match (&error, id) {
            (
                RepositoryError::Upcast {
                    sequence,
                    source: UpcastError::Undecodable { .. },
                    ..
                },
                "refused",
            )
            | (
                RepositoryError::Upcast {
                    sequence,
                    source: UpcastError::Newer { .. },
                    ..
                },
                "newer",
            )
            | (RepositoryError::Replay { sequence, .. }, "unknown" | "shape") => *sequence,
            _ => panic!("{id}: {error}"),
        };
        assert_eq!(sequence, 2);
    }
}
