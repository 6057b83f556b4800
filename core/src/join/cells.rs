//! The wake state of one join: a head, and behind it in memory one cell per child that the child's waker
//! points to.
//!
//! Up to [`Gate::WIDTH`] children have a bit each in the gate. More than that have a bit each in a *leaf*
//! (the `ready` field of the first cells, 16 children to a leaf), and a bit in the gate stands for a group of
//! leaves. A setter that finds its leaf empty goes on to the gate; one that does not leaves that to the
//! setter who found it empty. A poller that took a gate bit empties each leaf of that group exactly once, so
//! each child is polled at most once a turn. Leaf steps are `AcqRel` for the same reason as those of the
//! gate.
#![allow(unsafe_code)] // Wakers are raw: the layout they rely on is at `Head`.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use core::sync::atomic::Ordering::{AcqRel, Relaxed};
use core::task::{RawWaker, RawWakerVTable, Waker};

use super::MAX_CHILDREN;
use super::bits::{below, bit, each};
use super::gate::Gate;
use crate::primitive::{AtomicU16, AtomicUsize};

/// What all children share. **Layout**: as many [`Cell`]s as `children` says follow it directly, numbered
/// from 0, in the same allocation; every `NonNull<Head>` and every waker's pointer was made from a pointer to
/// that whole allocation.
#[repr(C)]
pub(super) struct Head {
    gate: Gate,
    /// How many wakers and joins point here; not used by static wake state.
    pub(super) owners: AtomicUsize,
    children: u16,
    /// A gate bit stands for `1 << shift` leaves.
    shift: u8,
}

/// What one child's waker points to.
#[repr(C)]
pub(super) struct Cell {
    index: u16,
    ready: AtomicU16,
}

/// A head and its cells, for as long as `'a`.
#[derive(Clone, Copy)]
pub(super) struct Cells<'a> {
    head: NonNull<Head>,
    alive: PhantomData<&'a Head>,
}

impl Head {
    /// A head for so many children; no more than [`MAX_CHILDREN`] are counted.
    pub(super) const fn new(children: usize) -> Self {
        let mut shift = 0_u8;
        while children.div_ceil(LEAF) > Gate::WIDTH << shift {
            shift = shift.wrapping_add(1);
        }
        Self {
            gate: Gate::new(),
            owners: AtomicUsize::new(1),
            children: saturated(children),
            shift,
        }
    }
}

impl Cell {
    pub(super) const fn new(index: usize) -> Self {
        Self {
            index: saturated(index),
            ready: AtomicU16::new(0),
        }
    }
}

impl<'a> Cells<'a> {
    /// # Safety
    /// `head` is laid out as written at [`Head`], and lives at least for `'a`.
    #[inline]
    pub(super) const unsafe fn new(head: NonNull<Head>) -> Self {
        Self {
            head,
            alive: PhantomData,
        }
    }

    /// The cells a waker belongs to, and the number of its child.
    ///
    /// # Safety
    /// `data` comes from [`waker`](Self::waker), and the cells live at least for `'a`.
    #[inline]
    pub(super) unsafe fn of_waker(data: *const ()) -> (Self, usize) {
        let cell = data.cast::<Cell>().cast_mut();
        // SAFETY: the caller says that this is one of the cells; as many as its index lie between it and the
        // head.
        unsafe {
            let index = usize::from((*cell).index);
            let head = NonNull::new_unchecked(cell.sub(index)).cast::<Head>().sub(1);
            (Self::new(head), index)
        }
    }

