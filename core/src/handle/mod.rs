//! A backstop on a task of its own: how it is told to stop, and what came of it. Nothing here spawns, so that
//! adapters need only hand a task to their executor.

#[cfg(feature = "alloc")]
mod owned;

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use pin_project_lite::pin_project;

use crate::id::Excerpt;
use crate::join::{Either, race};
use crate::runtime::Timer;

#[cfg(feature = "alloc")]
pub use owned::{BackstopHandle, Owned, Shutdown, Supervised, supervise};

/// A backstop did not stop gracefully: what [`Handle::stop`] returns.
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

/// What a task and its handle share: on the heap ([`supervise`]), or in a `static` of a device. Three signals, each
/// of which stays set until the next task.
pub trait Link {
    /// What the task reports at its end.
    type Report;
    /// What may end it before it is asked to.
    type Error;

    /// Asks the task to end gracefully.
    fn stop(&self);
    /// Asks for the task to be dropped.
    fn abort(&self);
    /// Resolves when that was asked.
    async fn aborted(&self);
    /// Says what became of the task.
    fn end(&self, result: Result<Self::Report, StopError<Self::Error>>);
    /// Whether that was said.
    fn has_ended(&self) -> bool;
    /// Resolves when that was said; a task ends once, and one waits for it.
    async fn ended(&self) -> Result<Self::Report, StopError<Self::Error>>;
}

/// The body of a task: runs to the end, or to its handle's deadline, and tells the handle. With `std` a panic
/// inside is an error.
///
/// # Cancel safety
/// Dropping it drops what runs in it: its claims lapse, and the next backstop takes them over. The handle then
/// says [`StopError::RuntimeEnded`]. An example: [`supervise`].
pub fn run<L: Link>(
    link: &L,
    running: impl Future<Output = Result<L::Report, L::Error>>,
) -> impl Future<Output = ()> {
    // No `async fn`: each would keep a copy of what it is given, in the memory of the task.
    Running {
        race: race(link.aborted(), survive(running)),
        ending: Ending { link, result: None },
    }
}

pin_project! {
    struct Running<'a, L: Link, F> {
        #[pin]
        race: F,
        // Dropped last: whoever sees the end sees the parts of the backstop freed.
        ending: Ending<'a, L>,
    }
}

impl<L: Link, F: Future<Output = Either<(), Survived<L>>>> Future for Running<'_, L, F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if let Either::B(survived) = ready!(this.race.poll(cx)) {
            this.ending.result = Some(outcome(survived));
        }
        Poll::Ready(())
    }
}

/// Tells the handle that the task is gone, however it went.
struct Ending<'a, L: Link> {
    link: &'a L,
    result: Option<Result<L::Report, StopError<L::Error>>>,
}

impl<L: Link> Drop for Ending<'_, L> {
    fn drop(&mut self) {
        self.link
            .end(self.result.take().unwrap_or(Err(StopError::RuntimeEnded)));
    }
}

/// Stops the task at the other end of a [`Link`]: see [`supervise`]. Adapters give it its timer and a shorter name.
///
/// # Drop
/// Dropping it is a graceful stop that nobody waits for: the task finishes what is in hand, settles, gives back
/// the rest, and ends. It never runs on unowned, so keep the handle as long as the backstop shall run (a device
/// that never stops keeps it in `main`, or forgets it). The same holds for a [`stop`](Self::stop) whose future is
/// dropped.
#[must_use = "dropping the handle stops the backstop"]
pub struct Handle<T, L: Link> {
    timer: T,
    link: L,
}

impl<T, L: Link> Handle<T, L> {
    /// The handle of the task that [`run`]s with this link; a stop has its deadline by `timer`.
    pub const fn new(timer: T, link: L) -> Self {
        Self { timer, link }
    }

    /// Whether it has ended already, which it does unasked only if it was refused, panicked or lost its
    /// executor: [`stop`](Self::stop) tells.
    pub fn is_finished(&self) -> bool {
        self.link.has_ended()
    }

    /// Stops it and returns its report: it takes nothing new, finishes the publishes under way, settles,
    /// and gives back the rest. After `deadline` it is aborted instead, at its next await.
    ///
    /// # Errors
    /// [`StopError::DeadlineExceeded`] when it was aborted: no message is lost, the claims it held lapse
    /// and what it was publishing may be published again. Else whatever had ended it before.
    pub async fn stop(self, deadline: Duration) -> Result<L::Report, StopError<L::Error>>
    where
        T: Timer,
    {
        self.link.stop();
        let until = self.timer.now() + deadline;
        match race(self.link.ended(), self.timer.sleep_until(until)).await {
            Either::A(result) => result,
            Either::B(()) => {
                self.link.abort();
                Err(StopError::DeadlineExceeded { deadline })
            }
        }
    }
}

impl<T, L: Link> Drop for Handle<T, L> {
    fn drop(&mut self) {
        self.link.stop();
    }
}

impl<T, L: Link> fmt::Debug for Handle<T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackstopHandle")
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// In a `static`, or borrowed for a test.
impl<L: Link> Link for &L {
    type Report = L::Report;
    type Error = L::Error;

    fn stop(&self) {
        (**self).stop();
    }
    fn abort(&self) {
        (**self).abort();
    }
    async fn aborted(&self) {
        (**self).aborted().await;
    }
    fn end(&self, result: Result<L::Report, StopError<L::Error>>) {
        (**self).end(result);
    }
    fn has_ended(&self) -> bool {
        (**self).has_ended()
    }
    async fn ended(&self) -> Result<L::Report, StopError<L::Error>> {
        (**self).ended().await
    }
}

#[cfg(feature = "std")]
use with_std::{Survived, outcome, survive};
#[cfg(not(feature = "std"))]
use without_std::{Survived, outcome, survive};

#[cfg(feature = "std")]
mod with_std {
    //! A panic inside is an error.

    use alloc::boxed::Box;
    use alloc::string::String;
    use core::any::Any;
    use core::panic::AssertUnwindSafe;

    use futures_util::FutureExt;

    use super::{Link, StopError};
    use crate::id::Excerpt;

    pub(super) type Survived<L> =
        Result<Result<<L as Link>::Report, <L as Link>::Error>, Box<dyn Any + Send>>;

    pub(super) fn survive<F: Future>(running: F) -> futures_util::future::CatchUnwind<AssertUnwindSafe<F>> {
        AssertUnwindSafe(running).catch_unwind()
    }

    pub(super) fn outcome<R, E>(
        survived: Result<Result<R, E>, Box<dyn Any + Send>>,
    ) -> Result<R, StopError<E>> {
        match survived {
            Ok(result) => result.map_err(StopError::Failed),
            Err(panic) => Err(StopError::Panicked {
                message: Excerpt::new(said(&*panic)),
            }),
        }
    }

    fn said(panic: &(dyn Any + Send)) -> &str {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message")
    }
}

#[cfg(not(feature = "std"))]
mod without_std {
    use super::{Link, StopError};

    pub(super) type Survived<L> = Result<<L as Link>::Report, <L as Link>::Error>;

    pub(super) fn survive<F: Future>(running: F) -> F {
        running
    }

    pub(super) fn outcome<R, E>(survived: Result<R, E>) -> Result<R, StopError<E>> {
        survived.map_err(StopError::Failed)
    }
}
