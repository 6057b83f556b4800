//! All that is asked of an executor: to sleep, and to take a future.

use core::time::Duration;

use crate::time::{Clock, Instant};

/// The longest single sleep of [`sleep_until`].
const BITE: Duration = Duration::from_secs(24 * 60 * 60);

/// Sleeps by a monotonic clock. Each adapter has one.
///
/// # Contract
/// `sleep_until` never resolves before `deadline` by this timer's own [`now`](Clock::now), resolves at once
/// for a deadline in the past, and is cancel-safe: dropping the future drops the sleep.
pub trait Timer: Clock {
    /// Resolves at `deadline`, or soon after.
    async fn sleep_until(&self, deadline: Instant);

    /// Whether its time passes at all; only [`NoTimer`] says no.
    fn runs(&self) -> bool {
        true
    }
}

impl<T: Timer + ?Sized> Timer for &T {
    async fn sleep_until(&self, deadline: Instant) {
        (**self).sleep_until(deadline).await;
    }

    fn runs(&self) -> bool {
        (**self).runs()
    }
}

#[cfg(feature = "alloc")]
impl<T: Timer + ?Sized> Timer for alloc::sync::Arc<T> {
    async fn sleep_until(&self, deadline: Instant) {
        (**self).sleep_until(deadline).await;
    }

    fn runs(&self) -> bool {
        (**self).runs()
    }
}

/// A [`Timer::sleep_until`] made of an executor's own `sleep` of some length, which may be rounded: it is `clock` that
/// decides, and goes on sleeping. Long sleeps are taken in bites, so that no deadline is too far for the executor.
///
/// ```
/// use core::{cell::Cell, future::ready, time::Duration};
/// use postbox::{runtime::sleep_until, time::{Clock, Instant}};
///
/// # fn block_on<F: Future>(future: F) -> F::Output {
/// #     let mut future = core::pin::pin!(future);
/// #     let mut cx = core::task::Context::from_waker(core::task::Waker::noop());
/// #     loop { if let core::task::Poll::Ready(out) = future.as_mut().poll(&mut cx) { return out; } }
/// # }
/// struct Hand(Cell<Instant>);
/// impl Clock for Hand {
///     fn now(&self) -> Instant {
///         self.0.get()
///     }
/// }
/// let clock = Hand(Cell::new(Instant::ZERO));
/// let too_short = |length: Duration| ready(clock.0.set(clock.now() + length / 2 + Duration::from_micros(1)));
/// block_on(sleep_until(&clock, Instant::from_millis(100), too_short));
/// assert!(clock.now() >= Instant::from_millis(100));
/// ```
pub async fn sleep_until<C: Clock, F: Future>(clock: &C, deadline: Instant, sleep: impl Fn(Duration) -> F) {
    loop {
        let left = deadline.since(clock.now());
        if left.is_zero() {
            return;
        }
        sleep(left.min(BITE)).await;
    }
}

/// Takes a future to run in the background. Generic over the future: the adapter's impl adds
/// `F: Send + 'static` where its executor needs that, so that core never says it.
pub trait Spawner<F> {
    /// Starts `future`.
    fn spawn(&self, future: F);
}

/// No timer: time stands still and nothing ever sleeps to an end.
///
/// A dispatcher without a timer publishes without a timeout and without renewing its lease; claims are
/// still fenced. Use it for passes by hand over a publisher that is known to return.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTimer;

impl Clock for NoTimer {
    fn now(&self) -> Instant {
        Instant::ZERO
    }
}

impl Timer for NoTimer {
    async fn sleep_until(&self, _: Instant) {
        core::future::pending::<()>().await;
    }

    fn runs(&self) -> bool {
        false
    }
}

#[cfg(feature = "alloc")]
pub use dynamic::{BoxFuture, DynTimer, boxed};

#[cfg(feature = "alloc")]
mod dynamic {
    use alloc::boxed::Box;
    use core::pin::Pin;

    use super::{Clock, Instant, NoTimer};

    /// A boxed future that may move between threads.
    pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

    /// Boxes a future: for the macros of this crate, which may be used where there is no `Box` in scope.
    #[doc(hidden)]
    pub fn boxed<'a, T>(future: impl Future<Output = T> + Send + 'a) -> BoxFuture<'a, T> {
        Box::pin(future)
    }

    /// A timer behind a pointer: what a service keeps, so that it needs no type parameter for it.
    ///
    /// It says `Send` because an object cannot leak it, so there is no blanket impl; every adapter gives
    /// its own by [`dyn_timer!`](crate::dyn_timer).
    pub trait DynTimer: Clock + Send + Sync {
        /// [`Timer::sleep_until`](super::Timer::sleep_until), boxed.
        fn sleep_until_dyn(&self, deadline: Instant) -> BoxFuture<'_, ()>;

        /// [`Timer::runs`](super::Timer::runs).
        fn runs_dyn(&self) -> bool;
    }

    impl super::Timer for dyn DynTimer + '_ {
        async fn sleep_until(&self, deadline: Instant) {
            self.sleep_until_dyn(deadline).await;
        }

        fn runs(&self) -> bool {
            self.runs_dyn()
        }
    }

    impl core::fmt::Debug for dyn DynTimer {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            f.debug_struct("DynTimer").finish_non_exhaustive()
        }
    }

    crate::dyn_timer!(NoTimer);
}

/// Implements [`DynTimer`](crate::runtime::DynTimer) for a timer whose futures are `Send`, in one line.
///
/// ```
/// use postbox::{runtime::Timer, time::{Clock, Instant}};
///
/// struct Never;
/// impl Clock for Never {
///     fn now(&self) -> Instant {
///         Instant::ZERO
///     }
/// }
/// impl Timer for Never {
///     async fn sleep_until(&self, _: Instant) {
///         std::future::pending().await
///     }
/// }
/// postbox::dyn_timer!(Never);
/// ```
#[cfg(feature = "alloc")]
#[macro_export]
macro_rules! dyn_timer {
    ($timer:ty) => {
        impl $crate::runtime::DynTimer for $timer {
            fn sleep_until_dyn(&self, deadline: $crate::time::Instant) -> $crate::runtime::BoxFuture<'_, ()> {
                $crate::runtime::boxed($crate::runtime::Timer::sleep_until(self, deadline))
            }

            fn runs_dyn(&self) -> bool {
                $crate::runtime::Timer::runs(self)
            }
        }
    };
}
