//! One turn's ready children, in the order in which they are polled.
//!
//! A turn begins with the first ready child that is not before `first`, going round. Without leaves the others
//! follow in the same order. With leaves they follow leaf by leaf: those of the same leaf, of the same group, of the
//! groups behind it.
//!
//! A turn that took a gate bit empties each leaf of that group once before it visits the leaf's children, and takes
//! none of them again: so each child is polled at most once a turn. A leaf that is put back in between is
//! emptied after all, in the same turn; a setter that found it not empty may rely on that.
#![allow(unsafe_code)] // Wakers are lent to the children: see `drain`.

use core::mem::{self, ManuallyDrop};
use core::task::{RawWaker, Waker};

use super::bits::below;
use super::cells::Cells;
use super::parent::Known;
use super::shape::{LEAF, Shape, Vtables};

impl Cells<'_> {
    /// Take all ready children and `visit` each with its waker. `first` is the place behind the child that was
    /// visited first, then. When `visit` unwinds all children are ready again, so that those not visited lose
    /// nothing.
    ///
    /// # Safety
    /// As for [`Gate::take`](super::gate::Gate::take); `shape` is that of the cells; `first` is at most the number
    /// of children; and wakers made with `vtables` may be dropped as often as they were cloned by it.
    #[inline]
    pub(super) unsafe fn drain(
        self,
        shape: Shape,
        first: &mut usize,
        parent: &Waker,
        known: &mut Known,
        vtables: &'static Vtables,
        mut visit: impl FnMut(usize, &Waker),
    ) {
        // SAFETY: passed on.
        let ready = unsafe { self.gate().take(parent, known) };
        if ready == 0 {
            return;
        }
        let unvisited = SetAll(self);
        let visit = |index| {
            // SAFETY: lent, not owned: the poller outlives this call, and with it the cells.
            let waker =
                unsafe { Waker::from_raw(RawWaker::new(self.data(index), vtables.of(!shape.is_narrow()))) };
            visit(index, &ManuallyDrop::new(waker));
        };
        match (shape.is_narrow(), shape.shift()) {
            (true, _) => drain_gate(ready, first, visit),
            // SAFETY: just taken; and as the caller says. Apart from the next, as most joins have no more children.
            (false, 0) => unsafe { self.drain_leaves(0, ready, first, visit) },
            // SAFETY: the same.
            (false, shift) => unsafe { self.drain_leaves(shift, ready, first, visit) },
        }
        mem::forget(unvisited);
    }

    /// # Safety
    /// `ready` was taken from the gate, of which a bit stands for `1 << shift` leaves; `first` is at most the number
    /// of children.
    #[inline]
    unsafe fn drain_leaves(self, shift: u8, ready: usize, first: &mut usize, mut visit: impl FnMut(usize)) {
        // SAFETY: passed on.
        let (mut queue, mut next) = unsafe { Queue::new(self, shift, ready, *first) };
        if let Some(leaf) = next {
            *first = leaf.index().wrapping_add(1);
        }
        while let Some(mut leaf) = next {
            while leaf.bits != 0 {
                visit(leaf.index());
                leaf.bits &= leaf.bits.wrapping_sub(1);
            }
            next = queue.next();
        }
    }
}

#[inline]
fn drain_gate(ready: usize, first: &mut usize, mut visit: impl FnMut(usize)) {
    let start = *first;
    let mut bits = rotated(ready, start);
    *first = place(bits, start).wrapping_add(1);
    while bits != 0 {
        visit(place(bits, start));
        bits &= bits.wrapping_sub(1);
    }
}

/// Leaf by leaf.
struct Queue<'a> {
    cells: Cells<'a>,
    shift: u8,
    /// Groups to begin; the lowest bit is that of group `lowest`.
    groups: usize,
    lowest: usize,
    /// The group that was begun, how many of its leaves were looked at, and which of them was the first.
    group: usize,
    step: usize,
    start: usize,
}

