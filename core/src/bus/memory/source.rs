//! The receiving end of the in-memory bus.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::state::Delivery;
use super::{BusFull, DeadLetter, InMemoryBus};
use crate::bus::{Message, MessageSource, ReceivedMessage};
use crate::id::Excerpt;
use crate::sync::Watch;
use crate::wakeup::Wakeup;

/// Gives the commands or events of some names, oldest first over all of them.
#[derive(Debug)]
pub struct InMemorySource {
    bus: InMemoryBus,
    watch: Watch,
    names: Vec<String>,
    group: Option<String>,
}

impl InMemorySource {
    pub(super) fn new(bus: InMemoryBus, names: &[&str], group: Option<&str>) -> Self {
        let watch = bus.shared.bell.watch();
        let names = names.iter().map(ToString::to_string).collect();
        Self {
            bus,
            watch,
            names,
            group: group.map(ToString::to_string),
        }
    }

    fn pop(&self) -> Option<InMemoryMessage> {
        let delivery = self.bus.shared.state.with(|state| match &self.group {
            None => state.pop_command(&self.names),
            Some(group) => state.pop_event(&self.names, group),
        })?;
        Some(InMemoryMessage {
            message: delivery.message.clone(),
            delivery: Some(delivery),
            bus: self.bus.clone(),
            group: self.group.clone(),
        })
    }
}

impl MessageSource for InMemorySource {
    type Error = BusFull;
    type Received = InMemoryMessage;

    async fn receive(&mut self) -> Result<InMemoryMessage, BusFull> {
        loop {
            if let Some(message) = self.pop() {
                return Ok(message);
            }
            self.watch.wait().await;
        }
    }

    async fn try_receive(&mut self) -> Result<Option<InMemoryMessage>, BusFull> {
        Ok(self.pop())
    }
}

/// A message in a consumer's hand. Dropped unsettled, it goes back to where it came from.
#[derive(Debug)]
pub struct InMemoryMessage {
    message: alloc::sync::Arc<Message>,
    /// Taken when it is settled.
    delivery: Option<Delivery>,
    bus: InMemoryBus,
    group: Option<String>,
}

impl InMemoryMessage {
    /// Takes the delivery out of the bus; returns what a letter of it would say.
    fn settle(&mut self, reason: &str) -> DeadLetter {
        let deliveries = self.deliveries();
        if self.delivery.take().is_some() {
            self.bus.shared.state.with(super::state::State::done);
        }
        DeadLetter {
            message: (*self.message).clone(),
            reason: Excerpt::new(reason),
            deliveries,
            group: self.group.clone(),
        }
    }
}

impl ReceivedMessage for InMemoryMessage {
    type Error = BusFull;

    fn message(&self) -> &Message {
        &self.message
    }

    fn deliveries(&self) -> u32 {
        self.delivery.as_ref().map_or(0, |delivery| delivery.deliveries)
    }

    async fn ack(mut self) -> Result<(), BusFull> {
        if self.delivery.take().is_some() {
            self.bus.shared.state.with(super::state::State::done);
        }
        Ok(())
    }

    async fn nack(self) -> Result<(), BusFull> {
        drop(self);
        Ok(())
    }

    async fn dead_letter(mut self, reason: &str) -> Result<(), BusFull> {
        let letter = self.settle(reason);
        self.bus.shared.state.with(|state| state.dead.push(letter));
        Ok(())
    }

    async fn park(mut self, reason: &str) -> Result<(), BusFull> {
        let letter = self.settle(reason);
        self.bus.shared.state.with(|state| state.parked.push(letter));
        Ok(())
    }
}

impl Drop for InMemoryMessage {
    fn drop(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            self.bus
                .shared
                .state
                .with(|state| state.give_back(delivery, self.group.as_deref()));
            self.bus.shared.bell.ring();
        }
    }
}
