//! The receiving side of a bus: the seam that brokers implement.

use super::Message;

/// Opens sources of messages.
pub trait BusConsumer {
    /// What can go wrong.
    type Error: core::error::Error;
    /// Where messages come from.
    type Source: MessageSource<Error = Self::Error>;

    /// A source of these commands, shared with every other listener: each command goes to one.
    async fn listen(&self, commands: &[&str]) -> Result<Self::Source, Self::Error>;

    /// A source of these events for `group`: each event comes once to the group, however often and by how
    /// many members it subscribes.
    async fn subscribe(&self, events: &[&str], group: &str) -> Result<Self::Source, Self::Error>;
}

/// Gives messages one at a time.
///
/// # Cancel safety
/// Dropping `receive` or `try_receive` loses no message.
pub trait MessageSource {
    /// What can go wrong.
    type Error: core::error::Error;
    /// A message to be settled.
    type Received: ReceivedMessage<Error = Self::Error>;

    /// Waits for the next message.
    async fn receive(&mut self) -> Result<Self::Received, Self::Error>;

    /// The next message, if one is there.
    async fn try_receive(&mut self) -> Result<Option<Self::Received>, Self::Error>;
}

/// A delivered message, to be settled by exactly one of its methods.
///
/// Dropped unsettled, as when its consumer dies, it is delivered again.
pub trait ReceivedMessage {
    /// What can go wrong.
    type Error: core::error::Error;

    /// The message.
    fn message(&self) -> &Message;

    /// How many times it was delivered, this one included; 1 where the broker does not count.
    fn deliveries(&self) -> u32;

    /// It was handled.
    async fn ack(self) -> Result<(), Self::Error>;

    /// It was not: deliver it again.
    async fn nack(self) -> Result<(), Self::Error>;

    /// It never will be: put it where dead letters are kept.
    async fn dead_letter(self, reason: &str) -> Result<(), Self::Error>;

    /// It cannot be handled now: set it aside for an operator.
    async fn park(self, reason: &str) -> Result<(), Self::Error>;
}
