//! Wake state in one allocation that the join and its children's wakers share by counting.
#![allow(unsafe_code)] // The allocation is counted by hand, as its length is known only at run time.

use alloc::alloc::{Layout, handle_alloc_error};
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::task::{RawWaker, RawWakerVTable, Waker};

use super::MAX_CHILDREN;
use super::cells::{Cell, Cells, Head};
use super::parent::Known;
use super::shape::{Shape, Vtables};
use super::wakes::{Drain, Mark, UNCOUNTED, Wakes};
use crate::primitive::{AtomicUsize, alloc, dealloc};

/// Wake state for `N` children in one allocation.
///
/// It is freed with the join, or with the last waker that outlives the join; such a waker does nothing any
/// more, and keeps only this allocation alive (five words and one for each child), neither children nor task. `N`
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
    unsafe fn drain(&mut self, mark: &mut Mark, _: usize, parent: &Waker, visit: impl FnMut(usize, &Waker)) {
        let shape = const { Some(Shape::new(N)) };
        // SAFETY: they were made for `N`; `mark` as the caller says.
        unsafe { self.0.drain_shape(shape, mark, parent, visit) };
    }
}

/// The poller's share of counted cells, for a number of children known at run time.
pub(super) struct Counted {
    /// Allocated in `new`. Alive as long as this value, which is one of their owners: lent no longer.
    cells: Cells<'static>,
    known: Known,
}

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
        // SAFETY: just laid out, and alive until `drop` gives back the first share.
        let cells = unsafe { Cells::new(head) };
        cells.open();
        Self {
            cells,
            known: Known::default(),
        }
    }

    /// # Safety
    /// `shape` is theirs, if any; `mark` is new or was last written by this.
    #[inline]
    unsafe fn drain_shape(
        &mut self,
        shape: Option<Shape>,
        mark: &mut Mark,
        parent: &Waker,
        visit: impl FnMut(usize, &Waker),
    ) {
        // SAFETY: laid out by `new`, which opened them for this value alone; `&mut self` means one thread,
        // and that this owner lives on. `COUNTED` counts clones.
        unsafe {
            let (cells, known) = (self.cells, &mut self.known);
            cells.drain(shape, mark, parent, known, COUNTED, visit);
        }
    }
}

impl Drain for Counted {
    #[inline]
    unsafe fn drain(&mut self, mark: &mut Mark, _: usize, parent: &Waker, visit: impl FnMut(usize, &Waker)) {
        // SAFETY: there is no shape; `mark` as the caller says.
        unsafe { self.drain_shape(None, mark, parent, visit) };
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // SAFETY: as in `drain`, and this was the last use of this owner.
        unsafe {
            self.cells.close();
            release(self.cells.pointer());
        }
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted")
            .field("children", &self.cells.shape().children())
            .finish_non_exhaustive()
    }
}

/// Wakers of counted cells; each that was cloned is an owner. See [`Vtables`].
const COUNTED: &Vtables = &Vtables {
    narrow: RawWakerVTable::new(clone::<false>, wake::<false>, wake_by_ref::<false>, drop),
    wide: RawWakerVTable::new(clone::<true>, wake::<true>, wake_by_ref::<true>, drop),
};

/// # Safety
/// `data` is that of a waker of counted cells, which have leaves if `WIDE`.
#[inline]
unsafe fn clone<const WIDE: bool>(data: *const ()) -> RawWaker {
    // SAFETY: the waker that is cloned is an owner, or lent by one.
    let owners = unsafe { &Cells::of_waker(data).0.head().owners };
    // An owner hands on what it has: nothing needs to be ordered.
    if owners.fetch_add(1, Relaxed) >= TOO_MANY {
        return leaked::<WIDE>(data, owners);
    }
    RawWaker::new(data, COUNTED.of(WIDE))
}

/// Only leaked wakers come to this. Shares that are never given back keep the cells for good.
#[cold]
#[inline(never)]
fn leaked<const WIDE: bool>(data: *const (), owners: &AtomicUsize) -> RawWaker {
    // The bit is not set when this is called first: then it adds them.
    owners.fetch_or(FOR_GOOD, Relaxed);
    owners.fetch_sub(1, Relaxed);
    RawWaker::new(data, UNCOUNTED.of(WIDE))
}

