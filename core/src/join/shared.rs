//! Wake state in one allocation that the join and its children's wakers share by counting.
#![allow(unsafe_code)] // The allocation is counted by hand, as its length is known only at run time.

use alloc::alloc::{Layout, handle_alloc_error};
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::task::{RawWaker, RawWakerVTable, Waker};

use super::MAX_CHILDREN;
use super::cells::{Cell, Cells, Head};
use super::wakes::{Drain, UNCOUNTED, Wakes};
use crate::primitive::{alloc, dealloc};

/// Wake state for `N` children in one allocation.
///
/// It is freed with the join, or with the last waker that outlives the join; such a waker does nothing any
/// more, and keeps only this allocation alive (40 bytes and 4 for each child), neither children nor task. `N`
/// is at most [`MAX_CHILDREN`]; more do not compile.
///
/// ```
/// use postbox::join::{SharedWakes, TryJoin};
///
/// async fn consume(kind: &str) -> Result<(), String> {
///     Err(format!("no {kind} today"))
/// }
///
/// let join = TryJoin::new([consume("commands"), consume("events")], SharedWakes::new(), |_| ());
/// # drop(join);
/// ```
#[derive(Debug)]
pub struct SharedWakes<const N: usize>(Counted);

impl<const N: usize> SharedWakes<N> {
    /// Allocate wake state for one join.
    pub fn new() -> Self {
        const { assert!(N <= MAX_CHILDREN, "a join has at most 4096 children") };
        Self(Counted::new(N))
    }
}

impl<const N: usize> Default for SharedWakes<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Wakes<N> for SharedWakes<N> {}

impl<const N: usize> Drain for SharedWakes<N> {
    #[inline]
    fn drain(&mut self, first: usize, children: usize, parent: &Waker, visit: impl FnMut(usize, &Waker)) {
        self.0.drain(first, children, parent, visit);
    }
}

/// The poller's share of counted cells, for a number of children known at run time.
pub(super) struct Counted {
    /// Allocated in `new`; this value is one of its `owners`.
    head: NonNull<Head>,
    known: bool,
}

// SAFETY: what is behind the pointer is `Sync` (atomics, and a gate that is), and is freed by whichever owner
// is last, after all others are done (`release`). No child is in here, so no bound is needed.
unsafe impl Send for Counted {}
// SAFETY: `&Counted` gives access to nothing but `Debug`.
unsafe impl Sync for Counted {}

impl Counted {
    /// Allocate for so many children, at most [`MAX_CHILDREN`].
    pub(super) fn new(children: usize) -> Self {
        let children = children.min(MAX_CHILDREN);
        let layout = layout(children);
        // SAFETY: the layout has a head, so it is not empty.
        #[allow(clippy::cast_ptr_alignment)] // As aligned as the layout says.
        let Some(head) = NonNull::new(unsafe { alloc(layout) }.cast::<Head>()) else {
            handle_alloc_error(layout);
        };
        // SAFETY: the allocation holds a head and so many cells behind it, and is nobody else's yet.
        unsafe {
            head.write(Head::new(children));
            let cells = head.add(1).cast::<Cell>();
            for index in 0..children {
                cells.add(index).write(Cell::new(index));
            }
        }
        let counted = Self { head, known: false };
        counted.cells().open();
        counted
    }

    fn cells(&self) -> Cells<'_> {
        // SAFETY: laid out by `new`; alive because this is one of its owners.
        unsafe { Cells::new(self.head) }
    }
}

impl Drain for Counted {
    #[inline]
    fn drain(&mut self, first: usize, _children: usize, parent: &Waker, visit: impl FnMut(usize, &Waker)) {
        // SAFETY: laid out by `new`, which opened them for this value alone; `&mut self` means one thread,
        // and that this owner lives on. `COUNTED` counts clones.
        unsafe { Cells::new(self.head).drain(first, parent, &mut self.known, &COUNTED, visit) };
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // SAFETY: as in `drain`, and this was the last use of this owner.
        unsafe {
            self.cells().close();
            release(self.head);
        }
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted")
            .field("children", &self.cells().children())
            .finish_non_exhaustive()
    }
}

/// Wakers of counted cells; each that was cloned is an owner.
static COUNTED: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop);

/// # Safety
/// `data` is that of a waker of counted cells.
unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the waker that is cloned is an owner, or lent by one.
    let owners = unsafe { &Cells::of_waker(data).0.head().owners };
    // An owner hands on what it has: nothing needs to be ordered.
    let before = owners.fetch_add(1, Relaxed);
    if before >= OWNERS_MAX {
        // Only leaked wakers come to this. One share is never given back, so the cells are never freed.
        if before > OWNERS_MAX {
            owners.fetch_sub(1, Relaxed);
        }
        return RawWaker::new(data, &UNCOUNTED);
    }
    RawWaker::new(data, &COUNTED)
}

/// # Safety
/// As for `clone`; the waker is used up.
unsafe fn wake(data: *const ()) {
    // SAFETY: passed on.
    unsafe {
        wake_by_ref(data);
        drop(data);
    }
}

/// # Safety
/// As for `clone`.
unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the waker is an owner, or lent by one.
    let (cells, index) = unsafe { Cells::of_waker(data) };
    cells.set(index);
}

/// # Safety
/// As for `clone`; the waker is used up.
unsafe fn drop(data: *const ()) {
    // SAFETY: passed on; the share is the waker's own.
    unsafe { release(Cells::of_waker(data).0.pointer()) };
}

/// Give back one share, and free the cells when it was the last.
///
/// # Safety
/// The caller has a share, and does not use the cells after this.
unsafe fn release(head: NonNull<Head>) {
    // SAFETY: alive while the caller has its share. Neither head nor cells need dropping but for the parent's
    // waker, which `close` took out, or the waker that held it then, before it gave back its own share.
    unsafe {
        if head.as_ref().owners.fetch_sub(1, Release) != 1 {
            return;
        }
        // All that other owners did with the cells happened before they gave back their share.
        head.as_ref().owners.load(Acquire);
        let layout = layout(Cells::new(head).children());
        dealloc(head.as_ptr().cast(), layout);
    }
}

/// A head and so many cells. `children` is at most [`MAX_CHILDREN`], so nothing wraps.
const fn layout(children: usize) -> Layout {
    let size = size_of::<Head>().wrapping_add(size_of::<Cell>().wrapping_mul(children));
    // SAFETY: the alignment is a type's, and the size is far from `isize::MAX`; the allocator need not round
    // it up.
    unsafe { Layout::from_size_align_unchecked(size, align_of::<Head>()) }
}

/// More owners than there can be without leaking wakers.
const OWNERS_MAX: usize = isize::MAX as usize;
