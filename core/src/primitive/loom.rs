//! Loom's primitives in the shape of those that core uses: made in constants, known to loom from their first
//! use on. Only for tests under `--cfg loom`.
//!
//! A test can plant a bug here that the code under test cannot see: see [`plant`].
#![allow(
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::unnecessary_wraps
)]

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc as PlainArc;
use alloc::task::Wake;
use core::cell::Cell;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::pin::Pin;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{self, Relaxed};
use core::task::{Context, Poll};
use std::sync::{LockResult, OnceLock, PoisonError};
use std::{println, thread_local};

use ::loom::sync::Notify;

pub(crate) use ::loom::alloc::{alloc, dealloc};
pub(crate) use ::loom::sync::Arc;

/// What is wrong with the atomics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Planted {
    #[default]
    Nothing,
    /// They order nothing.
    Relaxed,
    /// Who adds bits to a word does not see that these are set.
    UnseenByOr(usize),
    /// Who subtracts from a word does not see that these bits are set.
    UnseenBySub(usize),
}

thread_local! {
    static PLANTED: Cell<Planted> = const { Cell::new(Planted::Nothing) };
}

/// Runs a model with a bug in the atomics. Loom runs all threads of a model on the thread that calls it.
pub(crate) fn plant(planted: Planted, model: impl FnOnce()) {
    PLANTED.set(planted);
    model();
    PLANTED.set(Planted::Nothing);
}

/// Goes through the schedules of `model` and prints how many there were. `switches` bounds how often a thread is
/// stopped where it could go on.
pub(crate) fn explore(name: &str, switches: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let schedules = PlainArc::new(AtomicU64::new(0));
    let seen = schedules.clone();
    let mut builder = ::loom::model::Builder::new();
    builder.preemption_bound = switches;
    builder.check(move || {
        seen.fetch_add(1, Relaxed);
        model();
    });
    let schedules = schedules.load(Relaxed);
    let bound = switches.map_or_else(|| "any number of".to_string(), |bound| bound.to_string());
    println!("{name}: {schedules} schedules, {bound} preemptions");
    assert!(schedules > 1, "nothing ran at the same time");
}

/// An ordering, unless none is to be had.
fn order(wanted: Ordering) -> Ordering {
    match PLANTED.get() {
        Planted::Relaxed => Relaxed,
        Planted::Nothing | Planted::UnseenByOr(_) | Planted::UnseenBySub(_) => wanted,
    }
}

/// A task: only the one that polled last has to be woken.
pub(crate) struct Task(Notify);

impl Wake for Task {
    fn wake(self: PlainArc<Self>) {
        self.0.notify();
    }
}

pub(crate) fn task() -> PlainArc<Task> {
    PlainArc::new(Task(Notify::new()))
}

pub(crate) fn poll<F: Future>(future: Pin<&mut F>, task: &PlainArc<Task>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&task.clone().into()))
}

/// Polls when woken, and only then; each time from the next of these tasks, and then from the last.
pub(crate) fn drive<F: Future>(mut future: Pin<&mut F>, tasks: &[PlainArc<Task>]) -> F::Output {
    let mut at = 0;
    loop {
        if let Poll::Ready(output) = poll(future.as_mut(), &tasks[at]) {
            return output;
        }
        tasks[at].0.wait();
        // A task that woke itself lets others go on.
        ::loom::thread::yield_now();
        at = tasks.len().min(at + 2) - 1;
    }
}

/// Runs one future to its end. It is not dropped when loom reports a failure: loom is gone then.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = ManuallyDrop::new(Box::pin(future));
    let output = drive(future.as_mut(), &[task()]);
    drop(ManuallyDrop::into_inner(future));
    output
}