/// # Safety
/// As for `clone`; the waker is used up.
unsafe fn wake<const WIDE: bool>(data: *const ()) {
    // SAFETY: passed on; it is announced when `set` says so, and the share is the waker's own.
    unsafe {
        let (cells, announces) = Cells::set::<WIDE>(data);
        if announces {
            cells.gate().announce();
        }
        release(cells.pointer());
    }
}

/// # Safety
/// As for `clone`.
#[inline]
unsafe fn wake_by_ref<const WIDE: bool>(data: *const ()) {
    // SAFETY: the waker is an owner, or lent by one; it is announced when `set` says so.
    unsafe {
        let (cells, announces) = Cells::set::<WIDE>(data);
        if announces {
            cells.announce();
        }
    }
}

/// # Safety
/// `data` is that of a waker of counted cells; the waker is used up.
#[inline]
unsafe fn drop(data: *const ()) {
    // SAFETY: passed on; the share is the waker's own.
    unsafe { release(Cells::of_waker(data).0.pointer()) };
}

/// Give back one share, and free the cells when it was the last.
///
/// # Safety
/// The caller has a share, and does not use the cells after this.
#[inline]
unsafe fn release(head: NonNull<Head>) {
    // SAFETY: alive while the caller has its share, which was the last when `free` is called.
    unsafe {
        if head.as_ref().owners.fetch_sub(1, Release) == 1 {
            free(head);
        }
    }
}

/// # Safety
/// The last share was given back, by the caller.
#[cold]
#[inline(never)]
unsafe fn free(head: NonNull<Head>) {
    // SAFETY: nobody else has a share. Neither head nor cells need dropping but for the parent's waker, which
    // `close` took out, or the waker that held it then, before it gave back its own share.
    unsafe {
        // All that other owners did with the cells happened before they gave back their share.
        head.as_ref().owners.load(Acquire);
        let layout = layout(Cells::new(head).shape().children());
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

/// More owners than there can be without leaking wakers: the sign of a word, for processors that tell it from
/// the step that counts.
const TOO_MANY: usize = 1 << (usize::BITS - 1);

/// So many shares that nobody has.
const FOR_GOOD: usize = TOO_MANY >> 1;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn owners(counted: &Counted) -> usize {
        counted.cells.head().owners.load(Relaxed)
    }

    /// As if so many more wakers had been forgotten.
    fn forget(counted: &Counted, wakers: usize) {
        counted.cells.head().owners.fetch_add(wakers, Relaxed);
    }

    fn check<const WIDE: bool>(children: usize) {
        let counted = Counted::new(children);
        let (cells, data) = (counted.cells, counted.cells.data(0));
        // SAFETY: `counted` lives on, and its cells have leaves if `WIDE`; the waker is its own owner, as it was cloned.
        let (last, first) = unsafe {
            forget(&counted, TOO_MANY - 2);
            let last = Waker::from_raw(clone::<WIDE>(data));
            assert_eq!(owners(&counted), TOO_MANY, "one owner more is counted");
            (last, Waker::from_raw(clone::<WIDE>(data)))
        };
        let full = TOO_MANY | FOR_GOOD;
        assert_eq!(owners(&counted), full, "the next is not");
        let second = first.clone();
        let third = last.clone();
        assert_eq!(owners(&counted), full, "and nobody after it");
        core::mem::drop((first, third));
        assert_eq!(owners(&counted), full, "nor are they when they go");
        core::mem::drop(last);
        assert_eq!(owners(&counted), full - 1, "who was counted is");

        // All are gone but one that was not counted: it still has cells to write to.
        cells.head().owners.fetch_sub(TOO_MANY - 2, Relaxed);
        core::mem::drop(counted);
        assert_eq!(cells.head().owners.load(Relaxed), FOR_GOOD);
        second.wake_by_ref();
        core::mem::drop(second);
        assert_eq!(cells.head().owners.load(Relaxed), FOR_GOOD);
        // SAFETY: nobody has a share, and nobody uses them after this.
        unsafe { free(cells.pointer()) };
    }

    #[test]
    fn wakers_that_are_too_many_to_count_keep_the_cells_for_good() {
        check::<false>(2);
        check::<true>(100);
    }
}
