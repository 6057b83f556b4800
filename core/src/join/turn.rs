//! One turn of a join: what a poll does to the children that were woken, whatever holds them and whatever
//! woke them.
#![allow(unsafe_code)] // Pinning one element of a pinned slice: `slot`.

use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use super::wakes::Drain;

/// How far a join has come.
pub(super) struct Progress<E, S> {
    /// Children that have not finished.
    pub(super) live: usize,
    /// The child that is to be polled first.
    first: usize,
    error: Option<E>,
    on_error: Option<S>,
}

impl<E, S> Progress<E, S> {
    pub(super) fn new(live: usize, on_error: S) -> Self {
        Self {
            live,
            first: 0,
            error: None,
            on_error: Some(on_error),
        }
    }
}

impl<E, S: FnOnce(&E)> Progress<E, S> {
    /// Poll the children that were woken, once each.
    #[inline]
    pub(super) fn turn<F>(
        &mut self,
        mut children: Pin<&mut [Option<F>]>,
        wakes: &mut impl Drain,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), E>>
    where
        F: Future<Output = Result<(), E>>,
    {
        let count = children.len();
        let mut is_first = true;
        if self.live > 0 {
            wakes.drain(self.first, count, cx.waker(), |index, waker| {
                let Some(slot) = slot(children.as_mut(), index) else {
                    return;
                };
                if mem::take(&mut is_first) {
                    let next = index.wrapping_add(1);
                    self.first = if next < count { next } else { 0 };
                }
                self.poll(slot, waker);
            });
        }
        if self.live > 0 {
            return Poll::Pending;
        }
        Poll::Ready(self.error.take().map_or(Ok(()), Err))
    }

    #[inline]
    fn poll<F>(&mut self, slot: Pin<&mut Option<F>>, waker: &Waker)
    where
        F: Future<Output = Result<(), E>>,
    {
        let mut finish = Finish {
            slot,
            live: &mut self.live,
        };
        let Some(child) = finish.slot.as_mut().as_pin_mut() else {
            return;
        };
        match child.poll(&mut Context::from_waker(waker)) {
            Poll::Pending => mem::forget(finish),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => {
                if let Some(on_error) = self.on_error.take() {
                    on_error(self.error.insert(error));
                }
            }
        }
    }
}

/// Ends a child, in place: when it returned, and when it panicked.
struct Finish<'a, F> {
    slot: Pin<&'a mut Option<F>>,
    live: &'a mut usize,
}

impl<F> Drop for Finish<'_, F> {
    fn drop(&mut self) {
        if self.slot.is_some() {
            *self.live = self.live.saturating_sub(1);
            self.slot.set(None);
        }
    }
}

/// The child at `index`, still pinned.
#[inline]
fn slot<F>(children: Pin<&mut [Option<F>]>, index: usize) -> Option<Pin<&mut Option<F>>> {
    // SAFETY: nothing is moved out of the slice, here or by the result, which is pinned again; a pinned slice
    // pins its elements, as this module is the only one that looks into it and always does so in this way.
    unsafe { Some(Pin::new_unchecked(children.get_unchecked_mut().get_mut(index)?)) }
}
