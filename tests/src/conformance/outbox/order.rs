//! The order within a key: who waits for whom, and who does not.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use postbox::claim::{Status, Verdict};
use postbox::id::WorkerId;
use postbox::runtime::Timer;
use postbox::store::{DeadPolicy, OutboxOptions};
use postbox::time::Clock;

use crate::conformance::fixture::{A, B, Fixture, RETRY_AT_ONCE, delayed, keyed, message, names};
use crate::conformance::{StoreHarness, can};

/// While the head of a key waits for its retry, the rest of its key waits too, and all others go on.
pub async fn a_failing_head_blocks_its_key_and_no_other<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue_keyed("k", &["k1", "k2"]).await;
    fixture.enqueue_keyed("l", &["l1"]).await;
    fixture.enqueue(&["free"]).await;
    let head = fixture.claim_one(A).await;
    let after = Duration::from_secs(1);
    assert!(
        fixture
            .settle_one(&head, Verdict::Retry { after }, "refused")
            .await
    );
    fixture.enqueue_keyed("k", &["k3"]).await;
    assert_eq!(names(&fixture.claim(B, 9).await), ["l1", "free"]);
    fixture.advance(1_000);
    for id in ["k1", "k2", "k3"] {
        let batch = fixture.claim(B, 9).await;
        assert_eq!(names(&batch), [id]);
        assert!(fixture.claim(A, 9).await.is_empty());
        assert!(fixture.complete(&batch[0]).await);
    }
}

/// One batch holds at most the head of each key.
pub async fn a_claim_never_holds_two_messages_of_one_key<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue_keyed("k", &["k1", "k2", "k3"]).await;
    fixture.enqueue_keyed("K", &["K1", "K2"]).await;
    fixture.enqueue(&["f1", "f2"]).await;
    assert_eq!(names(&fixture.claim(A, 9).await), ["k1", "K1", "f1", "f2"]);
    assert_eq!(names(&fixture.claim(B, 9).await), [""; 0]);
    assert!(fixture.claim_ids(B, &["k2", "k3", "K2"]).await.is_empty());
}

/// Commit order holds also against due times: a delayed message holds up the later ones of its key.
pub async fn a_delayed_head_blocks_its_key<H: StoreHarness>(harness: &H) {
    if !can("a_delayed_head_blocks_its_key", harness.delays(), "delays") {
        return;
    }
    let fixture = Fixture::new(harness);
    let head = delayed(keyed("head", "k"), 2_000);
    fixture
        .commit(vec![head, keyed("next", "k"), message("other")])
        .await;
    assert_eq!(names(&fixture.claim(A, 9).await), ["other"]);
    fixture.advance(1_999);
    assert_eq!(names(&fixture.claim(A, 9).await), [""; 0]);
    fixture.advance(1);
    let batch = fixture.claim(A, 9).await;
    assert_eq!(names(&batch), ["head"]);
    assert!(fixture.complete(&batch[0]).await);
    assert_eq!(names(&fixture.claim(A, 9).await), ["next"]);
}

/// A lease that lapsed frees the message for another holder, not its key for the next message.
pub async fn a_lapsed_head_still_blocks_its_key<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue_keyed("k", &["k1", "k2"]).await;
    fixture.claim_one(A).await;
    fixture.advance(30_000);
    assert!(fixture.claim_ids(B, &["k2"]).await.is_empty());
    let batch = fixture.claim(B, 9).await;
    assert_eq!(names(&batch), ["k1"]);
    assert!(fixture.complete(&batch[0]).await);
    assert_eq!(names(&fixture.claim(B, 9).await), ["k2"]);
}

/// By default one poison message does not stop its key.
pub async fn a_dead_head_lets_its_key_go_on_by_default<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue_keyed("k", &["k1", "k2"]).await;
    fixture.bury_next().await;
    assert_eq!(names(&fixture.claim(B, 9).await), ["k2"]);
}

/// Where order is worth more than progress, a dead letter holds up its key until it is put back.
pub async fn a_dead_head_blocks_its_key_if_told_to<H: StoreHarness>(harness: &H) {
    let options = OutboxOptions::new().with_dead_policy(DeadPolicy::Block);
    let fixture = Fixture::with(harness, options);
    fixture.enqueue_keyed("k", &["k1", "k2"]).await;
    fixture.enqueue(&["f1", "f2"]).await;
    fixture.bury_next().await;
    fixture.bury_next().await;
    assert_eq!(names(&fixture.claim(B, 9).await), ["f2"]);
    assert!(fixture.claim_ids(B, &["k2"]).await.is_empty());
    assert_eq!(fixture.requeue(&["k1", "f1"]).await, 2);
    let batch = fixture.claim(B, 9).await;
    assert_eq!(names(&batch), ["k1", "f1"]);
    assert!(fixture.complete(&batch[0]).await);
    assert_eq!(names(&fixture.claim(B, 9).await), ["k2"]);
}

