//! The endless loop that publishes whatever was left behind: hints first, polling as the net.

mod config;
mod pace;

use core::pin::pin;
use core::time::Duration;

pub use config::BackstopConfig;
use pace::{Loop, Rest};

use crate::dispatcher::{DispatchError, DispatchOutcome, OutboxDispatcher};
use crate::id::{Excerpt, Invalid};
use crate::join::{Either, race, yield_now};
use crate::observe::Signal;
use crate::publisher::{AsyncMessagePublisher, Control};
use crate::runtime::Timer;
use crate::store::{OutboxStore, Which};
use crate::wakeup::Wakeup;

/// How often published messages past their retention are purged, in bites of [`PURGE_BITE`].
const PURGE_EVERY: Duration = Duration::from_secs(10);
/// The shortest sleep until a message is due: clocks may disagree on less.
const SHORTEST: Duration = Duration::from_millis(1);
/// How many are purged at once.
const PURGE_BITE: usize = 256;

/// What a backstop did until it was stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackstopReport {
    /// Passes, empty ones included.
    pub passes: u64,
    /// Messages the broker took.
    pub published: u64,
    /// Messages given up.
    pub dead: u64,
    /// Store errors survived.
    pub store_errors: u64,
}

/// Publishes whatever is due, until told to stop.
///
/// It looks at once when hinted, when a batch was full or made progress, and when a message becomes due that was
/// delayed or put back, if the store can tell; else at every poll. The next poll's deadline is kept across hints, so that they can
/// never starve it. While the broker takes nothing it pauses, longer each time, and then tries a single
/// message. Store errors are survived.
///
/// # Cancel safety
/// Stop it by `shutdown`: it takes nothing new, finishes the publishes under way, settles, gives back the
/// rest uncounted, and returns. Dropped instead, it leaves its claims to lapse.
#[derive(Debug)]
pub struct Backstop<S, P, T, W> {
    dispatcher: OutboxDispatcher<S, P, T>,
    wakeup: W,
    config: BackstopConfig,
}

impl<S: OutboxStore, P: AsyncMessagePublisher, T: Timer> Backstop<S, P, T, S::Wakeup> {
    /// Over a dispatcher, hinted by its store.
    pub fn new(dispatcher: OutboxDispatcher<S, P, T>, config: BackstopConfig) -> Self {
        let wakeup = dispatcher.store().wakeup();
        Self {
            dispatcher,
            wakeup,
            config,
        }
    }
}

impl<S, P, T, W> Backstop<S, P, T, W>
where
    S: OutboxStore,
    P: AsyncMessagePublisher,
    T: Timer,
    W: Wakeup,
{
    /// The same with other hints.
    pub fn with_wakeup<V: Wakeup>(self, wakeup: V) -> Backstop<S, P, T, V> {
        Backstop {
            dispatcher: self.dispatcher,
            wakeup,
            config: self.config,
        }
    }

    /// Runs until `shutdown` resolves.
    ///
    /// # Errors
    /// [`Invalid`], at once, when a setting of the dispatcher was refused. Nothing else ends it.
    pub async fn run(&mut self, shutdown: impl Future<Output = ()>) -> Result<BackstopReport, Invalid> {
        let config = self.dispatcher.config()?;
        let mut shutdown = pin!(shutdown);
        let mut report = BackstopReport::default();
        let mut state = Loop::new(self.dispatcher.timer().now(), config.worker().get());
        loop {
            let control = Control::new();
            let began = self.dispatcher.timer().now();
            let limit = if state.outage > 0 { 1 } else { self.config.batch };
            let stopped;
            let result = {
                let mut pass = pin!(self.dispatcher.dispatch(limit, Which::Due, &control));
                match race(shutdown.as_mut(), pass.as_mut()).await {
                    Either::B(result) => {
                        stopped = false;
                        result
                    }
                    Either::A(()) => {
                        stopped = true;
                        control.halt();
                        pass.await
                    }
                }
            };
            report.passes = report.passes.saturating_add(1);
            let now = self.dispatcher.timer().now();
            let rest = match &result {
                Ok(outcome) => {
                    report.add(outcome);
                    state.after(outcome, limit, (began, now), self.config.poll, &config)
                }
                Err(error) => {
                    report.store_errors = report.store_errors.saturating_add(1);
                    let rest = state.after_error(now, &self.config.store_backoff);
                    if let (Rest::Pause(until), DispatchError::Store(error)) = (rest, error) {
                        let error = Excerpt::display(error);
                        let pause = until.since(now);
                        (config.observer())(Signal::StoreError {
                            doing: "dispatching",
                            error: error.as_str(),
                            pause,
                        });
                    }
                    rest
                }
            };
            if stopped || self.rest(rest, shutdown.as_mut(), &mut state).await {
                return Ok(report);
            }
        }
    }

    /// Waits as told. `true` when it is time to stop.
    async fn rest(
        &mut self,
        rest: Rest,
        mut shutdown: core::pin::Pin<&mut impl Future<Output = ()>>,
        state: &mut Loop,
    ) -> bool {
        let Self {
            dispatcher, wakeup, ..
        } = self;
        let timer = dispatcher.timer();
        let waited = match rest {
            Rest::Not => race(shutdown.as_mut(), yield_now()).await,
            Rest::Pause(until) => race(shutdown.as_mut(), timer.sleep_until(until)).await,
            Rest::Listen(until) => {
                if timer.now() >= state.purge_at {
                    // What cannot be purged now will be purged next time; after a full bite there is more.
                    let purged = dispatcher.store().purge(PURGE_BITE).await;
                    if purged.is_ok_and(|purged| purged >= PURGE_BITE) {
                        return matches!(race(shutdown.as_mut(), yield_now()).await, Either::A(()));
                    }
                    state.purge_at = timer.now() + PURGE_EVERY;
                }
                // What cannot be told now will be found at the poll.
                let due = dispatcher.store().next_due().await.ok().flatten();
                let due = due
                    .filter(|due| !due.is_zero())
                    .map(|due| timer.now() + due.max(SHORTEST));
                let until = due.map_or(until, |due| until.min(due));
                let hint = async {
                    race(wakeup.wait(), timer.sleep_until(until)).await;
                };
                race(shutdown.as_mut(), hint).await
            }
        };
        matches!(waited, Either::A(()))
    }
}

impl BackstopReport {
    fn add(&mut self, outcome: &DispatchOutcome) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        self.published = self.published.saturating_add(count(outcome.published));
        self.dead = self.dead.saturating_add(count(outcome.dead));
    }
}
