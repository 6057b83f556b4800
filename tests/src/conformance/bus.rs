//! What every bus must do with commands, events, and what comes back.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use postbox::bus::{Bus, BusConsumer, MessageSource, ReceivedMessage};
use postbox::message::{Headers, MessageKind, MessageRef};

/// Says how to open the bus under test and run a future where it works. One value is one empty bus.
pub trait BusHarness {
    /// The bus under test.
    type Bus: Bus + BusConsumer;

    /// The bus, empty.
    fn bus(&self) -> Self::Bus;

    /// Runs a future to its end on the bus's executor.
    fn run<F: Future>(&self, future: F) -> F::Output;
}

/// Each command goes to one of the listeners, oldest first.
pub async fn a_command_goes_to_exactly_one_listener<B: Bus + BusConsumer>(bus: &B) {
    let mut one = bus.listen(&["c"]).await.expect("a listener");
    let mut two = bus.listen(&["c"]).await.expect("a listener");
    for id in ["1", "2", "3", "4"] {
        bus.send_message(message("c", MessageKind::Command, id))
            .await
            .expect("room");
    }
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push(take(&mut one).await);
        seen.push(take(&mut two).await);
    }
    seen.sort();
    assert_eq!(seen, [some("1"), some("2"), some("3"), some("4")]);
    assert_eq!((take(&mut one).await, take(&mut two).await), (None, None));
}

/// A command waits for its first listener.
pub async fn a_command_waits_for_a_listener<B: Bus + BusConsumer>(bus: &B) {
    bus.send_message(message("c", MessageKind::Command, "1"))
        .await
        .expect("room");
    let mut late = bus.listen(&["c", "other"]).await.expect("a listener");
    assert_eq!(take(&mut late).await, some("1"));
}

/// Every group gets every event once; the members of a group share them.
pub async fn an_event_comes_once_to_every_group<B: Bus + BusConsumer>(bus: &B) {
    let mut one = bus.subscribe(&["e"], "one").await.expect("a subscriber");
    let mut same = bus.subscribe(&["e"], "one").await.expect("a subscriber");
    let mut two = bus.subscribe(&["e"], "two").await.expect("a subscriber");
    bus.publish_message(message("e", MessageKind::Event, "1"))
        .await
        .expect("room");
    let shared = [take(&mut one).await, take(&mut same).await];
    assert_eq!(shared.iter().flatten().count(), 1);
    assert_eq!(take(&mut two).await, some("1"));
    assert_eq!(take(&mut two).await, None);
}

/// A group that subscribes again goes on where it was.
pub async fn nothing_is_replayed_to_a_group_that_returns<B: Bus + BusConsumer>(bus: &B) {
    for id in ["1", "2"] {
        let mut group = bus.subscribe(&["e"], "g").await.expect("a subscriber");
        bus.publish_message(message("e", MessageKind::Event, id))
            .await
            .expect("room");
        assert_eq!(take(&mut group).await, some(id));
        assert_eq!(take(&mut group).await, None);
    }
}

/// What is given back, or dropped by a consumer that died, is delivered again and counted.
pub async fn what_is_not_settled_comes_again_with_a_count<B: Bus + BusConsumer>(bus: &B) {
    let mut listener = bus.listen(&["c"]).await.expect("a listener");
    bus.send_message(message("c", MessageKind::Command, "1"))
        .await
        .expect("room");
    let first = listener.receive().await.expect("a message");
    assert_eq!(first.deliveries(), 1);
    first.nack().await.expect("a settlement");
    let second = listener.receive().await.expect("a message");
    assert_eq!((second.message().id(), second.deliveries()), (Some("1"), 2));
    drop(second);
    let third = listener.receive().await.expect("a message");
    assert_eq!(third.deliveries(), 3);
    third.ack().await.expect("a settlement");
    assert_eq!(take(&mut listener).await, None);
}

/// Dead letters and parked messages are settled: they do not come again by themselves.
pub async fn dead_letters_and_parked_messages_do_not_come_again<B: Bus + BusConsumer>(bus: &B) {
    let mut listener = bus.listen(&["c"]).await.expect("a listener");
    for id in ["1", "2"] {
        bus.send_message(message("c", MessageKind::Command, id))
            .await
            .expect("room");
    }
    let dead = listener.receive().await.expect("a message");
    dead.dead_letter("it is bad").await.expect("a settlement");
    let parked = listener.receive().await.expect("a message");
    parked.park("not now").await.expect("a settlement");
    assert_eq!(take(&mut listener).await, None);
}

/// A consumer that waits is woken by the next message.
pub async fn a_waiting_consumer_is_woken<B: Bus + BusConsumer>(bus: &B) {
    let mut listener = bus.listen(&["c"]).await.expect("a listener");
    let mut waiting = pin!(listener.receive());
    let ready = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_ready())).await;
    assert!(!ready, "nothing was sent");
    bus.send_message(message("c", MessageKind::Command, "1"))
        .await
        .expect("room");
    let received = waiting.await.expect("a message");
    assert_eq!(received.message().id(), Some("1"));
    received.ack().await.expect("a settlement");
}

/// Everything about a message arrives as it was sent.
pub async fn a_message_arrives_as_it_was_sent<B: Bus + BusConsumer>(bus: &B) {
    let mut group = bus.subscribe(&["e"], "g").await.expect("a subscriber");
    let sent = MessageRef {
        key: Some("todo/ü"),
        payload: b"\0\xff{}",
        content_type: "application/x-own",
        headers: Headers::from_lines("tenant: acme\ncorrelation-id: c-1\n"),
        ..message("e", MessageKind::Event, "1")
    };
    bus.publish_message(sent).await.expect("room");
    let received = group.receive().await.expect("a message");
    let got = received.message();
    assert_eq!(
        (got.id(), got.name(), got.kind()),
        (Some("1"), "e", MessageKind::Event)
    );
    assert_eq!((got.key(), got.payload()), (sent.key, sent.payload));
    assert_eq!(got.content_type(), sent.content_type);
    assert_eq!(got.headers().get("Correlation-Id"), Some("c-1"));
    assert_eq!(got.headers().get("TENANT"), Some("acme"));
    received.ack().await.expect("a settlement");
}

fn message<'a>(name: &'a str, kind: MessageKind, id: &'a str) -> MessageRef<'a> {
    MessageRef {
        id,
        name,
        kind,
        key: None,
        payload: b"{}",
        content_type: "application/json",
        headers: Headers::EMPTY,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what `take` returns")]
fn some(id: &str) -> Option<String> {
    Some(id.to_string())
}

/// Takes and acknowledges the next message, if there is one; its id.
async fn take<S: MessageSource>(source: &mut S) -> Option<String> {
    let received = source.try_receive().await.expect("a bus")?;
    let id = received.message().id().map(String::from);
    received.ack().await.expect("a settlement");
    id
}
