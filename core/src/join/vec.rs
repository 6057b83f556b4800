//! The join of a set of futures whose size is known at run time.

use alloc::boxed::Box;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::MAX_CHILDREN;
use super::shared::Counted;
use super::turn::Progress;

/// [`TryJoin`](super::TryJoin) for a number of children that is known at run time; nothing is added later.
///
/// What is said there of errors, drop, panics and cancelling holds here. It takes one allocation for the
/// children (which may be that of the `Vec` they come in) and one for the wakes, and none later; the join
/// itself may be moved at any time.
///
/// ```
/// use core::task::{Context, Poll, Waker};
/// use postbox::join::JoinVec;
///
/// let children = (0..3).map(|n| async move { if n == 1 { Err(n) } else { Ok(()) } });
/// let mut join = JoinVec::new(children, |_| ()).unwrap();
/// let mut cx = Context::from_waker(Waker::noop());
/// assert_eq!(core::pin::Pin::new(&mut join).poll(&mut cx), Poll::Ready(Err(1)));
/// ```
#[must_use = "futures do nothing unless polled"]
#[repr(C)] // Where the join is, `live` is: a poll need not keep its place for the end of a child.
pub struct JoinVec<F, E, S> {
    live: usize,
    children: Pin<Box<[Option<F>]>>,
    progress: Progress<E, S>,
    // Behind the children: they drop first.
    wakes: Counted,
}

impl<F, E, S> JoinVec<F, E, S>
where
    F: Future<Output = Result<(), E>>,
    S: FnOnce(&E),
{
    /// Join `children`; `on_error` hears of the first error as soon as it is there.
    ///
    /// # Errors
    /// [`TooManyChildren`] for more than [`MAX_CHILDREN`]. They are dropped unpolled.
    pub fn new(children: impl IntoIterator<Item = F>, on_error: S) -> Result<Self, TooManyChildren> {
        // One more than the limit is enough to know, however long the iterator is.
        let seen = children.into_iter().take(MAX_CHILDREN.saturating_add(1));
        let children: Box<[Option<F>]> = seen.map(Some).collect();
        let count = children.len();
        if count > MAX_CHILDREN {
            return Err(TooManyChildren);
        }
        Ok(Self {
            live: count,
            children: Box::into_pin(children),
            progress: Progress::new(on_error),
            wakes: Counted::new(count),
        })
    }
}

// The children are pinned in their box, not in the join.
impl<F, E, S> Unpin for JoinVec<F, E, S> {}

impl<F, E, S> Future for JoinVec<F, E, S>
where
    F: Future<Output = Result<(), E>>,
    S: FnOnce(&E),
{
    type Output = Result<(), E>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (live, children) = (&mut this.live, this.children.as_mut());
        this.progress.turn(live, children, &mut this.wakes, cx)
    }
}

impl<F, E, S> fmt::Debug for JoinVec<F, E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinVec")
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}

/// More than [`MAX_CHILDREN`] futures were to be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a join has at most {MAX_CHILDREN} children")]
pub struct TooManyChildren;
