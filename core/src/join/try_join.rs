//! The join of an array of futures.
#![allow(unsafe_code)] // Pinning the array in the join: `pin-project-lite` cannot name an array's length.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::turn::Progress;
use super::wakes::Wakes;

/// Drives `N` futures to their end on the task that polls it, and returns the first error.
///
/// A turn polls only the children that were woken, each at most once. A child that woke itself meanwhile is
/// polled in the next turn, which its wake has asked for, so it cannot keep others from running, neither its
/// siblings nor other tasks. A turn begins behind the child that was first in the turn before. Every child is
/// polled in the first turn. No children at all are `Ok(())` at once.
///
/// # Errors
/// The first error is kept, and `on_error` is called with it, once: it is there to tell the other children to
/// stop. They are **not** dropped but polled until they finish; then the first error is returned. Later
/// errors are dropped. A child that cannot be told to stop keeps the join waiting.
///
/// # On drop
/// A child is dropped in place as soon as it has finished. Dropping the join drops the children that are
/// left, in the order of the array, then gives back the wakes. Wakers that outlive the join are harmless.
///
/// # On panic
/// The panic of a child leaves `poll`; the child is dropped, and the task is woken once more. Whoever catches
/// the panic may poll the join again: the other children lost nothing, and the result is theirs. A waker of
/// the *task* that panics when it is used can cost wakes, but is not undefined behaviour.
///
/// # Cancel safety
/// As that of the children: the join holds nothing of its own between polls. It may be polled from another
/// task each time.
///
/// # Costs
/// A wake is three atomic steps (five above 61 children, or 29 on 32 bits) and one wake of the task; wakes
/// that come before the task runs share that one. No poll and no wake allocates. See [`join`](super) for what
/// the kinds of [`Wakes`] cost, and for an example.
///
/// `Send` and `Sync` follow from the children, the error and `on_error`. After it returned, the join is
/// `Ok(())` at each further poll.
#[must_use = "futures do nothing unless polled"]
pub struct TryJoin<F, E, S, W, const N: usize> {
    children: [Option<F>; N],
    live: usize,
    progress: Progress<E, S>,
    // Behind the children: they drop first. There is no `Drop` for the whole: it could move a pinned child.
    wakes: W,
}

impl<F, E, S, W, const N: usize> TryJoin<F, E, S, W, N>
where
    F: Future<Output = Result<(), E>>,
    S: FnOnce(&E),
    W: Wakes<N>,
{
    /// Join `children`; `on_error` hears of the first error as soon as it is there.
    ///
    /// ```
    /// use core::cell::Cell;
    /// use core::task::{Context, Poll, Waker};
    /// use postbox::join::{Plain, TryJoin};
    ///
    /// let told = Cell::new(None);
    /// let children = [core::future::ready(Ok(())), core::future::ready(Err(7))];
    /// let mut join = core::pin::pin!(TryJoin::new(children, Plain, |error: &i32| told.set(Some(*error))));
    /// let mut cx = Context::from_waker(Waker::noop());
    /// assert_eq!(join.as_mut().poll(&mut cx), Poll::Ready(Err(7)));
    /// assert_eq!(told.get(), Some(7));
    /// ```
    pub fn new(children: [F; N], wakes: W, on_error: S) -> Self {
        Self {
            children: children.map(Some),
            live: N,
            progress: Progress::new(on_error),
            wakes,
        }
    }
}

impl<F, E, S, W, const N: usize> Future for TryJoin<F, E, S, W, N>
where
    F: Future<Output = Result<(), E>>,
    S: FnOnce(&E),
    W: Wakes<N>,
{
    type Output = Result<(), E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `children` is pinned with the join. It is not moved out of `this` here or anywhere else,
        // the join has no `Drop`, and is `Unpin` only if `F` is. The other fields are never pinned.
        let (children, this) = unsafe {
            let this = self.get_unchecked_mut();
            (
                Pin::new_unchecked(&mut this.children),
                (&mut this.live, &mut this.progress, &mut this.wakes),
            )
        };
        let (live, progress, wakes) = this;
        progress.turn(live, children, wakes, cx)
    }
}

impl<F, E, S, W, const N: usize> fmt::Debug for TryJoin<F, E, S, W, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryJoin")
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}
