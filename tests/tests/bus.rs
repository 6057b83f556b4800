//! The bus in RAM: who gets what, how often, and what happens to what nobody could handle.
#![allow(
    clippy::expect_used,
    clippy::large_futures,
    reason = "a panic is the report, and a test has room"
)]

use std::time::Duration;

use futures_util::future::join;
use postbox::bus::{
    Bus, BusConsumer, BusFull, InMemoryBus, InMemorySource, MessageSource, ReceivedMessage, RunOptions,
};
use postbox::message::OutboxMessage;
use postbox::publisher::PublishError;
use postbox::retry::Backoff;
use postbox::service::{Context, HandlerError, HandlerResult, Service};
use postbox::testing::{Stalled, VirtualClock, run};

fn go<T>(test: impl Future<Output = T>) -> T {
    run(&VirtualClock::new(), test).expect("nothing waits for ever")
}

/// The bus in RAM, for the suite that every bus passes.
struct Ram;

impl postbox_tests::conformance::bus::BusHarness for Ram {
    type Bus = InMemoryBus;

    fn bus(&self) -> InMemoryBus {
        InMemoryBus::new()
    }
    fn run<F: Future>(&self, future: F) -> F::Output {
        go(future)
    }
}

mod suite {
    postbox_tests::bus_conformance!(super::Ram);
}

async fn next(source: &mut InMemorySource) -> Option<(String, u32)> {
    let received = source.try_receive().await.expect("a bus")?;
    let seen = (
        String::from_utf8_lossy(received.message().payload()).into_owned(),
        received.deliveries(),
    );
    received.ack().await.expect("a bus");
    Some(seen)
}

