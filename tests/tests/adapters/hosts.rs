//! The executors, each as the suite sees it: how to run a test on it, and how to spawn a backstop there.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use embassy_executor::{Executor, Spawner};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_time::MockDriver;
use postbox::backstop::BackstopReport;
use postbox::handle::{BackstopHandle, StopError};
use postbox::id::Invalid;
use postbox::join::yield_now;
use postbox::runtime::{BoxFuture, DynTimer, Timer};
use postbox::sync::Stop;
use postbox_async_std::AsyncStdTimer;
use postbox_embassy::{BackstopTask, EmbassyTimer};
use postbox_smol::SmolTimer;
use postbox_tests::conformance::timer::TimerHarness;
use postbox_tokio::TokioTimer;

/// A backstop, ready to be run until a shutdown.
pub type Job = Box<dyn for<'a> FnOnce(BoxFuture<'a, ()>) -> BoxFuture<'a, Ended> + Send>;
pub type Ended = Result<BackstopReport, Invalid>;

pub trait Host: 'static {
    type Timer: Timer + DynTimer + Copy + Send + Sync + 'static;
    const TIMER: Self::Timer;
    /// Where time is virtual: how much later than asked its sleeps may end. `None` where it is real.
    const ROUNDING: Option<Duration> = None;
    type Handle: Handle;

    /// Makes a test on the executor, and runs it to its end.
    fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce() -> F + Send + 'static);

    /// Starts a backstop, from within a test.
    fn spawn(job: Job) -> Self::Handle;
}

pub trait Handle {
    fn is_finished(&self) -> bool;
    async fn stop(self, deadline: Duration) -> Result<BackstopReport, StopError<Invalid>>;
}

impl<T: Timer> Handle for BackstopHandle<T, BackstopReport, Invalid> {
    fn is_finished(&self) -> bool {
        self.is_finished()
    }
    async fn stop(self, deadline: Duration) -> Result<BackstopReport, StopError<Invalid>> {
        self.stop(deadline).await
    }
}

/// On one thread, in paused time.
pub struct Tokio(tokio::runtime::Runtime);

impl Default for Tokio {
    fn default() -> Self {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        Self(runtime.enable_time().start_paused(true).build().unwrap())
    }
}

impl Host for Tokio {
    type Timer = TokioTimer;
    const TIMER: TokioTimer = TokioTimer;
    // Tokio counts in milliseconds; so does whoever waits for the outcome.
    const ROUNDING: Option<Duration> = Some(Duration::from_millis(3));
    type Handle = postbox_tokio::BackstopHandle<BackstopReport, Invalid>;

    fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce() -> F + Send + 'static) {
        Self::default().0.block_on(test());
    }
    fn spawn(job: Job) -> Self::Handle {
        postbox_tokio::spawn_backstop(|shutdown| job(Box::pin(shutdown)))
    }
}

#[derive(Default)]
pub struct Smol;

impl Host for Smol {
    type Timer = SmolTimer;
    const TIMER: SmolTimer = SmolTimer;
    type Handle = postbox_smol::BackstopHandle<BackstopReport, Invalid>;

    fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce() -> F + Send + 'static) {
        smol::block_on(test());
    }
    fn spawn(job: Job) -> Self::Handle {
        postbox_smol::spawn_backstop(|shutdown| job(Box::pin(shutdown)))
    }
}

#[derive(Default)]
pub struct AsyncStd;

impl Host for AsyncStd {
    type Timer = AsyncStdTimer;
    const TIMER: AsyncStdTimer = AsyncStdTimer;
    type Handle = postbox_async_std::BackstopHandle<BackstopReport, Invalid>;

    fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce() -> F + Send + 'static) {
        async_std::task::block_on(test());
    }
    fn spawn(job: Job) -> Self::Handle {
        postbox_async_std::spawn_backstop(|shutdown| job(Box::pin(shutdown)))
    }
}

/// Embassy's own executor on a thread of its own, which sleeps for ever when the test is over: it cannot end. Its time
/// is that of the mock driver.
#[derive(Default)]
pub struct Embassy;

