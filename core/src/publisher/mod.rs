//! Where messages go: the seam to a broker, and what it may say of each message.

mod batch;
#[cfg(feature = "alloc")]
mod dynamic;
mod survive;

use core::fmt;
use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;

pub use batch::{Control, FailureKind, PublishBatch, PublishOutcome, Ticket};
#[cfg(feature = "alloc")]
pub use dynamic::{BoxFuture, DynPublisher};

use crate::join::Window;
use crate::message::MessageRef;
pub(crate) use survive::Survive;
use survive::Tagged;

/// How many publishes the default [`publish_batch`](AsyncMessagePublisher::publish_batch) has under way.
pub const WINDOW: usize = 8;

/// What is said of a message whose publish panicked.
pub(crate) const PANICKED: &str = "the publisher panicked";

/// Hands messages to a broker.
///
/// # Delivery
/// `Ok` means that the broker has taken responsibility: an acknowledgement, not a write to a socket.
/// Every retry of a message carries the same id, so a broker that removes duplicates may.
///
/// # Cancel safety
/// A publish whose future is dropped may have gone out. The dispatcher then keeps or retries the claim;
/// the message comes again with the same id.
pub trait AsyncMessagePublisher {
    /// The broker client's error.
    type Error: fmt::Display;

    /// Publishes one message, borrowed: nothing is copied on the way here.
    async fn publish(&self, message: MessageRef<'_>) -> Result<(), PublishError<Self::Error>>;

    /// Publishes a batch, with a verdict a message. No two messages of a batch share an ordering key, so
    /// they may be under way together. The default keeps a window of [`WINDOW`] publishes; override it to
    /// pipeline acknowledgements.
    ///
    /// Take messages with [`PublishBatch::start`] until it gives none, and
    /// [`report`](PublishBatch::report) each. What was started and not reported when the future is dropped
    /// counts as unknown, what was not started is released.
    async fn publish_batch(&self, batch: &mut PublishBatch<'_>) {
        let mut window = pin!(Window::<_, WINDOW>::new());
        poll_fn(|cx| {
            while let Poll::Ready(ended) = window.as_mut().poll_next(cx) {
                let Some((ticket, result)) = ended else { break };
                report(batch, ticket, result);
            }
            // A publish that is ready at once leaves its place to the next.
            while window.has_room() {
                let Some((ticket, message)) = batch.begin() else {
                    break;
                };
                let publishing = Tagged::new(ticket, self.publish(*message));
                if let Poll::Ready((ticket, result)) = window.as_mut().push_poll(publishing, cx) {
                    report(batch, ticket, result);
                }
            }
            if window.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

/// Records what came of a publish, also that it panicked.
#[inline]
fn report<E: fmt::Display>(
    batch: &mut PublishBatch<'_>,
    ticket: Ticket,
    result: Option<Result<(), PublishError<E>>>,
) {
    match result {
        Some(result) => batch.report(ticket, result),
        None => batch.report(ticket, Err(PublishError::Retryable(PANICKED))),
    }
}

impl<P: AsyncMessagePublisher + ?Sized> AsyncMessagePublisher for &P {
    type Error = P::Error;

    async fn publish(&self, message: MessageRef<'_>) -> Result<(), PublishError<P::Error>> {
        (**self).publish(message).await
    }
    async fn publish_batch(&self, batch: &mut PublishBatch<'_>) {
        (**self).publish_batch(batch).await;
    }
}

#[cfg(feature = "alloc")]
impl<P: AsyncMessagePublisher + ?Sized> AsyncMessagePublisher for alloc::sync::Arc<P> {
    type Error = P::Error;

    async fn publish(&self, message: MessageRef<'_>) -> Result<(), PublishError<P::Error>> {
        (**self).publish(message).await
    }
    async fn publish_batch(&self, batch: &mut PublishBatch<'_>) {
        (**self).publish_batch(batch).await;
    }
}

/// Why a message was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError<E> {
    /// This message failed and may succeed later. Counted against the message.
    #[error("{0}")]
    Retryable(E),
    /// The broker will never take this message: too large, unroutable, forbidden. It is dead at once.
    #[error("{0}")]
    Permanent(E),
    /// The broker takes nothing at the moment. Not counted against the message.
    #[error("{0}")]
    Unavailable(E),
}

impl<E> PublishError<E> {
    /// What kind of failure it is.
    pub const fn kind(&self) -> FailureKind {
        match self {
            Self::Retryable(_) => FailureKind::Retryable,
            Self::Permanent(_) => FailureKind::Permanent,
            Self::Unavailable(_) => FailureKind::Unavailable,
        }
    }

    /// The error inside.
    pub const fn error(&self) -> &E {
        match self {
            Self::Retryable(error) | Self::Permanent(error) | Self::Unavailable(error) => error,
        }
    }

    /// The same kind of failure with another error inside.
    pub fn map<O>(self, map: impl FnOnce(E) -> O) -> PublishError<O> {
        match self {
            Self::Retryable(error) => PublishError::Retryable(map(error)),
            Self::Permanent(error) => PublishError::Permanent(map(error)),
            Self::Unavailable(error) => PublishError::Unavailable(map(error)),
        }
    }
}
