//! A backstop purges as fast as messages grow old, however many there are.
#![allow(
    clippy::expect_used,
    clippy::large_futures,
    reason = "a panic is the report, and a test has room"
)]

use postbox::aggregate::{CommitBatch, Repository};
use postbox::backstop::{Backstop, BackstopConfig};
use postbox::bus::{BusPublisher, InMemoryBus};
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::WorkerId;
use postbox::message::OutboxMessage;
use postbox::runtime::Timer;
use postbox::store::{HasOutboxStore, OutboxOperator, OutboxOptions};
use postbox::testing::{VirtualClock, run};
use postbox::time::Clock;
use postbox_hashmap::HashMapRepository;
use std::time::Duration;

#[test]
fn a_thousand_old_messages_are_gone_within_two_purges() {
    let clock = VirtualClock::new();
    let options = OutboxOptions::new().with_retention(Duration::from_secs(1));
    let repository = HashMapRepository::new()
        .with_clock(clock.clone())
        .with_options(options);
    let store = repository.outbox_store();
    let publisher = BusPublisher::new(InMemoryBus::new());
    let dispatcher = OutboxDispatcher::new(store.clone(), publisher, DispatchConfig::new(WorkerId::new(1)));
    let mut backstop = Backstop::new(dispatcher.with_timer(clock.clone()), BackstopConfig::new());
    run(&clock, async {
        let message = |n: u32| OutboxMessage::create(n.to_string(), "e", vec![]).expect("a message");
        let messages = (0..1_000).map(message).collect();
        repository
            .commit(CommitBatch {
                messages,
                ..CommitBatch::new()
            })
            .await
            .expect("a commit");
        let stop = clock.sleep_until(clock.now() + Duration::from_secs(25));
        backstop.run(stop).await.expect("good settings");
        assert_eq!(store.counts().await.expect("counts").published, 0);
    })
    .expect("it ends");
}
