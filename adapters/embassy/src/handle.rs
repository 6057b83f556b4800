//! A backstop in an embassy task. How it stops is core's: see [`postbox::handle`]; here is what the two share, in a
//! `static` instead of on a heap.

use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};

use embassy_executor::{SpawnToken, Spawner};
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_sync::signal::Signal;
use postbox::handle::{Handle, Link, StopError};

use crate::EmbassyTimer;

/// Stops what [`spawn_backstop`] started. Dropping it is a graceful stop that nobody waits for: see [`Handle`].
pub type BackstopHandle<M, R, E> = Handle<EmbassyTimer, &'static BackstopTask<M, R, E>>;

/// What a backstop's task and its handle share: one for each task that can run at a time, in a `static`.
///
/// The mutex is the firmware's choice: `CriticalSectionRawMutex` where tasks and interrupts share it,
/// `ThreadModeRawMutex` where tasks of one executor do. See the [crate] for a program.
pub struct BackstopTask<M: RawMutex, R, E> {
    stop: Signal<M, ()>,
    abort: Signal<M, ()>,
    ended: Signal<M, Result<R, StopError<E>>>,
}

impl<M: RawMutex, R, E> BackstopTask<M, R, E> {
    /// For a task that has not been spawned: see the [crate].
    pub const fn new() -> Self {
        Self {
            stop: Signal::new(),
            abort: Signal::new(),
            ended: Signal::new(),
        }
    }

    /// Runs a backstop (or anything else that ends at a shutdown): the body of the task. See the [crate].
    ///
    /// # Cancel safety
    /// As [`postbox::handle::run`].
    pub async fn run(&self, work: impl AsyncFnOnce(Shutdown<'_, M>) -> Result<R, E>) {
        let shutdown = Shutdown {
            stop: &self.stop,
            stopped: false,
        };
        postbox::handle::run(self, work(shutdown)).await;
    }
}

impl<M: RawMutex, R, E> Default for BackstopTask<M, R, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: RawMutex, R, E> Link for BackstopTask<M, R, E> {
    type Report = R;
    type Error = E;

    fn stop(&self) {
        self.stop.signal(());
    }
    fn abort(&self) {
        self.abort.signal(());
    }
    async fn aborted(&self) {
        self.abort.wait().await;
    }
    fn end(&self, result: Result<R, StopError<E>>) {
        self.ended.signal(result);
    }
    fn has_ended(&self) -> bool {
        self.ended.signaled()
    }
    async fn ended(&self) -> Result<R, StopError<E>> {
        self.ended.wait().await
    }
}

impl<M: RawMutex, R, E> core::fmt::Debug for BackstopTask<M, R, E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("BackstopTask").finish_non_exhaustive()
    }
}

/// Resolves when the [`BackstopHandle`] is stopped or dropped: what [`BackstopTask::run`] hands to its work.
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

/// Starts the task whose body is `task.run(..)`, and hands out the handle that stops it: see the [crate].
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
    Handle::new(EmbassyTimer, task)
}
