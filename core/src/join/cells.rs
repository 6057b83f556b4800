//! The wake state of one join: a head, and behind it in memory one cell per child that the child's waker
//! points to.
//!
//! Up to [`Gate::WIDTH`] children have a bit each in the gate. More than that have a bit each in a *leaf*
//! (the `ready` field of the first cells, [`LEAF`] children to a leaf), and a bit in the gate stands for a
//! group of leaves. A setter that finds its leaf empty goes on to the gate; one that does not leaves that to
//! the setter who found it empty. Leaf steps are `AcqRel` for the same reason as those of the gate. How a
//! turn goes through the leaves is in `queue`.
#![allow(unsafe_code)] // Wakers are raw: the layout they rely on is at `Head`.

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::Ordering::AcqRel;

use super::bits::{below, bit, bit_back, forth};
use super::gate::{Gate, to_word};
use super::shape::{LEAF, Shape, half, saturated};
use crate::primitive::{AtomicHalf, AtomicUsize};

/// What all children share. **Layout**: as many [`Cell`]s as `children` says follow it directly, numbered
/// from 0, in the same allocation; every `NonNull<Head>` and every waker's pointer was made from a pointer to
/// that whole allocation.
#[repr(C)]
pub(super) struct Head {
    gate: Gate,
    /// How many wakers and joins point here; not used by static wake state.
    pub(super) owners: AtomicUsize,
    shape: Shape,
}

/// What one child's waker points to: one word, of which the leaf has half.
#[repr(C)]
pub(super) struct Cell {
    /// The number of the child, negated: processors add a scaled offset on the way to memory, and rotate by it.
    back: i16,
    ready: AtomicHalf,
}

/// A head and its cells, for as long as `'a`. What it keeps is where the first cell is, or would be.
#[derive(Clone, Copy)]
pub(super) struct Cells<'a> {
    first: NonNull<Cell>,
    alive: PhantomData<&'a Head>,
}

impl Head {
    /// A head for so many children; no more than [`MAX_CHILDREN`] are counted.
    pub(super) const fn new(children: usize) -> Self {
        Self {
            gate: Gate::new(),
            owners: AtomicUsize::new(1),
            shape: Shape::new(children),
        }
    }
}

impl Cell {
    pub(super) const fn new(index: usize) -> Self {
        Self {
            back: 0_i16.wrapping_sub_unsigned(saturated(index)),
            ready: AtomicHalf::new(0),
        }
    }
}

// SAFETY: it is a reference to a head and cells, all of which are `Sync`.
unsafe impl Send for Cells<'_> {}
// SAFETY: the same.
unsafe impl Sync for Cells<'_> {}

impl fmt::Debug for Cells<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells")
            .field("children", &self.shape().children())
            .finish_non_exhaustive()
    }
}

impl<'a> Cells<'a> {
    /// # Safety
    /// `head` is laid out as written at [`Head`], and lives at least for `'a`.
    #[inline]
    pub(super) const unsafe fn new(head: NonNull<Head>) -> Self {
        Self {
            // SAFETY: the head is in the allocation, so its end is in it too, or just behind it.
            first: unsafe { head.add(1).cast() },
            alive: PhantomData,
        }
    }

    /// The cells a waker belongs to, and the number of its child, negated.
    ///
    /// # Safety
    /// `data` comes from [`data`](Self::data), and the cells live at least for `'a`.
    #[inline]
    pub(super) unsafe fn of_waker(data: *const ()) -> (Self, isize) {
        let cell = data.cast::<Cell>().cast_mut();
        // SAFETY: the caller says that this is one of the cells; as many as its number are before it.
        unsafe {
            let back = (*cell).back as isize;
            let cells = Self {
                first: NonNull::new_unchecked(cell.offset(back)),
                alive: PhantomData,
            };
            (cells, back)
        }
    }