#[test]
fn a_command_goes_to_exactly_one_of_two_listeners() {
    go(async {
        let bus = InMemoryBus::new();
        let mut one = bus.listen(&["c"]).await.expect("a bus");
        let mut two = bus.listen(&["c"]).await.expect("a bus");
        for n in 0..10 {
            bus.send("c", n.to_string()).await.expect("room");
        }
        let mut seen = Vec::new();
        while let Some((payload, _)) = next(&mut one).await {
            seen.push(payload);
            seen.extend(next(&mut two).await.map(|(payload, _)| payload));
        }
        assert_eq!(seen, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
        assert!(bus.is_empty());
    });
}

#[test]
fn an_event_comes_once_to_every_group_and_is_not_replayed() {
    go(async {
        let bus = InMemoryBus::new();
        let mut one = bus.subscribe(&["e"], "one").await.expect("a bus");
        let mut two = bus.subscribe(&["e"], "two").await.expect("a bus");
        bus.publish("e", "x").await.expect("room");
        assert!(next(&mut one).await.is_some());
        let mut again = bus.subscribe(&["e"], "one").await.expect("a bus");
        assert!(next(&mut again).await.is_none(), "a replay");
        assert!(next(&mut two).await.is_some());
        assert!(next(&mut two).await.is_none());
        assert!(bus.is_empty());
    });
}

#[test]
fn what_is_given_back_or_dropped_comes_again_first_and_with_a_count() {
    go(async {
        let bus = InMemoryBus::new();
        let mut source = bus.subscribe(&["e"], "g").await.expect("a bus");
        bus.publish("e", "first").await.expect("room");
        bus.publish("e", "second").await.expect("room");
        let received = source.try_receive().await.expect("a bus").expect("a message");
        received.nack().await.expect("a bus");
        drop(source.try_receive().await.expect("a bus").expect("a message"));
        assert_eq!(next(&mut source).await, Some(("first".to_owned(), 3)));
        assert_eq!(next(&mut source).await, Some(("second".to_owned(), 1)));
        assert!(bus.is_empty());
    });
}

#[test]
fn dead_letters_and_parked_messages_are_read_and_put_back_to_their_group_alone() {
    go(async {
        let bus = InMemoryBus::new();
        let mut one = bus.subscribe(&["e"], "one").await.expect("a bus");
        let mut two = bus.subscribe(&["e"], "two").await.expect("a bus");
        bus.publish("e", "x").await.expect("room");
        bus.send("c", "y").await.expect("room");
        assert!(next(&mut two).await.is_some());
        let received = one.receive().await.expect("a bus");
        received.dead_letter("poison").await.expect("a bus");
        let mut commands = bus.listen(&["c"]).await.expect("a bus");
        let received = commands.receive().await.expect("a bus");
        received.park("later").await.expect("a bus");
        let letters = bus.dead_letters();
        assert_eq!((letters[0].reason.as_str(), letters[0].deliveries), ("poison", 1));
        assert_eq!(letters[0].group.as_deref(), Some("one"));
        assert_eq!((bus.parked().len(), bus.len()), (1, 2));
        assert_eq!((bus.requeue_dead_letters(), bus.requeue_parked()), (1, 1));
        assert!(next(&mut two).await.is_none());
        assert_eq!(next(&mut one).await, Some(("x".to_owned(), 1)));
        assert_eq!(next(&mut commands).await, Some(("y".to_owned(), 1)));
        assert!(bus.is_empty());
    });
}

#[test]
fn a_consumer_that_waits_is_woken_and_nobody_polls() {
    let bus = InMemoryBus::new();
    go(async {
        let mut source = bus.listen(&["c"]).await.expect("a bus");
        // No deadline is set, so nothing but the bus can wake the receiver.
        let (received, sent) = join(source.receive(), bus.send("c", "x")).await;
        sent.expect("room");
        received.expect("a bus").ack().await.expect("a bus");
    });
    let idle = run(&VirtualClock::new(), async {
        bus.listen(&["c"]).await.expect("a bus").receive().await
    });
    assert_eq!(idle.err(), Some(Stalled));
}

#[test]
fn a_full_bus_refuses_as_an_outage_and_loses_nothing() {
    go(async {
        let bus = InMemoryBus::with_capacity(2);
        bus.send("c", "1").await.expect("room");
        bus.publish("e", "2").await.expect("room");
        let refused = bus.send("c", "3").await;
        assert_eq!(refused, Err(BusFull { limit: 2 }));
        let message = OutboxMessage::command("m", "c", "3").expect("a good message");
        let refused = bus.send_message(message.as_ref()).await;
        assert_eq!(refused, Err(PublishError::Unavailable(BusFull { limit: 2 })));
        let mut commands = bus.listen(&["c"]).await.expect("a bus");
        let mut events = bus.subscribe(&["e"], "g").await.expect("a bus");
        let received = events.receive().await.expect("a bus");
        assert!(bus.send("c", "3").await.is_err(), "what is in hand counts");
        received.ack().await.expect("a bus");
        bus.send("c", "3").await.expect("room");
        assert_eq!(next(&mut commands).await, Some(("1".to_owned(), 1)));
        assert_eq!(next(&mut commands).await, Some(("3".to_owned(), 1)));
    });
}

async fn again(_: &Context<'_, ()>) -> HandlerResult {
    Err(HandlerError::retryable("not yet"))
}

#[test]
fn redelivery_has_a_bound_with_and_without_a_timer() {
    let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(4)).expect("a good backoff");
    let options = RunOptions::idempotent()
        .with_redelivery(backoff, 3)
        .expect("a good bound");
    for timed in [false, true] {
        let clock = VirtualClock::new();
        let bus = InMemoryBus::new();
        let app = Service::with_repo(())
            .command("c")
            .handle(again)
            .with_bus(bus.clone());
        let work = async {
            bus.send("c", "x").await.expect("room");
            if timed {
                use postbox::{runtime::Timer, time::Clock};
                let end = clock.sleep_until(clock.now() + Duration::from_secs(60));
                app.run_with(clock.clone(), end, options.clone()).await
            } else {
                app.run(options.clone()).await
            }
        };
        run(&clock, work).expect("nothing waits for ever").expect("a run");
        let letters = bus.dead_letters();
        assert_eq!(letters.len(), 1);
        assert_eq!(
            (letters[0].deliveries, letters[0].reason.as_str()),
            (3, "not yet")
        );
    }
}