macro_rules! atomic {
    ($name:ident: $value:ty) => {
        #[derive(Debug)]
        pub(crate) struct $name {
            initial: $value,
            // Loom's atomics own nothing; without a destructor they can be replaced in constants.
            inner: ManuallyDrop<OnceLock<::loom::sync::atomic::$name>>,
        }

        impl Default for $name {
            /// Known to loom at once: what two threads use first must have been made before both.
            fn default() -> Self {
                let made = Self::new(<$value>::default());
                made.inner();
                made
            }
        }

        #[allow(dead_code, reason = "what the smallest of them does not use")]
        impl $name {
            pub(crate) const fn new(initial: $value) -> Self {
                Self {
                    initial,
                    inner: ManuallyDrop::new(OnceLock::new()),
                }
            }
            fn inner(&self) -> &::loom::sync::atomic::$name {
                self.inner
                    .get_or_init(|| ::loom::sync::atomic::$name::new(self.initial))
            }
            pub(crate) fn load(&self, wanted: Ordering) -> $value {
                self.inner().load(order(wanted))
            }
            pub(crate) fn store(&self, value: $value, wanted: Ordering) {
                self.inner().store(value, order(wanted));
            }
            pub(crate) fn swap(&self, value: $value, wanted: Ordering) -> $value {
                self.inner().swap(value, order(wanted))
            }
        }
    };
}

macro_rules! integer {
    ($name:ident: $value:ty) => {
        atomic!($name: $value);

        #[allow(dead_code, reason = "what the smallest of them does not use")]
        impl $name {
            pub(crate) fn fetch_add(&self, value: $value, wanted: Ordering) -> $value {
                self.inner().fetch_add(value, order(wanted))
            }
            pub(crate) fn fetch_sub(&self, value: $value, wanted: Ordering) -> $value {
                let before = self.inner().fetch_sub(value, order(wanted));
                match PLANTED.get() {
                    Planted::UnseenBySub(bits) => before & !(bits as $value),
                    _ => before,
                }
            }
            pub(crate) fn fetch_or(&self, value: $value, wanted: Ordering) -> $value {
                let before = self.inner().fetch_or(value, order(wanted));
                match PLANTED.get() {
                    Planted::UnseenByOr(bits) => before & !(bits as $value),
                    _ => before,
                }
            }
        }
    };
}

/// Loom runs on machines of 64 bits.
pub(crate) type AtomicHalf = AtomicU32;

atomic!(AtomicBool: bool);
integer!(AtomicU32: u32);
integer!(AtomicUsize: usize);

impl AtomicUsize {
    /// Loom's never fails without a reason; callers loop anyway.
    pub(crate) fn compare_exchange_weak(
        &self,
        from: usize,
        to: usize,
        success: Ordering,
        failure: Ordering,
    ) -> Result<usize, usize> {
        self.inner()
            .compare_exchange_weak(from, to, order(success), order(failure))
    }
}

/// A cell whose every access loom compares with all others.
#[derive(Debug)]
pub(crate) struct UnsafeCell<T> {
    accesses: OnceLock<::loom::cell::UnsafeCell<()>>,
    value: core::cell::UnsafeCell<T>,
}

impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            accesses: OnceLock::new(),
            value: core::cell::UnsafeCell::new(value),
        }
    }

    pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        self.accesses().with(|_| read(self.value.get()))
    }

    pub(crate) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        self.accesses().with_mut(|_| write(self.value.get()))
    }

    fn accesses(&self) -> &::loom::cell::UnsafeCell<()> {
        self.accesses.get_or_init(|| ::loom::cell::UnsafeCell::new(()))
    }
}

/// Loom decides whose turn it is; the other lock is free then, and holds the value.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T> {
    turn: OnceLock<::loom::sync::Mutex<()>>,
    value: std::sync::Mutex<T>,
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            turn: OnceLock::new(),
            value: std::sync::Mutex::new(value),
        }
    }

    pub(crate) fn lock(&self) -> LockResult<Guard<'_, T>> {
        let turn = self.turn.get_or_init(|| ::loom::sync::Mutex::new(())).lock();
        Ok(Guard {
            value: self.value.lock().unwrap_or_else(PoisonError::into_inner),
            _turn: turn.unwrap_or_else(PoisonError::into_inner),
        })
    }
}

/// Drops the value's lock first, then gives up the turn.
pub(crate) struct Guard<'a, T> {
    value: std::sync::MutexGuard<'a, T>,
    _turn: ::loom::sync::MutexGuard<'a, ()>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}