    /// The child of a waker was woken: the cells, and whether the caller has to [announce](Self::announce) it.
    ///
    /// # Safety
    /// As for [`of_waker`](Self::of_waker); and there are leaves if `WIDE`, and none if not.
    #[inline]
    pub(super) unsafe fn set<const WIDE: bool>(data: *const ()) -> (Self, bool) {
        // SAFETY: passed on.
        let (cells, back) = unsafe { Self::of_waker(data) };
        if !WIDE {
            return (cells, cells.gate().set(bit_back(to_word(1), back)));
        }
        let index = forth(back);
        let leaf = index / LEAF;
        // SAFETY: this cell is not behind that of the waker.
        let cell = unsafe { cells.cell(leaf) };
        let announces = cell.ready.fetch_or(1 << (index % LEAF), AcqRel) == 0
            && cells.gate().set(to_word(bit(leaf >> cells.shape().shift())));
        (cells, announces)
    }

    /// [`Gate::announce`], not inlined: the paths that do not come here need not save registers then.
    ///
    /// # Safety
    /// As there.
    #[inline(never)]
    pub(super) unsafe fn announce(self) {
        // SAFETY: passed on.
        unsafe { self.gate().announce() };
    }

    #[inline]
    pub(super) fn head(self) -> &'a Head {
        // SAFETY: by the contract of `new`; nobody makes a `&mut Head` during `'a`.
        unsafe { self.pointer().as_ref() }
    }

    #[inline]
    pub(super) fn pointer(self) -> NonNull<Head> {
        // SAFETY: the head ends where the first cell begins.
        unsafe { self.first.cast::<Head>().sub(1) }
    }

    /// # Safety
    /// `index` is less than the number of children.
    #[inline]
    unsafe fn cell(self, index: usize) -> &'a Cell {
        // SAFETY: there are as many cells, for `'a`; nobody makes a `&mut Cell` meanwhile.
        unsafe { self.first.add(index).as_ref() }
    }

    #[inline]
    pub(super) fn gate(self) -> &'a Gate {
        &self.head().gate
    }

    #[inline]
    pub(super) fn shape(self) -> Shape {
        self.head().shape
    }

    /// Become the poller, with all children ready; false when there is one.
    pub(super) fn open(self) -> bool {
        let opened = self.gate().open(below(self.shape().groups()));
        if opened {
            self.fill_leaves();
        }
        opened
    }

    /// # Safety
    /// As for [`Gate::close`].
    pub(super) unsafe fn close(self) {
        // SAFETY: passed on.
        unsafe { self.gate().close() };
    }

    /// Take the ready children of one leaf.
    ///
    /// # Safety
    /// The leaf belongs to a group that has a bit in the gate.
    #[inline]
    pub(super) unsafe fn take_leaf(self, leaf: usize) -> usize {
        // SAFETY: passed on; a group is whole (`shape`).
        unsafe { self.cell(leaf).ready.swap(0, AcqRel) as usize }
    }

    /// Undo [`take_leaf`](Self::take_leaf) on the way to taking the leaf again. Wakes nobody.
    ///
    /// # Safety
    /// As for `take_leaf`.
    pub(super) unsafe fn put_back(self, leaf: usize, bits: usize) {
        // SAFETY: passed on; a group is whole (`shape`).
        unsafe { self.cell(leaf).ready.fetch_or(half(bits), AcqRel) };
    }

    /// All children are ready, whether their leaves were emptied or not. The parent is woken.
    #[cold]
    pub(super) fn set_all(self) {
        self.fill_leaves();
        // Not child by child: a leaf that was not emptied would not go on to the gate.
        if self.gate().set(to_word(below(self.shape().groups()))) {
            // SAFETY: `set` said so.
            unsafe { self.announce() };
        }
    }

    fn fill_leaves(self) {
        let children = self.shape().children();
        if self.shape().is_narrow() {
            return;
        }
        for leaf in 0..children.div_ceil(LEAF) {
            let left = children.saturating_sub(leaf.saturating_mul(LEAF));
            // SAFETY: there are not more leaves than children.
            let ready = unsafe { &self.cell(leaf).ready };
            ready.fetch_or(half(below(left.min(LEAF))), AcqRel);
        }
    }

    /// What the waker of child `index` points to.
    #[inline]
    pub(super) fn data(self, index: usize) -> *const () {
        self.first.as_ptr().wrapping_add(index).cast_const().cast()
    }
}

const _: () =
    assert!(size_of::<Head>() % align_of::<Cell>() == 0 && align_of::<Head>() >= align_of::<Cell>());
