//! Shared state without an executor: a mutex that is only held between awaits, and a bell for waiters.

use core::fmt;
use core::sync::atomic::Ordering;

use event_listener::Event;

use crate::primitive::{Arc, AtomicBool, AtomicUsize};
use crate::wakeup::Wakeup;

/// A mutex for short, await-free sections: the operating system's with `std`, a critical section without.
///
/// A panic inside does not poison it: what is guarded must be left sound at every step.
pub struct Mutex<T> {
    #[cfg(feature = "std")]
    inner: crate::primitive::Mutex<T>,
    #[cfg(not(feature = "std"))]
    inner: critical_section::Mutex<core::cell::RefCell<T>>,
}

impl<T> Mutex<T> {
    /// Guards `value`.
    pub const fn new(value: T) -> Self {
        Self {
            #[cfg(feature = "std")]
            inner: crate::primitive::Mutex::new(value),
            #[cfg(not(feature = "std"))]
            inner: critical_section::Mutex::new(core::cell::RefCell::new(value)),
        }
    }

    /// Runs `work` alone. Not reentrant.
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        #[cfg(feature = "std")]
        return work(
            &mut self
                .inner
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        #[cfg(not(feature = "std"))]
        return critical_section::with(|section| work(&mut self.inner.borrow_ref_mut(section)));
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

/// A bell: every [`Watch`] hears each ring that came since it last listened, once.
///
/// ```
/// use postbox::{sync::Bell, wakeup::Wakeup};
/// # use std::{future::Future, pin::pin, task::{Context, Waker}};
///
/// let bell = Bell::new();
/// let mut watch = bell.watch();
/// bell.ring();
/// bell.ring();
/// # let mut cx = Context::from_waker(Waker::noop());
/// assert!(pin!(watch.wait()).poll(&mut cx).is_ready()); // both rings at once
/// assert!(pin!(watch.wait()).poll(&mut cx).is_pending());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<Rings>);

#[derive(Debug, Default)]
struct Rings {
    count: AtomicUsize,
    event: Event,
}

impl Bell {
    /// A bell that nobody has rung.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes every watch.
    pub fn ring(&self) {
        self.0.count.fetch_add(1, Ordering::Release);
        self.0.event.notify(usize::MAX);
    }

    /// A watch that has heard everything up to now.
    pub fn watch(&self) -> Watch {
        Watch {
            seen: self.0.count.load(Ordering::Acquire),
            bell: self.clone(),
        }
    }
}

/// Listens to a [`Bell`].
#[derive(Clone, Debug)]
pub struct Watch {
    bell: Bell,
    seen: usize,
}

impl Wakeup for Watch {
    async fn wait(&mut self) {
        let rings = &self.bell.0;
        loop {
            let count = rings.count.load(Ordering::Acquire);
            if count != self.seen {
                self.seen = count;
                return;
            }
            let listener = rings.event.listen();
            // A ring between the look and the listening would be missed: look again.
            if rings.count.load(Ordering::Acquire) == self.seen {
                listener.await;
            }
        }
    }
}

/// Asks several futures to stop: set once, seen by all.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<StopState>);

#[derive(Debug, Default)]
struct StopState {
    set: AtomicBool,
    event: Event,
}

impl Stop {
    /// Nobody has been asked to stop.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks.
    pub fn set(&self) {
        self.0.set.store(true, Ordering::Release);
        self.0.event.notify(usize::MAX);
    }

    /// Whether it was asked.
    pub fn is_set(&self) -> bool {
        self.0.set.load(Ordering::Acquire)
    }

    /// Resolves when asked.
    pub async fn wait(&self) {
        while !self.is_set() {
            let listener = self.0.event.listen();
            if !self.is_set() {
                listener.await;
            }
        }
    }
}

#[cfg(all(test, loom))]
mod schedules;