/// What was put back stands where it was committed: the later ones of its key wait for it again.
pub async fn a_requeued_message_goes_before_the_later_ones_of_its_key<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue_keyed("k", &["k1", "k2", "k3"]).await;
    fixture.bury_next().await;
    fixture.bury_next().await;
    assert_eq!(fixture.requeue(&["k2"]).await, 1);
    assert_eq!(fixture.requeue(&["k1"]).await, 1);
    for id in ["k1", "k2", "k3"] {
        let batch = fixture.claim(B, 9).await;
        assert_eq!(names(&batch), [id]);
        assert!(fixture.complete(&batch[0]).await);
    }
}

/// The holder of a later message is not fenced off by a requeue; if it fails, the message waits its turn.
pub async fn a_message_overtaken_by_a_requeue_still_settles<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.enqueue_keyed("k", &["k1", "k2", "k3"]).await;
    fixture.bury_next().await;
    let second = fixture.claim_one(A).await;
    assert_eq!(fixture.requeue(&["k1"]).await, 1);
    let first = fixture.claim_one(B).await;
    assert_eq!((first.id.as_str(), second.id.as_str()), ("k1", "k2"));
    assert!(fixture.renew(&second, Duration::from_secs(40)).await);
    assert!(fixture.settle_one(&second, RETRY_AT_ONCE, "refused").await);
    assert_eq!(names(&fixture.claim(A, 9).await), [""; 0]);
    assert!(fixture.complete(&first).await);
    assert_eq!(names(&fixture.claim(A, 9).await), ["k2"]);
    fixture.advance(30_000);
    assert_eq!(names(&fixture.claim(B, 9).await), ["k2"], "k3 still waits for it");
}

/// Workers that come, fail, stall and go: the first delivery of each message follows the commits of its key.
pub async fn several_workers_keep_the_order_of_every_key<H: StoreHarness>(harness: &H) {
    let fixture = Fixture::new(harness);
    for n in 0..20 {
        let batch = (0..5).map(|key| keyed(&format!("{key}-{n:02}"), &format!("key-{key}")));
        fixture.commit(batch.collect()).await;
    }
    let give_up = fixture.clock.now() + Duration::from_secs(3_600);
    let delivered = RefCell::new(Vec::new());
    let work = |number: u64| {
        let (fixture, delivered) = (&fixture, &delivered);
        async move {
            let mut dice = number;
            loop {
                let batch = fixture.claim(WorkerId::new(number), 3).await;
                for held in &batch {
                    dice = dice
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let after = Duration::from_millis(dice >> 54);
                    sleep(fixture, after / 4).await;
                    match (dice >> 32) % 6 {
                        0 => assert!(
                            fixture
                                .settle_one(held, Verdict::Retry { after }, "refused")
                                .await
                        ),
                        1 => assert!(fixture.settle_one(held, Verdict::Release { after }, "down").await),
                        2 => delivered.borrow_mut().push(held.id.clone()), // and then it stalls
                        _ => {
                            delivered.borrow_mut().push(held.id.clone());
                            assert!(fixture.complete(held).await);
                        }
                    }
                }
                if fixture.commits_left().await == 0 {
                    return;
                }
                assert!(
                    fixture.clock.now() < give_up,
                    "messages are left that nobody is given"
                );
                sleep(fixture, Duration::from_millis(500)).await;
            }
        }
    };
    join_all((1..=4).map(work)).await;
    let mut first: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for id in delivered.take() {
        let (key, _) = id.split_once('-').expect("a key and a number");
        let seen = first.entry(key.to_owned()).or_default();
        if !seen.contains(&id) {
            seen.push(id);
        }
    }
    assert_eq!(first.len(), 5);
    for (key, seen) in first {
        let expected: Vec<String> = (0..20).map(|n| format!("{key}-{n:02}")).collect();
        assert_eq!(seen, expected);
    }
}

impl<H: StoreHarness> Fixture<H> {
    /// How many messages are pending or in flight.
    async fn commits_left(&self) -> usize {
        use postbox::store::OutboxOperator;
        let mut left = 0;
        for status in [Status::Pending, Status::InFlight] {
            left += self.store.messages(status, 1_000).await.expect("a listing").len();
        }
        left
    }
}

async fn sleep<H: StoreHarness>(fixture: &Fixture<H>, time: Duration) {
    let clock = &fixture.clock;
    clock.sleep_until(clock.now() + time).await;
}
