//! A backstop in an embassy task, and the handle that stops it. What core's handle does, without an allocator: what
//! the two share lies in a `static`.

use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use core::time::Duration;

use embassy_executor::{SpawnToken, Spawner};
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_sync::signal::Signal;
use postbox::handle::StopError;
use postbox::join::{Either, race};
use postbox::runtime::Timer;
use postbox::time::Clock;

use crate::EmbassyTimer;

/// What a backstop's task and its handle share: one for each task that can run at a time, in a `static`.
///
/// The mutex is the firmware's choice: `CriticalSectionRawMutex` where tasks and interrupts share it,
/// `ThreadModeRawMutex` where tasks of one executor do. See the [crate] for a program.
pub struct BackstopTask<M: RawMutex, R, E> {
    stop: Signal<M, ()>,
    abort: Signal<M, ()>,
    ended: Signal<M, Option<Result<R, E>>>,
}

impl<M: RawMutex, R, E> BackstopTask<M, R, E> {
    /// For a task that has not been spawned.
    pub const fn new() -> Self {
        Self {
            stop: Signal::new(),
            abort: Signal::new(),
            ended: Signal::new(),
        }
    }

    /// Runs a backstop (or anything else that ends at a shutdown): the body of the task.
    ///
    /// # Cancel safety
    /// Dropping it drops what runs in it: its claims lapse, and the next backstop takes them over. The handle then
    /// says [`StopError::RuntimeEnded`].
    pub async fn run(&self, work: impl AsyncFnOnce(Shutdown<'_, M>) -> Result<R, E>) {
        let ending = Ending(&self.ended);
        let shutdown = Shutdown {
            stop: &self.stop,
            stopped: false,
        };
        if let Either::B(result) = race(self.abort.wait(), work(shutdown)).await {
            core::mem::forget(ending);
            self.ended.signal(Some(result));
        }
    }
}

impl<M: RawMutex, R, E> Default for BackstopTask<M, R, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: RawMutex, R, E> core::fmt::Debug for BackstopTask<M, R, E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("BackstopTask").finish_non_exhaustive()
    }
}

/// Resolves when the [`BackstopHandle`] is stopped or dropped.
pub struct Shutdown<'a, M: RawMutex> {
    stop: &'a Signal<M, ()>,
    stopped: bool,
}

impl<M: RawMutex> Future for Shutdown<'_, M> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.stopped {
            ready!(pin!(self.stop.wait()).poll(cx));
            self.stopped = true;
        }
        Poll::Ready(())
    }
}

impl<M: RawMutex> core::fmt::Debug for Shutdown<'_, M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Shutdown").finish_non_exhaustive()
    }
}

/// Starts the task whose body is `task.run(..)`, and hands out the handle that stops it.
///
/// One [`BackstopTask`] serves one task at a time; it may be spawned again when it has ended.
pub fn spawn_backstop<M: RawMutex, R, E, S>(
    spawner: Spawner,
    task: &'static BackstopTask<M, R, E>,
    token: SpawnToken<S>,
) -> BackstopHandle<M, R, E> {
    // What an earlier task left.
    task.stop.reset();
    task.abort.reset();
    task.ended.reset();
    spawner.spawn(token);
    BackstopHandle { task }
}

/// Stops what [`spawn_backstop`] started.
///
/// # Drop
/// Dropping it is a graceful stop that nobody waits for: the task finishes what is in hand, settles, gives back
/// the rest, and ends. The same holds for a [`stop`](Self::stop) whose future is dropped. A device that never
/// stops keeps it in `main`, or forgets it (`core::mem::forget`).
#[must_use = "dropping the handle stops the backstop"]
pub struct BackstopHandle<M: RawMutex + 'static, R: 'static, E: 'static> {
    task: &'static BackstopTask<M, R, E>,
}

impl<M: RawMutex, R, E> BackstopHandle<M, R, E> {
    /// Whether it has ended already, which it does unasked only if it was refused: [`stop`](Self::stop) tells.
    pub fn is_finished(&self) -> bool {
        self.task.ended.signaled()
    }

    /// Stops it and returns its report: it takes nothing new, finishes the publishes under way, settles, and
    /// gives back the rest. After `deadline` it is aborted instead, at its next await.
    ///
    /// # Errors
    /// [`StopError::DeadlineExceeded`] when it was aborted: no message is lost, the claims it held lapse and what
    /// it was publishing may be published again. Else whatever had ended it before.
    pub async fn stop(self, deadline: Duration) -> Result<R, StopError<E>> {
        self.task.stop.signal(());
        let until = EmbassyTimer.now() + deadline;
        match race(self.task.ended.wait(), EmbassyTimer.sleep_until(until)).await {
            Either::A(Some(result)) => result.map_err(StopError::Failed),
            Either::A(None) => Err(StopError::RuntimeEnded),
            Either::B(()) => {
                self.task.abort.signal(());
                Err(StopError::DeadlineExceeded { deadline })
            }
        }
    }
}

impl<M: RawMutex, R, E> Drop for BackstopHandle<M, R, E> {
    fn drop(&mut self) {
        self.task.stop.signal(());
    }
}

impl<M: RawMutex, R, E> core::fmt::Debug for BackstopHandle<M, R, E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("BackstopHandle")
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// Tells the handle that the task was dropped before its end.
struct Ending<'a, M: RawMutex, R, E>(&'a Signal<M, Option<Result<R, E>>>);

impl<M: RawMutex, R, E> Drop for Ending<'_, M, R, E> {
    fn drop(&mut self) {
        self.0.signal(None);
    }
}
