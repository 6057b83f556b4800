//! Which task polls a join: none, or the one whose waker is known. Who may touch the waker is for `gate`.
#![allow(unsafe_code)] // A waker without a task, as a constant.

use core::task::{RawWaker, RawWakerVTable, Waker};

/// Which parent the poller has put into its gate: where the two parts of that waker point. None at first.
///
/// The waker in the gate is alive as long as the poller is, so no other waker can have come to these places.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    data: usize,
    vtable: usize,
}

impl Known {
    #[inline]
    pub(super) fn of(waker: &Waker) -> Self {
        Self {
            data: waker.data().addr(),
            vtable: core::ptr::from_ref(waker.vtable()).addr(),
        }
    }

    #[inline]
    pub(super) fn is(self, waker: &Waker) -> bool {
        let other = Self::of(waker);
        self.data == other.data && self.vtable == other.vtable
    }
}

/// Where there is no task.
// SAFETY: its functions do nothing.
pub(super) const NOBODY: Waker = unsafe { Waker::new(core::ptr::null(), &NOTHING) };
static NOTHING: RawWakerVTable = RawWakerVTable::new(
    |_| RawWaker::new(core::ptr::null(), &NOTHING),
    |_| (),
    |_| (),
    |_| (),
);
