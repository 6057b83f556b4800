//! A backstop on a task of its own: how it is told to stop, and what came of it. Nothing here spawns, so that
//! adapters need only hand the task of `supervise` to their executor.

use core::time::Duration;

use crate::id::Excerpt;

#[cfg(feature = "alloc")]
pub use owned::{BackstopHandle, Shutdown, Supervised, supervise};

/// A backstop did not stop gracefully.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopError<E> {
    /// It ended by itself, with its own error.
    #[error(transparent)]
    Failed(E),
    /// It was still busy when the deadline passed, and was aborted.
    #[error("the backstop was still busy after {deadline:?} and was aborted")]
    DeadlineExceeded {
        /// How long it had.
        deadline: Duration,
    },
    /// It panicked: the publisher, the store or the observer did.
    #[error("the backstop panicked: {message}")]
    Panicked {
        /// What the panic said.
        message: Excerpt,
    },
    /// Its executor dropped it before it ended.
    #[error("the runtime of the backstop ended before it")]
    RuntimeEnded,
}

#[cfg(feature = "alloc")]
mod owned {
    use alloc::boxed::Box;
    use alloc::sync::Arc;
    use core::fmt;
    use core::pin::Pin;
    use core::task::{Context, Poll, ready};
    use core::time::Duration;

    use super::StopError;
    use crate::join::{Either, race};
    use crate::runtime::{BoxFuture, Timer};
    use crate::sync::{Mutex, Stop};

    /// The handle of a task to be, which stops it by `timer`; the shutdown that the backstop (or a whole service)
    /// is to run until; and what makes the task of it. Every adapter's `spawn_backstop` is this and a spawn.
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
        let shared = Arc::new(Shared {
            stop: Stop::new(),
            abort: Stop::new(),
            ended: Stop::new(),
            result: Mutex::new(None),
        });
        let shutdown = Shutdown::new(shared.stop.clone());
        let supervised = Supervised(shared.clone());
        (BackstopHandle { timer, shared }, shutdown, supervised)
    }

    /// Makes the task that a [`BackstopHandle`] stops. Dropped, it counts as a task that was dropped.
    pub struct Supervised<R, E>(Arc<Shared<R, E>>);

    impl<R, E> Supervised<R, E> {
        /// The task: runs to the end, or to the handle's deadline. It is `Send` if `running` is.
        ///
        /// # Cancel safety
        /// Dropping the task drops what runs in it: its claims lapse, and the next backstop takes them over.
        /// The handle then says [`StopError::RuntimeEnded`].
        pub async fn run(self, running: impl Future<Output = Result<R, E>>) {
            // `self` is dropped last: whoever sees the end sees the parts of the backstop freed.
            let shared = &self.0;
            if let Either::B(result) = race(shared.abort.wait(), survive(running)).await {
                shared.result.with(|kept| *kept = Some(result));
            }
        }
    }

    /// Tells the handle that the task is gone, however it went.
    impl<R, E> Drop for Supervised<R, E> {
        fn drop(&mut self) {
            self.0.ended.set();
        }
    }

    impl<R, E> fmt::Debug for Supervised<R, E> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Supervised").finish_non_exhaustive()
        }
    }

    /// Resolves when its [`BackstopHandle`] is stopped or dropped.
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

    /// Stops what [`supervise`] made a task of.
    ///
    /// # Drop
    /// Dropping it is a graceful stop that nobody waits for: the task finishes what is in hand, settles, gives
    /// back the rest, and ends. It never runs on unowned, so keep the handle as long as the backstop shall run.
    /// The same holds for a [`stop`](Self::stop) whose future is dropped.
    #[must_use = "dropping the handle stops the backstop"]
    pub struct BackstopHandle<T, R, E> {
        timer: T,
        shared: Arc<Shared<R, E>>,
    }

    impl<T, R, E> BackstopHandle<T, R, E> {
        /// Whether it has ended already, which it does unasked only if it was refused, panicked or lost its
        /// executor: [`stop`](Self::stop) tells.
        pub fn is_finished(&self) -> bool {
            self.shared.ended.is_set()
        }

        /// Stops it and returns its report: it takes nothing new, finishes the publishes under way, settles,
        /// and gives back the rest. After `deadline` it is aborted instead, at its next await.
        ///
        /// # Errors
        /// [`StopError::DeadlineExceeded`] when it was aborted: no message is lost, the claims it held lapse
        /// and what it was publishing may be published again. Else whatever had ended it before.
        pub async fn stop(self, deadline: Duration) -> Result<R, StopError<E>>
        where
            T: Timer,
        {
            self.shared.stop.set();
            let until = self.timer.now() + deadline;
            match race(self.shared.ended.wait(), self.timer.sleep_until(until)).await {
                Either::A(()) => {
                    let result = self.shared.result.with(Option::take);
                    result.unwrap_or(Err(StopError::RuntimeEnded))
                }
                Either::B(()) => {
                    self.shared.abort.set();
                    Err(StopError::DeadlineExceeded { deadline })
                }
            }
        }
    }

    impl<T, R, E> Drop for BackstopHandle<T, R, E> {
        fn drop(&mut self) {
            self.shared.stop.set();
        }
    }

    impl<T, R, E> fmt::Debug for BackstopHandle<T, R, E> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("BackstopHandle")
                .field("finished", &self.is_finished())
                .finish_non_exhaustive()
        }
    }

    /// What the task and its handle share.
    struct Shared<R, E> {
        stop: Stop,
        abort: Stop,
        ended: Stop,
        result: Mutex<Option<Result<R, StopError<E>>>>,
    }

    /// Runs to the end; with `std` a panic inside is an error.
    async fn survive<R, E>(running: impl Future<Output = Result<R, E>>) -> Result<R, StopError<E>> {
        #[cfg(feature = "std")]
        {
            use futures_util::FutureExt;
            let caught = core::panic::AssertUnwindSafe(running).catch_unwind().await;
            match caught {
                Ok(result) => result.map_err(StopError::Failed),
                Err(panic) => Err(StopError::Panicked {
                    message: crate::id::Excerpt::new(said(&*panic)),
                }),
            }
        }
        #[cfg(not(feature = "std"))]
        running.await.map_err(StopError::Failed)
    }

    #[cfg(feature = "std")]
    fn said(panic: &(dyn core::any::Any + Send)) -> &str {
        let text = panic
            .downcast_ref::<alloc::string::String>()
            .map(alloc::string::String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message")
    }
}
