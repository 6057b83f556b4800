//! What the children's wakers write to: static wake state, or none. The state that is counted is in `shared`.
#![allow(unsafe_code)] // Leases of `Cells`: one poller at a time, see `StaticWakes`.

use core::fmt;
use core::ptr::NonNull;
use core::task::{RawWaker, RawWakerVTable, Waker};

use super::MAX_CHILDREN;
use super::cells::{Cell, Cells, Head};

/// The wake state of a join of `N` children: [`Plain`], [`StaticWakes`] or `SharedWakes`.
///
/// Sealed: the three are all there are.
pub trait Wakes<const N: usize>: Drain {}

/// How a turn asks which children were woken.
pub trait Drain {
    /// `visit` each child that is to be polled, at most once, those from `first` on before those before it.
    fn drain(&mut self, first: usize, children: usize, parent: &Waker, visit: impl FnMut(usize, &Waker));
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
    fn drain(&mut self, first: usize, children: usize, parent: &Waker, mut visit: impl FnMut(usize, &Waker)) {
        for index in (first..children).chain(0..first) {
            visit(index, parent);
        }
    }
}

/// Wake state for `N` children in a `static`: a join on it allocates nothing.
///
/// One join at a time uses it, from [`claim`](Self::claim) until that join is dropped. `N` is at most
/// [`MAX_CHILDREN`]; more do not compile. It takes 4 bytes per child and five words.
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
        if self.cells_of().open() {
            Ok(StaticWakes {
                set: self,
                known: false,
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
    set: &'static WakeSet<N>,
    known: bool,
}

impl<const N: usize> Wakes<N> for StaticWakes<N> {}

impl<const N: usize> Drain for StaticWakes<N> {
    #[inline]
    fn drain(&mut self, first: usize, _children: usize, parent: &Waker, visit: impl FnMut(usize, &Waker)) {
        let cells = self.set.cells_of();
        // SAFETY: `claim` opened the set for this value alone, and `&mut self` means one thread. The set is
        // never freed, so wakers need no count.
        unsafe { cells.drain(first, parent, &mut self.known, &UNCOUNTED, visit) };
    }
}

impl<const N: usize> Drop for StaticWakes<N> {
    fn drop(&mut self) {
        // SAFETY: as in `drain`, and this was the last use.
        unsafe { self.set.cells_of().close() };
    }
}

/// The [`WakeSet`] is in use by another join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the wake set is in use by another join")]
pub struct WakesInUse;

/// Wakers of cells that are never freed.
pub(super) static UNCOUNTED: RawWakerVTable =
    RawWakerVTable::new(|data| RawWaker::new(data, &UNCOUNTED), wake, wake, |_| ());

/// # Safety
/// `data` is that of a waker of cells that are never freed.
unsafe fn wake(data: *const ()) {
    // SAFETY: passed on.
    let (cells, index) = unsafe { Cells::of_waker(data) };
    cells.set(index);
}
