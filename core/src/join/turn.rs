//! One turn of a join: what a poll does to the children that were woken, whatever holds them and whatever
//! woke them.
#![allow(unsafe_code)] // Pinning one element of a pinned slice: `slot`; and what `Drain` asks for.

use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use super::wakes::{Drain, Mark};

/// How far a join has come.
pub(super) struct Progress<E, S> {
    /// With which child the turn before began.
    mark: Mark,
    error: Option<E>,
    on_error: Option<S>,
}

impl<E, S> Progress<E, S> {
    pub(super) fn new(on_error: S) -> Self {
        Self {
            mark: Mark::NEW,
            error: None,
            on_error: Some(on_error),
        }
    }
}

impl<E, S: FnOnce(&E)> Progress<E, S> {
    /// Poll the children that were woken, once each. `live` counts those that have not finished.
    #[inline]
    pub(super) fn turn<F>(
        &mut self,
        live: &mut usize,
        mut children: Pin<&mut [Option<F>]>,
        wakes: &mut impl Drain,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), E>>
    where
        F: Future<Output = Result<(), E>>,
    {
        let Self {
            mark,
            error,
            on_error,
        } = self;
        let count = children.len();
        let visit = |index, waker: &Waker| {
            let Some(slot) = slot(children.as_mut(), index) else {
                return;
            };
            let mut finish = Finish { slot, live };
            let Some(child) = finish.slot.as_mut().as_pin_mut() else {
                return;
            };
            match child.poll(&mut Context::from_waker(waker)) {
                Poll::Pending => mem::forget(finish),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(failure)) => failed(error, on_error, failure),
            }
        };
        // SAFETY: joins are made with as many children as wakes. Nobody but `drain` writes `mark`.
        unsafe { wakes.drain(mark, count, cx.waker(), visit) };
        if *live > 0 {
            return Poll::Pending;
        }
        Poll::Ready(error.take().map_or(Ok(()), Err))
    }
}

/// Keep the first error.
#[cold]
#[inline(never)]
fn failed<E, S: FnOnce(&E)>(first: &mut Option<E>, on_error: &mut Option<S>, failure: E) {
    if let Some(on_error) = on_error.take() {
        on_error(first.insert(failure));
    }
}

/// Ends a child, in place: when it returned, and when it panicked.
struct Finish<'a, F> {
    slot: Pin<&'a mut Option<F>>,
    live: &'a mut usize,
}

impl<F> Drop for Finish<'_, F> {
    #[inline]
    fn drop(&mut self) {
        end(self.slot.as_mut(), self.live);
    }
}

// Seldom, so out of the way of what is polled again and again.
#[cold]
#[inline(never)]
fn end<F>(mut slot: Pin<&mut Option<F>>, live: &mut usize) {
    if slot.is_some() {
        *live = live.saturating_sub(1);
        slot.set(None);
    }
}

/// The child at `index`, still pinned.
#[inline]
fn slot<F>(children: Pin<&mut [Option<F>]>, index: usize) -> Option<Pin<&mut Option<F>>> {
    // SAFETY: nothing is moved out of the slice, here or by the result, which is pinned again; a pinned slice
    // pins its elements, as this module is the only one that looks into it and always does so in this way.
    unsafe { Some(Pin::new_unchecked(children.get_unchecked_mut().get_mut(index)?)) }
}
