//! A few futures of one kind under way at once, in place: as one ends, another takes its place.
#![allow(unsafe_code)] // Pinning one slot of a pinned array: see `push`.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};

/// Up to `N` futures in flight, without allocation.
///
/// Every wake polls all of them, oldest place first, with the task's own waker: made for small windows.
/// Futures that are ready at once come out in the order they went in.
///
/// # Cancel safety
/// [`next`](Self::next) may be dropped and called again; nothing is lost. Dropping the window drops what is
/// under way.
///
/// ```
/// use core::pin::pin;
/// use postbox::join::Window;
///
/// # fn block_on<F: Future>(future: F) -> F::Output {
/// #     let mut future = core::pin::pin!(future);
/// #     let mut cx = core::task::Context::from_waker(core::task::Waker::noop());
/// #     loop { if let core::task::Poll::Ready(out) = future.as_mut().poll(&mut cx) { return out; } }
/// # }
/// # block_on(async {
/// let mut window = pin!(Window::<_, 2>::new());
/// window.as_mut().push(core::future::ready(1));
/// window.as_mut().push(core::future::ready(2));
/// assert!(!window.has_room());
/// assert_eq!(window.as_mut().next().await, Some(1));
/// assert_eq!(window.as_mut().next().await, Some(2));
/// assert_eq!(window.as_mut().next().await, None);
/// assert!(window.is_empty());
/// # });
/// ```
#[derive(Debug)]
pub struct Window<F, const N: usize> {
    slots: [Option<F>; N],
    taken: usize,
    /// Where to look first.
    cursor: usize,
}

impl<F: Future, const N: usize> Window<F, N> {
    /// Empty.
    pub const fn new() -> Self {
        Self {
            slots: [const { None }; N],
            taken: 0,
            cursor: 0,
        }
    }

    /// Whether another future fits in.
    pub const fn has_room(&self) -> bool {
        self.taken < N
    }

    /// Whether none is under way.
    pub const fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// Takes a future in. Without [room](Self::has_room) it is dropped, unpolled.
    pub fn push(self: Pin<&mut Self>, future: F) {
        self.place(future);
    }

    /// Takes a future in and polls it at once: if it is ready it is out again. Without [room](Self::has_room) it is
    /// dropped, unpolled.
    pub fn push_poll(self: Pin<&mut Self>, future: F, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some((slot, taken)) = self.place(future) else {
            return Poll::Pending;
        };
        poll_slot(slot, taken, cx)
    }

    /// The output of the next future that ends; `None` when none is under way.
    pub async fn next(mut self: Pin<&mut Self>) -> Option<F::Output> {
        poll_fn(|cx| self.as_mut().poll_next(cx)).await
    }

    /// [`next`](Self::next), for those who poll themselves.
    pub fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        // SAFETY: `slots` is structurally pinned: futures are polled where they lie, and leave only by being dropped
        // there (`poll_slot`). The other fields are never pinned.
        let this = unsafe { self.get_unchecked_mut() };
        if this.taken == 0 {
            return Poll::Ready(None);
        }
        let (before, from) = this.slots.split_at_mut_checked(this.cursor).unwrap_or_default();
        for (step, slot) in from.iter_mut().chain(before).enumerate() {
            // SAFETY: the slot is part of `slots`, which is pinned.
            if let Poll::Ready(output) = poll_slot(unsafe { Pin::new_unchecked(slot) }, &mut this.taken, cx) {
                this.cursor = this
                    .cursor
                    .saturating_add(step)
                    .saturating_add(1)
                    .checked_rem(N)
                    .unwrap_or(0);
                return Poll::Ready(Some(output));
            }
        }
        Poll::Pending
    }

    /// Puts a future into an empty slot, if there is one.
    fn place(self: Pin<&mut Self>, future: F) -> Option<(Pin<&mut Option<F>>, &mut usize)> {
        // SAFETY: `slots` is structurally pinned. A slot is only written while it is empty, so no future
        // that was pinned is moved; the other fields are never pinned.
        let this = unsafe { self.get_unchecked_mut() };
        let slot = this.slots.iter_mut().find(|slot| slot.is_none())?;
        *slot = Some(future);
        this.taken = this.taken.saturating_add(1);
        // SAFETY: as above.
        Some((unsafe { Pin::new_unchecked(slot) }, &mut this.taken))
    }
}

/// Polls what lies in a slot, if there is something, and drops it there when it has ended.
fn poll_slot<F: Future>(
    mut slot: Pin<&mut Option<F>>,
    taken: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<F::Output> {
    let Some(future) = slot.as_mut().as_pin_mut() else {
        return Poll::Pending;
    };
    let output = core::task::ready!(future.poll(cx));
    slot.set(None);
    *taken = taken.saturating_sub(1);
    Poll::Ready(output)
}

impl<F: Future, const N: usize> Default for Window<F, N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;
    use core::pin::pin;
    use core::task::Waker;

    use super::*;

    #[test]
    fn what_is_ready_at_once_leaves_its_place_and_what_is_not_keeps_it() {
        let ready = Cell::new(false);
        let wait = |output| {
            let ready = &ready;
            poll_fn(move |_| {
                if ready.get() {
                    Poll::Ready(output)
                } else {
                    Poll::Pending
                }
            })
        };
        let mut cx = Context::from_waker(Waker::noop());
        let mut window = pin!(Window::<_, 1>::new());
        ready.set(true);
        assert_eq!(window.as_mut().push_poll(wait(1), &mut cx), Poll::Ready(1));
        assert!(window.is_empty());
        ready.set(false);
        assert_eq!(window.as_mut().push_poll(wait(2), &mut cx), Poll::Pending);
        assert!(!window.has_room() && !window.is_empty());
        // There is no room: dropped, and what has the place is not polled in its stead.
        ready.set(true);
        assert_eq!(window.as_mut().push_poll(wait(3), &mut cx), Poll::Pending);
        assert_eq!(window.as_mut().poll_next(&mut cx), Poll::Ready(Some(2)));
        assert_eq!(window.as_mut().poll_next(&mut cx), Poll::Ready(None));
    }
}
