//! The first of two futures to finish.

use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project_lite::pin_project;

/// Poll `a`, then `b`, until one finishes.
///
/// `a` is favoured: if both are ready, `a` wins and `b` is not polled. An `a` that is ready at every call
/// starves `b`, so in a loop `a` is what seldom happens and must not be missed: the stop signal, not the
/// work.
///
/// # Cancel safety
/// The loser is dropped with the race, which is at the end of `race(..).await`. A future that must not lose
/// what it has is lent instead (`race(stop.as_mut(), work.as_mut())`, or `&mut` if it is `Unpin`): then only
/// the loan ends.
///
/// Both are polled at each wake, with the waker of the task. Nothing is allocated. The panic of one leaves
/// the race; the other is dropped with it.
///
/// ```
/// use core::future::{pending, ready};
/// use postbox::join::{Either, race};
///
/// # fn block_on<F: Future>(future: F) -> F::Output {
/// #     let mut future = core::pin::pin!(future);
/// #     let mut cx = core::task::Context::from_waker(core::task::Waker::noop());
/// #     loop { if let core::task::Poll::Ready(out) = future.as_mut().poll(&mut cx) { return out; } }
/// # }
/// # block_on(async {
/// assert_eq!(race(ready("stop"), ready(1)).await, Either::A("stop"));
///
/// let mut stop = core::pin::pin!(pending::<()>());
/// assert_eq!(race(stop.as_mut(), ready(1)).await, Either::B(1));
/// assert_eq!(race(stop.as_mut(), ready(2)).await, Either::B(2));
/// # });
/// ```
pub fn race<A: Future, B: Future>(a: A, b: B) -> Race<A, B> {
    Race { a, b }
}

/// Which of two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Either<A, B> {
    /// The first of the two.
    A(A),
    /// The second of the two.
    B(B),
}

pin_project! {
    /// What [`race`] returns.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Race<A, B> {
        #[pin]
        a: A,
        #[pin]
        b: B,
    }
}

impl<A: Future, B: Future> Future for Race<A, B> {
    type Output = Either<A::Output, B::Output>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.a.poll(cx) {
            return Poll::Ready(Either::A(output));
        }
        this.b.poll(cx).map(Either::B)
    }
}
