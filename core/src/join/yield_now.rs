//! Giving others a turn.

use core::pin::Pin;
use core::task::{Context, Poll};

/// Let whatever else is ready run before this task goes on.
///
/// It wakes its task and is pending once. In a join only the child that yields is polled again. It holds
/// nothing, so dropping it loses nothing; it does not allocate. How long others get is up to the executor.
///
/// ```
/// use core::task::{Context, Poll, Waker};
/// use postbox::join::yield_now;
///
/// let mut cx = Context::from_waker(Waker::noop());
/// let mut turn = core::pin::pin!(yield_now());
/// assert_eq!(turn.as_mut().poll(&mut cx), Poll::Pending);
/// assert_eq!(turn.as_mut().poll(&mut cx), Poll::Ready(()));
/// ```
pub const fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// What [`yield_now`] returns.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
