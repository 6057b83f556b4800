//! A bus within the process: for tests, and for services that live together.

#[cfg(all(test, loom))]
mod schedules;
mod source;
mod state;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

pub use source::{InMemoryMessage, InMemorySource};
use state::State;

use super::{Bus, BusConsumer, Message, MessageKind};
use crate::id::Excerpt;
use crate::message::MessageRef;
use crate::publisher::PublishError;
use crate::sync::{Bell, Mutex};

/// How many messages a bus keeps unless told otherwise.
const CAPACITY: usize = 100_000;

/// Commands to one listener, events to every group, in memory.
///
/// Clones share it. Waiting sources are woken, not polled. An event is kept until every group that has
/// subscribed to its name has had it; while no group has, it waits for the first. A group that subscribes
/// again goes on where it was. What a consumer drops unsettled is delivered again, its count kept.
/// Nothing survives the process: the outbox does.
///
/// ```
/// use postbox::bus::{Bus, BusConsumer, InMemoryBus, MessageSource, ReceivedMessage};
/// use postbox::testing::{VirtualClock, run};
///
/// run(&VirtualClock::new(), async {
///     let bus = InMemoryBus::new();
///     bus.send("todo.create", b"{}".to_vec()).await?;
///     let mut listener = bus.listen(&["todo.create"]).await?;
///     let received = listener.receive().await?;
///     assert_eq!(received.message().name(), "todo.create");
///     received.ack().await?;
///     assert!(bus.is_empty());
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct InMemoryBus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    bell: Bell,
    capacity: usize,
}

/// The bus keeps as many messages as it may. Taken as an outage: nothing is dropped to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bus is full: it keeps at most {limit} messages")]
pub struct BusFull {
    /// How many it keeps at most.
    pub limit: usize,
}

/// A message that was given up or set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message.
    pub message: Message,
    /// Why.
    pub reason: Excerpt,
    /// How often it was delivered.
    pub deliveries: u32,
    /// The group that gave it up; `None` for a command.
    pub group: Option<String>,
}

impl InMemoryBus {
    /// An empty bus for up to 100,000 messages.
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    /// An empty bus for up to `messages` messages, dead letters included.
    pub fn with_capacity(messages: usize) -> Self {
        let shared = Shared {
            state: Mutex::new(State::default()),
            bell: Bell::new(),
            capacity: messages,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Sends a command without an id.
    ///
    /// # Errors
    /// [`BusFull`].
    #[expect(clippy::unused_async, reason = "buses are awaited")]
    pub async fn send(&self, name: &str, payload: impl Into<Vec<u8>>) -> Result<(), BusFull> {
        self.push(Message::new(name, MessageKind::Command, payload))
    }

    /// Publishes an event without an id.
    ///
    /// # Errors
    /// [`BusFull`].
    #[expect(clippy::unused_async, reason = "buses are awaited")]
    pub async fn publish(&self, name: &str, payload: impl Into<Vec<u8>>) -> Result<(), BusFull> {
        self.push(Message::new(name, MessageKind::Event, payload))
    }

    /// Sends or publishes an owned message, as its kind says.
    ///
    /// # Errors
    /// [`BusFull`].
    pub fn push(&self, message: Message) -> Result<(), BusFull> {
        let limit = self.shared.capacity;
        let room = self.shared.state.with(|state| {
            let room = state.len() < limit;
            if room {
                state.push(message);
            }
            room
        });
        if !room {
            return Err(BusFull { limit });
        }
        self.shared.bell.ring();
        Ok(())
    }

    /// How many messages it keeps: waiting, in hand, dead and parked.
    pub fn len(&self) -> usize {
        self.shared.state.with(|state| state.len())
    }

    /// Whether it keeps none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was given up, oldest first.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.shared.state.with(|state| state.dead.clone())
    }

    /// What was set aside, oldest first.
    pub fn parked(&self) -> Vec<DeadLetter> {
        self.shared.state.with(|state| state.parked.clone())
    }

    /// Delivers all dead letters again, to those who gave them up, counted anew. Returns how many.
    pub fn requeue_dead_letters(&self) -> usize {
        self.requeue(|state| core::mem::take(&mut state.dead))
    }

    /// Delivers everything that was set aside again. Returns how many.
    pub fn requeue_parked(&self) -> usize {
        self.requeue(|state| core::mem::take(&mut state.parked))
    }

    fn requeue(&self, take: impl FnOnce(&mut State) -> Vec<DeadLetter>) -> usize {
        let count = self.shared.state.with(|state| {
            let letters = take(state);
            let count = letters.len();
            for letter in letters {
                state.requeue(letter);
            }
            count
        });
        self.shared.bell.ring();
        count
    }
}

impl Default for InMemoryBus {
    fn default() -> Self {
        Self::new()
    }
}

impl Bus for InMemoryBus {
    type Error = BusFull;

    async fn send_message(&self, message: MessageRef<'_>) -> Result<(), PublishError<BusFull>> {
        let message = MessageRef {
            kind: MessageKind::Command,
            ..message
        };
        self.push(message.into()).map_err(PublishError::Unavailable)
    }

    async fn publish_message(&self, message: MessageRef<'_>) -> Result<(), PublishError<BusFull>> {
        let message = MessageRef {
            kind: MessageKind::Event,
            ..message
        };
        self.push(message.into()).map_err(PublishError::Unavailable)
    }
}

crate::dyn_bus!(InMemoryBus);

impl BusConsumer for InMemoryBus {
    type Error = BusFull;
    type Source = InMemorySource;

    async fn listen(&self, commands: &[&str]) -> Result<InMemorySource, BusFull> {
        Ok(InMemorySource::new(self.clone(), commands, None))
    }

    async fn subscribe(&self, events: &[&str], group: &str) -> Result<InMemorySource, BusFull> {
        self.shared.state.with(|state| state.join(events, group));
        Ok(InMemorySource::new(self.clone(), events, Some(group)))
    }
}
