//! What the children's wakers write to: static wake state, or none. The state that is counted is in `shared`.
#![allow(unsafe_code)] // Leases of `Cells`: one poller at a time, see `StaticWakes`.

use core::fmt;
use core::ptr::NonNull;
use core::task::{RawWaker, RawWakerVTable, Waker};

use super::MAX_CHILDREN;
use super::cells::{Cell, Cells, Head};
use super::parent::Known;
use super::shape::{Shape, Vtables};

/// The wake state of a join of `N` children: [`Plain`], [`StaticWakes`] or `SharedWakes`.
///
/// Sealed: the three are all there are.
pub trait Wakes<const N: usize>: Drain {}

/// How a turn asks which children were woken.
pub trait Drain {
    /// `visit` each child that is to be polled, at most once, beginning with the first of them behind the one
    /// that was visited first when `mark` was written.
    ///
    /// # Safety
    /// `children` is how many this was made for, and `mark` is new or was last written by this.
    unsafe fn drain(
        &mut self,
        mark: &mut Mark,
        children: usize,
        parent: &Waker,
        visit: impl FnMut(usize, &Waker),
    );
}

/// Behind which child a turn is to begin. What a leaf is depends on the wakes.
#[derive(Debug)]
pub struct Mark {
    pub(super) leaf: usize,
    /// The places in that leaf behind the child, as bits.
    pub(super) behind: usize,
}

impl Mark {
    /// Before all.
    pub(super) const NEW: Self = Self {
        leaf: 0,
        behind: usize::MAX,
    };
}

/// No wake state: any wake polls every child, with the waker of the task itself.
///
/// Needs neither a `static` nor an allocator. A turn costs as much as the polls of all children, so it is
/// right for two or three of them and wrong for many.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl<const N: usize> Wakes<N> for Plain {}

impl Drain for Plain {
    #[inline]
    unsafe fn drain(
        &mut self,
        // A child is a leaf here, and its place is behind the one that was first.
        Mark { leaf: first, .. }: &mut Mark,
        children: usize,
        parent: &Waker,
        mut visit: impl FnMut(usize, &Waker),
    ) {
        let mut index = if *first < children { *first } else { 0 };
        *first = index.wrapping_add(1);
        for _ in 0..children {
            visit(index, parent);
            index = index.wrapping_add(1);
            if index == children {
                index = 0;
            }
        }
    }
}

/// Wake state for `N` children in a `static`: a join on it allocates nothing.
///
/// One join at a time uses it, from [`claim`](Self::claim) until that join is dropped. `N` is at most
/// [`MAX_CHILDREN`]; more do not compile. It takes a word per child and five words.
///
/// ```
/// use postbox::join::{TryJoin, WakeSet};
///
/// static WAKES: WakeSet<2> = WakeSet::new();
///
/// async fn consume(kind: &str) -> Result<(), String> {
///     Err(format!("no {kind} today"))
/// }
///
/// # fn main() -> Result<(), postbox::join::WakesInUse> {
/// let join = TryJoin::new([consume("commands"), consume("events")], WAKES.claim()?, |_| ());
/// assert!(WAKES.claim().is_err());
/// drop(join);
/// assert!(WAKES.claim().is_ok());
/// # Ok(())
/// # }
/// ```
#[repr(C)]
pub struct WakeSet<const N: usize> {
    head: Head,
    cells: [Cell; N],
}

impl<const N: usize> WakeSet<N> {
    /// Wake state that no join uses.
    // Evaluated by the compiler where it matters: it is right or does not compile.
    #[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
    pub const fn new() -> Self {
        const { assert!(N <= MAX_CHILDREN, "a join has at most 4096 children") };
        let mut cells = [const { Cell::new(0) }; N];
        let mut index = 0;
        while index < N {
            cells[index] = Cell::new(index);
            index += 1;
        }
        Self {
            head: Head::new(N),
            cells,
        }
    }

    /// Take it for one join.
    ///
    /// # Errors
    /// [`WakesInUse`] when another join, or another claim, still has it.
    pub fn claim(&'static self) -> Result<StaticWakes<N>, WakesInUse> {
        let cells = self.cells_of();
        if cells.open() {
            Ok(StaticWakes {
                cells,
                known: Known::default(),
            })
        } else {
            Err(WakesInUse)
        }
    }

    fn cells_of(&'static self) -> Cells<'static> {
        // SAFETY: `repr(C)`, and `Cell` needs no more alignment than `Head`: the `N` cells follow the head
        // directly.
        unsafe { Cells::new(NonNull::from(self).cast()) }
    }
}

impl<const N: usize> Default for WakeSet<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Debug for WakeSet<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WakeSet")
            .field("children", &self.cells.len())
            .finish_non_exhaustive()
    }
}

/// The right to use a [`WakeSet`], given back when this, or the join that has it, is dropped.
///
/// Wakers that outlive the join stay valid. While no join uses the set they do nothing; once another does,
/// they cause a poll that child did not need.
#[derive(Debug)]
pub struct StaticWakes<const N: usize> {
    cells: Cells<'static>,
    known: Known,
}

impl<const N: usize> Wakes<N> for StaticWakes<N> {}

impl<const N: usize> Drain for StaticWakes<N> {
    #[inline]
    unsafe fn drain(&mut self, mark: &mut Mark, _: usize, parent: &Waker, visit: impl FnMut(usize, &Waker)) {
        let (cells, shape) = (self.cells, const { Some(Shape::new(N)) });
        // SAFETY: `claim` opened the set for this value alone, and `&mut self` means one thread. The set was
        // made for `N`, and is never freed, so wakers need no count. As to `mark`, as the caller says.
        unsafe { cells.drain(shape, mark, parent, &mut self.known, UNCOUNTED, visit) };
    }
}

impl<const N: usize> Drop for StaticWakes<N> {
    fn drop(&mut self) {
        // SAFETY: as in `drain`, and this was the last use.
        unsafe { self.cells.close() };
    }
}

/// The [`WakeSet`] is in use by another join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the wake set is in use by another join")]
pub struct WakesInUse;

/// Wakers of cells that are never freed. See [`Vtables`].
pub(super) const UNCOUNTED: &Vtables = &Vtables {
    narrow: RawWakerVTable::new(clone::<false>, wake::<false>, wake::<false>, |_| ()),
    wide: RawWakerVTable::new(clone::<true>, wake::<true>, wake::<true>, |_| ()),
};

#[inline]
fn clone<const WIDE: bool>(data: *const ()) -> RawWaker {
    RawWaker::new(data, UNCOUNTED.of(WIDE))
}

/// # Safety
/// `data` is that of a waker of cells that are never freed, and have leaves if `WIDE`.
unsafe fn wake<const WIDE: bool>(data: *const ()) {
    // SAFETY: passed on; it is announced when `set` says so.
    unsafe {
        let (cells, announces) = Cells::set::<WIDE>(data);
        if announces {
            cells.announce();
        }
    }
}
