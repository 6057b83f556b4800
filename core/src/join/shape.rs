//! How the children of one join are laid out on a gate: a bit each, or in leaves. Nothing here is memory.

use core::task::RawWakerVTable;

use super::MAX_CHILDREN;
use super::gate::Gate;

/// How many children there are, and what a gate bit stands for.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    children: u16,
    shift: u8,
}

impl Shape {
    pub(super) const fn new(children: usize) -> Self {
        let mut shift = 0_u8;
        while children.div_ceil(LEAF) > Gate::WIDTH << shift {
            shift = shift.wrapping_add(1);
        }
        Self {
            children: saturated(children),
            shift,
        }
    }

    #[inline]
    pub(super) const fn children(self) -> usize {
        self.children as usize
    }

    /// A gate bit stands for `1 << shift` leaves.
    #[inline]
    pub(super) const fn shift(self) -> u8 {
        self.shift
    }

    /// Whether a gate bit stands for one child, and there are no leaves.
    #[inline]
    pub(super) const fn is_narrow(self) -> bool {
        self.children() <= Gate::WIDTH
    }

    /// How many bits of the gate stand for something.
    pub(super) const fn groups(self) -> usize {
        if self.is_narrow() {
            return self.children();
        }
        self.children().div_ceil(LEAF).div_ceil(1 << self.shift)
    }
}

/// Of wakers of cells without leaves, and with.
///
/// They are constants and not statics, and clone inline, so that clones can be compiled into the poll that lends the
/// waker. A constant may have copies, which `will_wake` tells apart: a child that sees two clones once more.
pub(super) struct Vtables {
    pub(super) narrow: RawWakerVTable,
    pub(super) wide: RawWakerVTable,
}

impl Vtables {
    #[inline]
    pub(super) const fn of(&'static self, wide: bool) -> &'static RawWakerVTable {
        if wide { &self.wide } else { &self.narrow }
    }
}

#[allow(clippy::cast_possible_truncation)] // Compared first.
pub(super) const fn saturated(children: usize) -> u16 {
    if children < MAX_CHILDREN {
        children as u16
    } else {
        MAX_CHILDREN as u16
    }
}

/// Half a word.
#[cfg(target_pointer_width = "64")]
pub(super) type Half = u32;
#[cfg(target_pointer_width = "32")]
pub(super) type Half = u16;
#[cfg(target_pointer_width = "16")]
pub(super) type Half = u8;

/// The lower half.
#[inline]
#[allow(clippy::cast_possible_truncation)] // That is what it does.
pub(super) const fn half(word: usize) -> Half {
    word as Half
}

/// Children to a leaf.
pub(super) const LEAF: usize = Half::BITS as usize;

// In no shape does the last group reach beyond the cells: each leaf of a group has a cell.
#[allow(clippy::arithmetic_side_effects)] // Evaluated by the compiler.
const _: () = {
    let mut children = Gate::WIDTH + 1;
    while children <= MAX_CHILDREN {
        let shape = Shape::new(children);
        assert!(shape.groups() <= Gate::WIDTH && shape.groups() << shape.shift <= children);
        children += 1;
    }
};