/// The mock driver is one for the process: so is whoever moves it on.
static TIME: Mutex<()> = Mutex::new(());
/// By how much.
const TICK: embassy_time::Duration = embassy_time::Duration::from_micros(250);
/// How often all that is ready has run before time goes on: longer than any chain of wakes in the suite.
const TURNS: usize = 64;

type EmbassyTask = BackstopTask<CriticalSectionRawMutex, BackstopReport, Invalid>;

thread_local! {
    static SPAWNER: Cell<Option<Spawner>> = const { Cell::new(None) };
}

impl Host for Embassy {
    type Timer = EmbassyTimer;
    const TIMER: EmbassyTimer = EmbassyTimer;
    // Time goes on by ticks; whoever waits for the outcome looks every millisecond.
    const ROUNDING: Option<Duration> = Some(Duration::from_millis(3));
    type Handle = postbox_embassy::BackstopHandle<CriticalSectionRawMutex, BackstopReport, Invalid>;

    fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce() -> F + Send + 'static) {
        let _alone = TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let (done, ended) = mpsc::channel();
        let over = Stop::new();
        thread::spawn(move || {
            let executor: &'static mut Executor = Box::leak(Box::new(Executor::new()));
            executor.run(|spawner| {
                SPAWNER.set(Some(spawner));
                let (test, ends) = (test(), over.clone());
                let test = Box::pin(async move {
                    test.await;
                    ends.set();
                    done.send(()).unwrap();
                });
                spawner.spawn(run_test(test).unwrap());
                spawner.spawn(run_time(over).unwrap());
            });
        });
        ended.recv().expect("the test fails above");
    }

    fn spawn(job: Job) -> Self::Handle {
        let task: &'static EmbassyTask = Box::leak(Box::default());
        let spawner = SPAWNER.get().expect("within a test");
        postbox_embassy::spawn_backstop(spawner, task, run_backstop(task, job).unwrap())
    }
}

// One of each for every test of the suite, since they may run in one process.
#[embassy_executor::task(pool_size = 32)]
async fn run_test(test: std::pin::Pin<Box<dyn Future<Output = ()>>>) {
    test.await;
}

/// Lets time go on when all others wait.
#[embassy_executor::task(pool_size = 32)]
async fn run_time(over: Stop) {
    loop {
        for _ in 0..TURNS {
            yield_now().await;
        }
        if over.is_set() {
            return;
        }
        MockDriver::get().advance(TICK);
    }
}

/// The same without an executor: time goes on while the future waits.
fn in_mock_time<F: Future>(future: F) -> F::Output {
    let _alone = TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut future = std::pin::pin!(future);
    loop {
        for _ in 0..TURNS {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return output;
            }
        }
        MockDriver::get().advance(TICK);
    }
}

#[embassy_executor::task(pool_size = 32)]
async fn run_backstop(task: &'static EmbassyTask, job: Job) {
    task.run(async |shutdown| job(Box::pin(shutdown)).await).await;
}

impl Handle for postbox_embassy::BackstopHandle<CriticalSectionRawMutex, BackstopReport, Invalid> {
    fn is_finished(&self) -> bool {
        self.is_finished()
    }
    async fn stop(self, deadline: Duration) -> Result<BackstopReport, StopError<Invalid>> {
        self.stop(deadline).await
    }
}

macro_rules! timer_harnesses {
    ($($host:ident: $run:expr;)*) => { $(
        impl TimerHarness for $host {
            type Timer = <$host as Host>::Timer;

            fn timer(&self) -> Self::Timer {
                <$host as Host>::TIMER
            }
            fn is_virtual(&self) -> bool {
                <$host as Host>::ROUNDING.is_some()
            }
            fn run<F: Future>(&self, future: F) -> F::Output {
                ($run)(self, future)
            }
        }
    )* };
}

timer_harnesses! {
    Tokio: |host: &Self, future| host.0.block_on(future);
    Smol: |_, future| smol::block_on(future);
    AsyncStd: |_, future| async_std::task::block_on(future);
    // Its timers wake any waker here, not only tasks of its own: a generic queue is compiled in.
    Embassy: |_, future| in_mock_time(future);
}
