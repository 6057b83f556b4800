//! Buses: commands to one listener, events to every group, and the runner that hands them to a service.

mod consumer;
mod memory;
mod options;
mod runner;

use alloc::sync::Arc;
use core::fmt;

pub use consumer::{BusConsumer, MessageSource, ReceivedMessage};
pub use memory::{BusFull, DeadLetter, InMemoryBus, InMemoryMessage, InMemorySource};
pub use options::{ConsumerDeliveryMode, FailurePolicy, RunOptions};
pub(crate) use runner::Consumer;
pub use runner::{Handling, MessageHandler, RunError};

use crate::message::MessageRef;
pub use crate::message::{Message, MessageKind};
use crate::publisher::{AsyncMessagePublisher, PublishError};

/// The sending side of a bus.
///
/// A bus that is to be attached to a service also says [`dyn_bus!`](crate::dyn_bus).
///
/// # Delivery
/// `Ok` means that the bus has taken responsibility for the message.
pub trait Bus {
    /// What can go wrong.
    type Error: core::error::Error;

    /// Sends to one of the listeners for this name.
    async fn send_message(&self, message: MessageRef<'_>) -> Result<(), PublishError<Self::Error>>;

    /// Publishes to every group that subscribes to this name.
    async fn publish_message(&self, message: MessageRef<'_>) -> Result<(), PublishError<Self::Error>>;
}

impl<B: Bus + ?Sized> Bus for &B {
    type Error = B::Error;

    async fn send_message(&self, message: MessageRef<'_>) -> Result<(), PublishError<B::Error>> {
        (**self).send_message(message).await
    }
    async fn publish_message(&self, message: MessageRef<'_>) -> Result<(), PublishError<B::Error>> {
        (**self).publish_message(message).await
    }
}

impl<B: Bus + ?Sized> Bus for Arc<B> {
    type Error = B::Error;

    async fn send_message(&self, message: MessageRef<'_>) -> Result<(), PublishError<B::Error>> {
        (**self).send_message(message).await
    }
    async fn publish_message(&self, message: MessageRef<'_>) -> Result<(), PublishError<B::Error>> {
        (**self).publish_message(message).await
    }
}

/// Publishes an outbox to a bus: commands are sent, events are published. The message goes as it is.
#[derive(Clone, Debug)]
pub struct BusPublisher<B>(B);

impl<B: Bus> BusPublisher<B> {
    /// To this bus; give a handle (`Arc<B>`, `&B`, or a bus that is one).
    pub const fn new(bus: B) -> Self {
        Self(bus)
    }

    /// The bus.
    pub const fn bus(&self) -> &B {
        &self.0
    }
}

impl<B: Bus> AsyncMessagePublisher for BusPublisher<B> {
    type Error = B::Error;

    async fn publish(&self, message: MessageRef<'_>) -> Result<(), PublishError<B::Error>> {
        match message.kind {
            MessageKind::Command => self.0.send_message(message).await,
            MessageKind::Event => self.0.publish_message(message).await,
        }
    }
}

/// What a service wants to hear: names without repetition, in the order of their registration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionPlan {
    /// Commands to listen for.
    pub commands: alloc::vec::Vec<alloc::string::String>,
    /// Events to subscribe to.
    pub events: alloc::vec::Vec<alloc::string::String>,
}

impl fmt::Display for SubscriptionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} commands, {} events",
            self.commands.len(),
            self.events.len()
        )
    }
}

/// Lets a bus be attached to a service: implements [`DynPublisher`](crate::publisher::DynPublisher) for it
/// by way of [`BusPublisher`](crate::bus::BusPublisher). Its futures must be `Send`.
///
/// ```
/// use postbox::bus::Bus;
/// use postbox::message::MessageRef;
/// use postbox::publisher::PublishError;
///
/// struct Null;
/// impl Bus for Null {
///     type Error = core::convert::Infallible;
///     async fn send_message(&self, _: MessageRef<'_>) -> Result<(), PublishError<Self::Error>> {
///         Ok(())
///     }
///     async fn publish_message(&self, _: MessageRef<'_>) -> Result<(), PublishError<Self::Error>> {
///         Ok(())
///     }
/// }
/// postbox::dyn_bus!(Null);
/// ```
#[macro_export]
macro_rules! dyn_bus {
    ($bus:ty) => {
        impl $crate::publisher::DynPublisher for $bus {
            fn publish_dyn<'a>(
                &'a self,
                message: $crate::message::MessageRef<'a>,
            ) -> $crate::publisher::BoxFuture<
                'a,
                ::core::result::Result<(), $crate::publisher::PublishError<$crate::id::Excerpt>>,
            > {
                $crate::runtime::boxed(async move {
                    let publisher = $crate::bus::BusPublisher::new(self);
                    $crate::publisher::AsyncMessagePublisher::publish(&publisher, message)
                        .await
                        .map_err(|error| error.map(|error| $crate::id::Excerpt::display(&error)))
                })
            }

            fn publish_batch_dyn<'a, 'm: 'a>(
                &'a self,
                batch: &'a mut $crate::publisher::PublishBatch<'m>,
            ) -> $crate::publisher::BoxFuture<'a, ()> {
                $crate::runtime::boxed(async move {
                    let publisher = $crate::bus::BusPublisher::new(self);
                    $crate::publisher::AsyncMessagePublisher::publish_batch(&publisher, batch).await
                })
            }
        }
    };
}
