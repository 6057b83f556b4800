//! What the broker hands to a consumer, over the network.

use postbox::bus::{BusFull, InMemoryMessage, InMemorySource, Message, MessageSource, ReceivedMessage};

use crate::world::Sim;

/// Gives the messages of some names: the real in-memory source, reached over the network.
#[derive(Debug)]
pub struct SimSource {
    link: Link,
    inner: InMemorySource,
}

impl SimSource {
    pub(super) const fn new(sim: Sim, inner: InMemorySource) -> Self {
        Self {
            link: Link(sim),
            inner,
        }
    }

    fn received(&self, inner: InMemoryMessage) -> SimReceived {
        SimReceived {
            link: self.link.clone(),
            inner,
        }
    }
}

impl MessageSource for SimSource {
    type Error = BusFull;
    type Received = SimReceived;

    async fn receive(&mut self) -> Result<SimReceived, BusFull> {
        let received = self.inner.receive().await?;
        self.link.0.hop().await;
        Ok(self.received(received))
    }

    async fn try_receive(&mut self) -> Result<Option<SimReceived>, BusFull> {
        let received = self.inner.try_receive().await?;
        self.link.0.hop().await;
        Ok(received.map(|inner| self.received(inner)))
    }
}

/// A message in a consumer's hand.
#[derive(Debug)]
pub struct SimReceived {
    link: Link,
    inner: InMemoryMessage,
}

impl ReceivedMessage for SimReceived {
    type Error = BusFull;

    fn message(&self) -> &Message {
        self.inner.message()
    }

    fn deliveries(&self) -> u32 {
        self.inner.deliveries()
    }

    async fn ack(self) -> Result<(), BusFull> {
        self.link.0.hop().await;
        if self.link.loses_an_ack() {
            // The broker waits in vain and delivers again.
            return self.inner.nack().await;
        }
        self.inner.ack().await
    }

    async fn nack(self) -> Result<(), BusFull> {
        self.link.0.hop().await;
        self.inner.nack().await
    }

    async fn dead_letter(self, reason: &str) -> Result<(), BusFull> {
        self.link.0.hop().await;
        self.inner.dead_letter(reason).await
    }

    async fn park(self, reason: &str) -> Result<(), BusFull> {
        self.link.0.hop().await;
        self.inner.park(reason).await
    }
}

#[derive(Clone)]
struct Link(Sim);

impl Link {
    fn loses_an_ack(&self) -> bool {
        let mut state = self.0.lock();
        let lost = state.faults.lost_ack;
        state.happens(lost)
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Link")
    }
}
