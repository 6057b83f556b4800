//! What core's own synchronisation is made of, picked in one place: portable atomics and the standard library's
//! mutex, or their twins in `primitive/loom.rs` where loom goes through the schedules (see CONTRIBUTING.md).

#[cfg(all(test, loom))]
mod loom;

#[cfg(all(test, loom))]
pub(crate) use self::loom::*;
#[cfg(not(all(test, loom)))]
pub(crate) use self::plain::*;

#[cfg(not(all(test, loom)))]
mod plain {
    #[cfg(feature = "alloc")]
    pub(crate) use alloc::alloc::{alloc, dealloc};
    #[cfg(feature = "alloc")]
    pub(crate) use alloc::sync::Arc;
    #[cfg(feature = "alloc")]
    pub(crate) use portable_atomic::AtomicBool;
    #[cfg(target_pointer_width = "16")]
    pub(crate) use portable_atomic::AtomicU8 as AtomicHalf;
    #[cfg(target_pointer_width = "32")]
    pub(crate) use portable_atomic::AtomicU16 as AtomicHalf;
    #[cfg(target_pointer_width = "64")]
    pub(crate) use portable_atomic::AtomicU32 as AtomicHalf;
    pub(crate) use portable_atomic::AtomicUsize;
    #[cfg(feature = "std")]
    pub(crate) use std::sync::Mutex;

    /// `UnsafeCell` that lends its pointer for a while only, so that overlapping accesses can be noticed.
    pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(core::cell::UnsafeCell::new(value))
        }

        #[inline]
        pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
            read(self.0.get())
        }

        #[inline]
        pub(crate) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
            write(self.0.get())
        }
    }
}
