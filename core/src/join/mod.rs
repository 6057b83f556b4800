//! Running a fixed set of futures on one task, each with a waker of its own. Nothing here spawns or keeps
//! time.
//!
//! [`TryJoin`] drives an array, `JoinVec` a set whose size is known at run time. Both poll only the
//! children that were woken, each at most once a turn, and begin each turn behind the child that was first in
//! the turn before. The first error does not drop the others: they are told to stop and are polled on until
//! they have stopped, because a future dropped between two awaits may leave a message half handled.
//!
//! What the children's wakers write to is the caller's choice:
//!
//! | wakes           | allocations | a wake polls     | needs                                             |
//! |-----------------|-------------|------------------|---------------------------------------------------|
//! | [`StaticWakes`] | 0           | the woken child  | a `static` [`WakeSet`], for one join at a time    |
//! | `SharedWakes`   | 1           | the woken child  | feature `alloc`                                   |
//! | [`Plain`]       | 0           | all the children | nothing; right for two or three children          |
//!
//! No wake allocates, in any of them. The waker of the task that polls the join is cloned once and again only
//! when the join moves to another task.
//!
//! ```
//! use core::{cell::Cell, future::poll_fn, task::Poll};
//! use postbox::join::{Plain, TryJoin, yield_now};
//!
//! # fn block_on<F: Future>(future: F) -> F::Output {
//! #     let mut future = core::pin::pin!(future);
//! #     let mut cx = core::task::Context::from_waker(core::task::Waker::noop());
//! #     loop { if let Poll::Ready(out) = future.as_mut().poll(&mut cx) { return out; } }
//! # }
//! let (stop, drained) = (Cell::new(false), Cell::new(false));
//! let (stop, drained) = (&stop, &drained);
//! let consume = |fails: bool| async move {
//!     while !stop.get() {
//!         if fails {
//!             return Err("the broker said no");
//!         }
//!         yield_now().await;
//!     }
//!     drained.set(true);
//!     Ok(())
//! };
//! let join = TryJoin::new([consume(false), consume(true)], Plain, |_| stop.set(true));
//! assert_eq!(block_on(join), Err("the broker said no"));
//! assert!(drained.get());
//! ```

mod bits;
mod cells;
mod gate;
mod parent;
mod queue;
mod race;
#[cfg(all(test, loom))]
mod schedules;
mod shape;
mod try_join;
mod turn;
mod wakes;
mod window;
mod yield_now;

#[cfg(feature = "alloc")]
mod shared;
#[cfg(feature = "alloc")]
mod vec;

pub use race::{Either, Race, race};
#[cfg(feature = "alloc")]
pub use shared::SharedWakes;
pub use try_join::TryJoin;
#[cfg(feature = "alloc")]
pub use vec::{JoinVec, TooManyChildren};
pub use wakes::{Plain, StaticWakes, WakeSet, Wakes, WakesInUse};
pub use window::Window;
pub use yield_now::{YieldNow, yield_now};

/// The most children one join may have: 4096.
///
/// An array that is larger does not compile (with wakes of its own), a `JoinVec` that is larger is refused.
/// Many more children than that on one task want tasks of their own.
pub const MAX_CHILDREN: usize = 4096;
