//! What a handler is, and how one is registered.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde_json::Value;

use super::{Context, HandlerError, Service};
use crate::message::MessageKind;
use crate::runtime::BoxFuture;

/// What a handler returns: the answer to whoever dispatched the command, or why there is none.
pub type HandlerResult = Result<Value, HandlerError>;

/// A named `async fn(&Context<'_, D>) -> HandlerResult` whose future is `Send`.
///
/// It is asked for `Send` because it is boxed; that is inferred from the function, which is concrete.
pub trait Handler<'a, D>: Send + Sync {
    /// What the function returns.
    type Future: Future<Output = HandlerResult> + Send + 'a;
    /// Calls it.
    fn call(&self, context: &'a Context<'a, D>) -> Self::Future;
}

impl<'a, D: 'a, F, R> Handler<'a, D> for F
where
    F: Fn(&'a Context<'a, D>) -> R + Send + Sync,
    R: Future<Output = HandlerResult> + Send + 'a,
{
    type Future = R;

    fn call(&self, context: &'a Context<'a, D>) -> R {
        self(context)
    }
}

/// A handler about to be registered: made by [`Service::command`] and its kin.
#[must_use = "nothing is registered until `handle` or `guarded`"]
pub struct HandlerBuilder<D> {
    service: Service<D>,
    kind: MessageKind,
    names: Vec<String>,
}

impl<D> fmt::Debug for HandlerBuilder<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerBuilder")
            .field("kind", &self.kind)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl<D> HandlerBuilder<D> {
    pub(super) const fn new(service: Service<D>, kind: MessageKind, names: Vec<String>) -> Self {
        Self { service, kind, names }
    }

    /// Registers `handler`.
    pub fn handle<H>(self, handler: H) -> Service<D>
    where
        H: for<'a> Handler<'a, D> + 'static,
        D: 'static,
    {
        self.register(None, handler)
    }

    /// Registers `handler` behind `guard`: a message it refuses is a permanent failure.
    pub fn guarded<H>(self, guard: fn(&Context<'_, D>) -> bool, handler: H) -> Service<D>
    where
        H: for<'a> Handler<'a, D> + 'static,
        D: 'static,
    {
        self.register(Some(guard), handler)
    }

    fn register<H>(mut self, guard: Option<Guard<D>>, handler: H) -> Service<D>
    where
        H: for<'a> Handler<'a, D> + 'static,
        D: 'static,
    {
        let handler: Arc<dyn Erased<D>> = Arc::new(handler);
        for name in self.names {
            self.service.register(
                self.kind,
                name,
                Registered {
                    guard,
                    handler: handler.clone(),
                },
            );
        }
        self.service
    }
}

type Guard<D> = fn(&Context<'_, D>) -> bool;

/// A handler behind a pointer.
trait Erased<D>: Send + Sync {
    fn call_boxed<'a>(&'a self, context: &'a Context<'a, D>) -> BoxFuture<'a, HandlerResult>;
}

impl<D, H: for<'a> Handler<'a, D>> Erased<D> for H {
    fn call_boxed<'a>(&'a self, context: &'a Context<'a, D>) -> BoxFuture<'a, HandlerResult> {
        Box::pin(self.call(context))
    }
}

/// A handler in its service.
pub(super) struct Registered<D> {
    guard: Option<Guard<D>>,
    handler: Arc<dyn Erased<D>>,
}

impl<D> fmt::Debug for Registered<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered")
            .field("guarded", &self.guard.is_some())
            .finish_non_exhaustive()
    }
}

impl<D> Registered<D> {
    /// Asks the guard, then runs the handler. With `std` a panic in either is an error of this message and
    /// of no other.
    pub(super) async fn call(&self, context: &Context<'_, D>) -> HandlerResult {
        let work = async {
            if self.guard.is_some_and(|guard| !guard(context)) {
                return Err(HandlerError::Refused {
                    name: context.message().name().into(),
                });
            }
            self.handler.call_boxed(context).await
        };
        #[cfg(feature = "std")]
        {
            use futures_util::FutureExt;
            let result = core::panic::AssertUnwindSafe(work).catch_unwind().await;
            result.unwrap_or_else(|_| {
                Err(HandlerError::Panicked {
                    name: context.message().name().into(),
                })
            })
        }
        #[cfg(not(feature = "std"))]
        work.await
    }
}
