//! The link of a task and its handle on the heap, for every adapter that can allocate.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use super::{Handle, Link, StopError};
use crate::runtime::BoxFuture;
use crate::sync::{Mutex, Stop};

/// Stops what [`supervise`] made a task of. See [`Handle`].
pub type BackstopHandle<T, R, E> = Handle<T, Owned<R, E>>;

/// The handle of a task to be, which stops it by `timer`; the shutdown that the backstop (or a whole service)
/// is to run until; and what makes the task of it. An adapter's `spawn_backstop` is this and a spawn.
///
/// ```
/// use std::{convert::Infallible, time::Duration};
/// use postbox::{handle::supervise, testing::{VirtualClock, run}};
///
/// let clock = VirtualClock::new();
/// let (handle, shutdown, supervised) = supervise(clock.clone());
/// let task = supervised.run(async move {
///     shutdown.await;
///     Ok::<_, Infallible>("stopped")
/// });
/// let stopped = run(&clock, async {
///     // An executor would run the task.
///     futures_util::future::join(handle.stop(Duration::from_secs(5)), task).await.0
/// })?;
/// assert_eq!(stopped, Ok("stopped"));
/// # Ok::<(), postbox::testing::Stalled>(())
/// ```
pub fn supervise<T, R, E>(timer: T) -> (BackstopHandle<T, R, E>, Shutdown, Supervised<R, E>) {
    let owned = Owned(Arc::new(Parts {
        stop: Stop::new(),
        abort: Stop::new(),
        ended: Stop::new(),
        result: Mutex::new(None),
    }));
    let shutdown = Shutdown::new(owned.0.stop.clone());
    let supervised = Supervised(Some(Owned(owned.0.clone())));
    (Handle::new(timer, owned), shutdown, supervised)
}

/// A link on the heap: see [`supervise`].
pub struct Owned<R, E>(Arc<Parts<R, E>>);

struct Parts<R, E> {
    stop: Stop,
    abort: Stop,
    ended: Stop,
    result: Mutex<Option<Result<R, StopError<E>>>>,
}

impl<R, E> Link for Owned<R, E> {
    type Report = R;
    type Error = E;

    fn stop(&self) {
        self.0.stop.set();
    }
    fn abort(&self) {
        self.0.abort.set();
    }
    async fn aborted(&self) {
        self.0.abort.wait().await;
    }
    fn end(&self, result: Result<R, StopError<E>>) {
        self.0.result.with(|kept| *kept = Some(result));
        self.0.ended.set();
    }
    fn has_ended(&self) -> bool {
        self.0.ended.is_set()
    }
    async fn ended(&self) -> Result<R, StopError<E>> {
        self.0.ended.wait().await;
        let result = self.0.result.with(Option::take);
        result.unwrap_or(Err(StopError::RuntimeEnded))
    }
}

impl<R, E> fmt::Debug for Owned<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owned").finish_non_exhaustive()
    }
}

/// Makes the task that a [`BackstopHandle`] stops: see [`supervise`]. Dropped, it counts as a task that was dropped.
pub struct Supervised<R, E>(Option<Owned<R, E>>);

impl<R, E> Supervised<R, E> {
    /// The task: [`run`](super::run) to the end, or to the handle's deadline. It is `Send` if `running` is.
    pub async fn run(mut self, running: impl Future<Output = Result<R, E>>) {
        if let Some(link) = self.0.take() {
            super::run(&link, running).await;
        }
    }
}

impl<R, E> Drop for Supervised<R, E> {
    fn drop(&mut self) {
        if let Some(link) = &self.0 {
            link.end(Err(StopError::RuntimeEnded));
        }
    }
}

impl<R, E> fmt::Debug for Supervised<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervised").finish_non_exhaustive()
    }
}

/// Resolves when its [`BackstopHandle`] is stopped or dropped: see [`supervise`].
pub struct Shutdown(Option<BoxFuture<'static, ()>>);

impl Shutdown {
    fn new(stop: Stop) -> Self {
        Self(Some(Box::pin(async move { stop.wait().await })))
    }
}

impl Future for Shutdown {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(stopped) = &mut self.0 {
            ready!(stopped.as_mut().poll(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shutdown").field(&self.0.is_none()).finish()
    }
}
