//! The bus in memory in many orders of steps of a few threads. Only under `--cfg loom`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::needless_for_each)]

use core::mem::ManuallyDrop;

use loom::thread;

use super::InMemoryBus;
use crate::bus::{BusConsumer, MessageSource, ReceivedMessage};
use crate::message::{Message, MessageKind};
use crate::primitive::{block_on, explore};

fn command(number: u8) -> Message {
    Message::new("todo.create", MessageKind::Command, [number])
}

fn event(number: u8) -> Message {
    Message::new("todo.created", MessageKind::Event, [number])
}

#[test]
fn a_command_wakes_its_listener() {
    explore("bus: 2 senders", Some(2), || {
        let bus = InMemoryBus::new();
        let senders = [0, 1].map(|number| {
            let bus = bus.clone();
            thread::spawn(move || bus.push(command(number)).unwrap())
        });
        block_on(async {
            let mut source = bus.listen(&["todo.create"]).await.unwrap();
            for _ in 0..2 {
                source.receive().await.unwrap().ack().await.unwrap();
            }
        });
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        assert!(bus.is_empty());
    });
}

#[test]
fn what_one_listener_gives_back_wakes_another() {
    explore("bus: given back", Some(2), || {
        let bus = InMemoryBus::new();
        bus.push(command(0)).unwrap();
        let other = bus.clone();
        let giver = thread::spawn(move || {
            block_on(async {
                let mut source = other.listen(&["todo.create"]).await.unwrap();
                drop(source.try_receive().await.unwrap());
            });
        });
        block_on(async {
            let mut source = bus.listen(&["todo.create"]).await.unwrap();
            source.receive().await.unwrap().ack().await.unwrap();
        });
        giver.join().unwrap();
        assert!(bus.is_empty());
    });
}

#[test]
fn an_event_reaches_every_group_once() {
    explore("bus: 2 groups", Some(2), || {
        let bus = InMemoryBus::new();
        let groups = block_on(async {
            let one = bus.subscribe(&["todo.created"], "one").await.unwrap();
            (one, bus.subscribe(&["todo.created"], "two").await.unwrap())
        });
        let (mut one, mut two) = groups;
        let publisher = bus.clone();
        let publisher = thread::spawn(move || publisher.push(event(0)).unwrap());
        let reader = thread::spawn(move || {
            block_on(async { one.receive().await.unwrap().ack().await.unwrap() });
        });
        block_on(async { two.receive().await.unwrap().ack().await.unwrap() });
        publisher.join().unwrap();
        reader.join().unwrap();
        assert!(bus.is_empty());
    });
}

/// The planted bug: the bell is rung before there is something to receive.
#[test]
#[should_panic(expected = "deadlock")]
fn a_bus_that_rings_before_it_keeps_the_message_is_caught() {
    loom::model(|| {
        let bus = InMemoryBus::new();
        let other = bus.clone();
        let sender = thread::spawn(move || {
            other.shared.bell.ring();
            other.shared.state.with(|state| state.push(command(0)));
        });
        // Not dropped when loom reports the failure: loom is gone then.
        let bus = ManuallyDrop::new(bus);
        block_on(async {
            let mut source = bus.listen(&["todo.create"]).await.unwrap();
            source.receive().await.unwrap().ack().await.unwrap();
        });
        drop(ManuallyDrop::into_inner(bus));
        sender.join().unwrap();
    });
}