    #[inline]
    pub(super) fn head(self) -> &'a Head {
        // SAFETY: by the contract of `new`; nobody makes a `&mut Head` during `'a`.
        unsafe { self.head.as_ref() }
    }

    #[inline]
    #[cfg(feature = "alloc")]
    pub(super) fn pointer(self) -> NonNull<Head> {
        self.head
    }

    #[inline]
    pub(super) fn children(self) -> usize {
        usize::from(self.head().children)
    }

    #[inline]
    fn cells(self) -> &'a [Cell] {
        // SAFETY: the cells follow the head, and `head` may be used for all of the allocation.
        unsafe { NonNull::slice_from_raw_parts(self.head.add(1).cast(), self.children()).as_ref() }
    }

    /// Become the poller, with all children ready; false when there is one.
    pub(super) fn open(self) -> bool {
        let opened = self.head().gate.open(self.gate_bits());
        if opened {
            self.fill_leaves();
        }
        opened
    }

    /// # Safety
    /// As for [`Gate::close`].
    pub(super) unsafe fn close(self) {
        // SAFETY: passed on.
        unsafe { self.head().gate.close() };
    }

    /// Child `index` was woken.
    #[inline]
    pub(super) fn set(self, index: usize) {
        let head = self.head();
        if self.is_narrow() {
            return head.gate.set(bit(index));
        }
        if let Some(cell) = self.cells().get(index / LEAF) {
            if cell.ready.fetch_or(1 << (index % LEAF), AcqRel) == 0 {
                head.gate.set(bit((index / LEAF) >> head.shift));
            }
        }
    }

    /// Take all ready children and `visit` each with its waker: first those from `first` on, then those
    /// before it. When `visit` unwinds all children are ready again, so that those not visited lose nothing.
    ///
    /// # Safety
    /// As for [`Gate::take`]; and wakers made with `vtable` may be dropped as often as they were cloned by
    /// it.
    #[inline]
    pub(super) unsafe fn drain(
        self,
        first: usize,
        parent: &Waker,
        known: &mut bool,
        vtable: &'static RawWakerVTable,
        mut visit: impl FnMut(usize, &Waker),
    ) {
        // SAFETY: passed on.
        let ready = unsafe { self.head().gate.take(parent, known) };
        if ready == 0 {
            return;
        }
        let unvisited = SetAll(self);
        let mut visit = |index| {
            // SAFETY: lent, not owned: the poller outlives this call, and with it the cells.
            let waker = unsafe { Waker::from_raw(RawWaker::new(self.data(index), vtable)) };
            visit(index, &ManuallyDrop::new(waker));
        };
        if self.is_narrow() {
            for bits in [ready & !below(first), ready & below(first)] {
                each(bits, &mut visit);
            }
        } else {
            self.drain_leaves(ready, first, visit);
        }
        core::mem::forget(unvisited);
    }

    /// The leaf and group of `first` come first with what is behind `first`, and last with what is before it.
    #[inline]
    fn drain_leaves(self, groups: usize, first: usize, mut visit: impl FnMut(usize)) {
        let shift = self.head().shift;
        let first_leaf = first / LEAF;
        let first_group = first_leaf >> shift;
        let mut early = 0;
        let (behind, before) = (groups & !below(first_group), groups & below(first_group));
        for (groups, last) in [
            (behind, false),
            (before, false),
            (groups & bit(first_group), true),
        ] {
            each(groups, |group| {
                let (mut from, mut to) = (group << shift, group.wrapping_add(1) << shift);
                if last {
                    to = first_leaf.wrapping_add(1);
                } else if group == first_group {
                    from = first_leaf;
                }
                for leaf in from..to {
                    let mut bits = if last && leaf == first_leaf {
                        early
                    } else {
                        self.take_leaf(leaf)
                    };
                    if leaf == first_leaf && !last {
                        early = bits & below(first % LEAF);
                        bits &= !early;
                    }
                    each(bits, |bit| visit(leaf.wrapping_mul(LEAF).wrapping_add(bit)));
                }
            });
        }
    }

    #[inline]
    fn take_leaf(self, leaf: usize) -> usize {
        match self.cells().get(leaf) {
            // A bit set after this load finds the leaf empty and goes to the gate.
            Some(cell) if cell.ready.load(Relaxed) != 0 => usize::from(cell.ready.swap(0, AcqRel)),
            _ => 0,
        }
    }

    /// What the gate holds when all are ready.
    fn gate_bits(self) -> usize {
        let children = self.children();
        if self.is_narrow() {
            return below(children);
        }
        below(children.div_ceil(LEAF).div_ceil(1 << self.head().shift))
    }

    fn fill_leaves(self) {
        if self.is_narrow() {
            return;
        }
        for (leaf, cell) in self.cells().iter().enumerate() {
            let left = self.children().saturating_sub(leaf.saturating_mul(LEAF));
            let ready = u16::try_from(below(left)).unwrap_or(u16::MAX);
            cell.ready.fetch_or(ready, AcqRel);
        }
    }

    #[inline]
    fn is_narrow(self) -> bool {
        self.children() <= Gate::WIDTH
    }

    /// What the waker of child `index` points to.
    #[inline]
    fn data(self, index: usize) -> *const () {
        let first = self.head.as_ptr().wrapping_add(1).cast::<Cell>();
        first.wrapping_add(index).cast_const().cast()
    }
}

/// Sets every child ready when dropped.
struct SetAll<'a>(Cells<'a>);

impl Drop for SetAll<'_> {
    fn drop(&mut self) {
        self.0.fill_leaves();
        // Not child by child: a leaf that was not emptied in this turn would not go on to the gate.
        self.0.head().gate.set(self.0.gate_bits());
    }
}

#[allow(clippy::cast_possible_truncation)] // Compared first.
const fn saturated(children: usize) -> u16 {
    if children < MAX_CHILDREN {
        children as u16
    } else {
        MAX_CHILDREN as u16
    }
}

/// Children to a leaf.
const LEAF: usize = u16::BITS as usize;

const _: () =
    assert!(size_of::<Head>() % align_of::<Cell>() == 0 && align_of::<Head>() >= align_of::<Cell>());