impl<'a> Queue<'a> {
    /// The queue behind its first leaf, and that leaf.
    ///
    /// # Safety
    /// As for [`drain_leaves`](Cells::drain_leaves).
    #[inline]
    unsafe fn new(cells: Cells<'a>, shift: u8, ready: usize, first: usize) -> (Self, Option<Leaf>) {
        let group = (first / LEAF) >> shift;
        let mut queue = Self {
            cells,
            shift,
            groups: rotated(ready, group),
            lowest: group,
            group,
            step: 1,
            start: 0,
        };
        if queue.groups & 1 != 0 {
            let from = first % LEAF;
            // SAFETY: of a group whose bit was taken from the gate.
            let bits = unsafe { cells.take_leaf(first / LEAF) };
            let behind = bits & !below(from);
            if behind != 0 {
                queue.groups &= !1;
                queue.start = first / LEAF;
                return (queue, Leaf::new(first / LEAF, behind | (bits ^ behind) << LEAF));
            }
            // SAFETY: the same.
            if let Some(leaf) = unsafe { elsewhere(cells, shift, first / LEAF, bits) } {
                queue.start = leaf;
            } else {
                queue.lowest = group.wrapping_add(1);
                queue.groups = queue.groups.rotate_right(1);
            }
        }
        queue.step = 0;
        let leaf = queue.next();
        (queue, leaf)
    }

    #[inline]
    fn next(&mut self) -> Option<Leaf> {
        let within = below(self.shift.into());
        loop {
            if self.step & within == 0 {
                if self.groups == 0 {
                    return None;
                }
                self.group = place(self.groups, self.lowest);
                self.groups &= self.groups.wrapping_sub(1);
            }
            let leaf = self.group << self.shift | self.start.wrapping_add(self.step) & within;
            self.step = self.step.wrapping_add(1);
            // SAFETY: of a group whose bit was taken from the gate.
            let leaf = Leaf::new(leaf, unsafe { self.cells.take_leaf(leaf) });
            if leaf.is_some() {
                return leaf;
            }
        }
    }
}

/// Of this leaf only `bits` are ready, all of them before the place where the turn begins, so they come last. With
/// which leaf of the group to begin, if with any.
///
/// # Safety
/// The group has a bit in the gate that was taken, and `bits` were taken from the leaf.
#[cold]
#[inline(never)]
unsafe fn elsewhere(cells: Cells<'_>, shift: u8, leaf: usize, bits: usize) -> Option<usize> {
    // SAFETY: passed on.
    unsafe { cells.put_back(leaf, bits) };
    let end = (leaf >> shift).wrapping_add(1) << shift;
    // SAFETY: passed on; `end` is that of the group.
    (leaf.wrapping_add(1)..end).find(|leaf| unsafe { cells.is_leaf_ready(*leaf) })
}

/// Children of one leaf that are ready, one at least.
#[derive(Clone, Copy)]
struct Leaf {
    base: usize,
    /// Of one leaf in the lower half of the word, and behind them in the upper those that come later.
    bits: usize,
}

impl Leaf {
    #[inline]
    fn new(leaf: usize, bits: usize) -> Option<Self> {
        let base = leaf.wrapping_mul(LEAF);
        (bits != 0).then_some(Self { base, bits })
    }

    #[inline]
    fn index(self) -> usize {
        self.base | self.bits.trailing_zeros() as usize & LEAF.wrapping_sub(1)
    }
}

/// With bit `lowest` as the lowest.
#[inline]
#[allow(clippy::cast_possible_truncation)] // It is less than a word has bits.
const fn rotated(bits: usize, lowest: usize) -> usize {
    bits.rotate_right(lowest as u32)
}

/// Where the lowest bit of `rotated` was.
#[inline]
const fn place(rotated: usize, lowest: usize) -> usize {
    lowest.wrapping_add(rotated.trailing_zeros() as usize)
        & (usize::MAX.count_ones() as usize).wrapping_sub(1)
}

/// Sets every child ready when dropped.
struct SetAll<'a>(Cells<'a>);

impl Drop for SetAll<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.set_all();
    }
}
