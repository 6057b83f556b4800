//! Publishers chosen at run time: what a service keeps, so that it needs no type parameter for its bus.

use core::fmt;

use super::{AsyncMessagePublisher, PublishBatch, PublishError};
use crate::id::Excerpt;
use crate::message::MessageRef;
pub use crate::runtime::BoxFuture;

/// The object-safe twin of [`AsyncMessagePublisher`]: one box a batch, not one a message.
///
/// It promises `Send`, because an object cannot leak it. There is no blanket impl, which would demand
/// `Send` of everyone: a publisher whose futures are `Send` takes part by one line,
/// [`dyn_publisher!`](crate::dyn_publisher).
pub trait DynPublisher: Send + Sync {
    /// [`AsyncMessagePublisher::publish`], boxed.
    fn publish_dyn<'a>(&'a self, message: MessageRef<'a>)
    -> BoxFuture<'a, Result<(), PublishError<Excerpt>>>;

    /// [`AsyncMessagePublisher::publish_batch`], boxed.
    fn publish_batch_dyn<'a, 'm: 'a>(&'a self, batch: &'a mut PublishBatch<'m>) -> BoxFuture<'a, ()>;
}

impl AsyncMessagePublisher for dyn DynPublisher + '_ {
    type Error = Excerpt;

    async fn publish(&self, message: MessageRef<'_>) -> Result<(), PublishError<Excerpt>> {
        self.publish_dyn(message).await
    }
    async fn publish_batch(&self, batch: &mut PublishBatch<'_>) {
        self.publish_batch_dyn(batch).await;
    }
}

impl fmt::Debug for dyn DynPublisher + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynPublisher").finish_non_exhaustive()
    }
}

/// Implements [`DynPublisher`](crate::publisher::DynPublisher) for a publisher whose futures are `Send`.
///
/// ```
/// use postbox::message::MessageRef;
/// use postbox::publisher::{AsyncMessagePublisher, DynPublisher, PublishError};
///
/// struct Sink;
/// impl AsyncMessagePublisher for Sink {
///     type Error = core::convert::Infallible;
///     async fn publish(&self, _: MessageRef<'_>) -> Result<(), PublishError<Self::Error>> {
///         Ok(())
///     }
/// }
/// postbox::dyn_publisher!(Sink);
/// let any: Box<dyn DynPublisher> = Box::new(Sink);
/// ```
#[macro_export]
macro_rules! dyn_publisher {
    ($publisher:ty) => {
        impl $crate::publisher::DynPublisher for $publisher {
            fn publish_dyn<'a>(
                &'a self,
                message: $crate::message::MessageRef<'a>,
            ) -> $crate::publisher::BoxFuture<
                'a,
                ::core::result::Result<(), $crate::publisher::PublishError<$crate::id::Excerpt>>,
            > {
                $crate::runtime::boxed(async move {
                    $crate::publisher::AsyncMessagePublisher::publish(self, message)
                        .await
                        .map_err(|error| error.map(|error| $crate::id::Excerpt::display(&error)))
                })
            }

            fn publish_batch_dyn<'a, 'm: 'a>(
                &'a self,
                batch: &'a mut $crate::publisher::PublishBatch<'m>,
            ) -> $crate::publisher::BoxFuture<'a, ()> {
                $crate::runtime::boxed($crate::publisher::AsyncMessagePublisher::publish_batch(
                    self, batch,
                ))
            }
        }
    };
}
