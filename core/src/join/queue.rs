//! One turn's ready children, in the order in which they are polled.
//!
//! A turn begins with the first ready child behind the one that was first in the turn before, going round. Without
//! leaves the others follow in the same order. With leaves they follow leaf by leaf: those of the same leaf, of the
//! same group, of the groups behind it.
//!
//! A turn that took a gate bit empties each leaf of that group before it visits the leaf's children, and takes
//! none whose children it visited again: so each child is polled at most once a turn. A leaf that is put back in
//! between is emptied after all, in the same turn; a setter that found it not empty may rely on that.
#![allow(unsafe_code)] // Wakers are lent to the children: see `drain`.

use core::mem::{self, ManuallyDrop};
use core::num::NonZeroUsize;
use core::task::{RawWaker, Waker};

use super::bits::{below, bit};
use super::cells::Cells;
use super::parent::Known;
use super::shape::{LEAF, Shape, Vtables};
use super::wakes::Mark;

impl Cells<'_> {
    /// Take all ready children and `visit` each with its waker. When `visit` unwinds all children are ready again,
    /// so that those not visited lose nothing.
    ///
    /// # Safety
    /// As for [`Gate::take`](super::gate::Gate::take); `shape` is that of the cells, if any; `mark` is new or was last
    /// written by this; and wakers made with `vtables` may be dropped as often as they were cloned by it.
    #[inline]
    pub(super) unsafe fn drain(
        self,
        shape: Option<Shape>,
        mark: &mut Mark,
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
        // Where it is a constant, all that is asked of it is known when this is compiled.
        let (is_fixed, shape) = (shape.is_some(), shape.unwrap_or_else(|| self.shape()));
        let unvisited = SetAll(self);
        let visit = |index| {
            // SAFETY: lent, not owned: the poller outlives this call, and with it the cells.
            let waker =
                unsafe { Waker::from_raw(RawWaker::new(self.data(index), vtables.of(!shape.is_narrow()))) };
            visit(index, &ManuallyDrop::new(waker));
        };
        if shape.is_narrow() {
            drain_gate(ready, mark, visit);
        } else {
            // SAFETY: just taken; and as the caller says.
            unsafe { self.drain_leaves(is_fixed, shape.shift(), ready, mark, visit) };
        }
        mem::forget(unvisited);
    }

    /// # Safety
    /// `ready` was taken from the gate, of which a bit stands for `1 << shift` leaves; `mark` is new or was last
    /// written by this.
    #[inline]
    unsafe fn drain_leaves(
        self,
        is_fixed: bool,
        shift: u8,
        ready: usize,
        mark: &mut Mark,
        mut visit: impl FnMut(usize),
    ) {
        let group = bit(mark.leaf >> shift);
        let (mut left, mut leaf, mut bits) = (ready ^ group, mark.leaf, 0);
        if ready & group != 0 {
            // SAFETY: of a group whose bit was taken from the gate.
            bits = unsafe { self.take_leaf(leaf) };
        }
        let behind = bits & mark.behind;
        if behind == 0 {
            // SAFETY: the same.
            (left, leaf, bits) = unsafe { self.elsewhere(shift, ready, leaf, bits) };
            if bits == 0 {
                // A setter was slower at the gate than the turn before was at its leaf.
                return;
            }
            mark.leaf = leaf;
            mark.behind = behind_lowest(bits);
        } else {
            mark.behind = behind_lowest(behind);
            // In the lower half those behind, in the upper those that come when the turn has gone round.
            bits = behind | (bits ^ behind) << LEAF;
        }
        // Any will do where each group is one leaf, but to find that out as it runs costs more than to keep it.
        let start = if is_fixed && shift == 0 { 0 } else { leaf };
        while let Some(some) = NonZeroUsize::new(bits) {
            let base = leaf.wrapping_mul(LEAF);
            each_of(some, |place| visit(base | place & LEAF.wrapping_sub(1)));
            if left | usize::from(shift) == 0 {
                return;
            }
            // SAFETY: the same.
            (left, leaf, bits) = unsafe { self.next_leaf(shift, left, base, start) };
        }
    }

    /// With which leaf to begin when nothing in `leaf` is ready but `before`, which comes last.
    ///
    /// # Safety
    /// `ready` was taken from the gate, and `before` from that leaf.
    #[cold]
    #[inline(never)]
    unsafe fn elsewhere(self, shift: u8, ready: usize, leaf: usize, before: usize) -> NextLeaf {
        let last = leaf | below(shift.into());
        let group = bit(leaf >> shift);
        if ready & group != 0 {
            if before != 0 {
                // SAFETY: passed on.
                unsafe { self.put_back(leaf, before) };
            }
            for index in leaf.wrapping_add(1)..=last {
                // SAFETY: of a group whose bit was taken from the gate.
                let bits = unsafe { self.take_leaf(index) };
                if bits != 0 {
                    return (ready ^ group, index, bits);
                }
            }
        }
        // SAFETY: passed on.
        unsafe { self.next_leaf(shift, ready, last.wrapping_mul(LEAF), 0) }
    }

    /// The next leaf of which children are ready, behind the one whose first child is `base`. A group is gone round
    /// beginning with the leaf that has the place of `start` in it.
    ///
    /// # Safety
    /// `groups` were taken from the gate, and the group of that leaf was too, unless it is the last of its group and
    /// `start` is 0.
    #[inline(never)]
    unsafe fn next_leaf(self, shift: u8, mut groups: usize, base: usize, start: usize) -> NextLeaf {
        let mut leaf = base / LEAF;
        let within = below(shift.into());
        loop {
            let group = leaf >> shift;
            leaf = leaf & !within | leaf.wrapping_add(1) & within;
            if (leaf ^ start) & within == 0 {
                if groups == 0 {
                    return (0, leaf, 0);
                }
                let behind = groups & !below(group.wrapping_add(1));
                let group = if behind == 0 { groups } else { behind }.trailing_zeros() as usize;
                groups ^= bit(group);
                leaf = group << shift | start & within;
            }
            // SAFETY: of a group whose bit was taken from the gate.
            let bits = unsafe { self.take_leaf(leaf) };
            if bits != 0 {
                return (groups, leaf, bits);
            }
        }
    }
}

#[inline]
fn drain_gate(ready: usize, mark: &mut Mark, mut visit: impl FnMut(usize)) {
    let behind = ready & mark.behind;
    let mut bits = if behind == 0 { ready } else { behind };
    let mut before = ready ^ bits;
    mark.behind = behind_lowest(bits);
    while let Some(some) = NonZeroUsize::new(bits) {
        each_of(some, &mut visit);
        bits = mem::take(&mut before);
    }
}

#[inline]
fn each_of(mut bits: NonZeroUsize, mut visit: impl FnMut(usize)) {
    loop {
        visit(bits.trailing_zeros() as usize);
        let Some(rest) = NonZeroUsize::new(bits.get() & bits.get().wrapping_sub(1)) else {
            return;
        };
        bits = rest;
    }
}

/// All places behind the lowest bit that is set.
#[inline]
const fn behind_lowest(bits: usize) -> usize {
    !(bits ^ bits.wrapping_sub(1))
}

/// Which groups are left behind a leaf, that leaf, and which of its children are ready: none at the end.
type NextLeaf = (usize, usize, usize);

/// Sets every child ready when dropped.
struct SetAll<'a>(Cells<'a>);

impl Drop for SetAll<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.set_all();
    }
}
