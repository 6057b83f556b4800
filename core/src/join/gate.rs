//! One word of ready bits, and behind it the waker of the task that polls the join. What a bit stands for is
//! not known here.
//!
//! # Why no wake is lost
//!
//! All is decided on one atomic word, so the argument needs only that word's modification order. Call
//! *taking* the poller's step that clears the ready bits. Claim: whenever a ready bit is set, a wake of the
//! parent is still to come or came after the last taking.
//!
//! - A setter that finds no ready bit and no [`HELD`] sets its bit and `HELD` in one step, then wakes: the
//!   claim holds.
//! - A setter that finds a ready bit adds its own and leaves: the wake which that bit is owed serves both.
//! - A setter that finds `HELD` and no ready bit leaves too. The bits were taken while somebody held, so the
//!   taking left [`TAKEN`] behind; only the holder clears it, and a holder that finds `TAKEN` and a ready bit
//!   wakes once more before it lets go. If the holder is the poller, which holds only to exchange the parent,
//!   it takes all bits as it lets go.
//! - A poller that cannot exchange the parent because somebody holds wakes its new parent itself, and tries
//!   again then.
//!
//! The holder, not the poller, does the second look. A poller that woke itself while `HELD` is set would spin
//! for ever above a holder of lower priority on the same core (an interrupt executor over thread mode).
//!
//! Every step that sets or clears bits is `AcqRel`. What a child's waking side wrote before the wake is
//! therefore visible to the poll which that wake causes: later steps on the word continue the release
//! sequence of earlier ones. For the same reason a setter whose bit is set already still writes the word.
#![allow(unsafe_code)] // The parent's waker sits in an `UnsafeCell`; the rules are at `HELD`.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use core::task::Waker;

use crate::primitive::{AtomicUsize, UnsafeCell};

/// Ready bits and parent. Whoever [opened](Gate::open) it is the *poller* until it closes it.
pub(super) struct Gate {
    word: AtomicUsize,
    parent: UnsafeCell<Option<Waker>>,
}

// SAFETY: `parent` is shared by the rules at `HELD`, and a `Waker` may be used from any thread.
unsafe impl Sync for Gate {}

impl Gate {
    /// How many ready bits there are.
    pub(super) const WIDTH: usize = FREE.trailing_zeros() as usize;

    /// A gate that nobody polls yet.
    pub(super) const fn new() -> Self {
        Self {
            word: AtomicUsize::new(FREE),
            parent: UnsafeCell::new(None),
        }
    }

    /// Become the poller, with these bits set; false when there is one.
    pub(super) fn open(&self, ready: usize) -> bool {
        let mut word = self.word.load(Relaxed);
        while word & FREE != 0 {
            // A waker of an earlier join may still hold: it will let go by itself.
            let opened = word & HELD | ready & READY;
            match self.step(word, opened) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Set these bits, and wake the parent unless that is under way. Does nothing on a gate without a poller.
    #[inline]
    pub(super) fn set(&self, bits: usize) {
        let mut word = self.word.load(Relaxed);
        loop {
            if word & FREE != 0 {
                return;
            }
            let announces = word & (READY | HELD) == 0;
            let next = if announces { bits | HELD } else { word | bits };
            match self.step(word, next) {
                Ok(_) if announces => return self.announce(next),
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// Take all bits, after making sure that `parent` is who will be woken for later ones.
    ///
    /// `known` is the poller's own note whether it has put a parent here; false at first.
    ///
    /// # Safety
    /// Only the poller may call this, and not from two threads at once.
    #[inline]
    pub(super) unsafe fn take(&self, parent: &Waker, known: &mut bool) -> usize {
        // SAFETY: once the poller has put a parent here, only the poller changes it (second rule at `HELD`).
        let is_same = |known: *const Option<Waker>| {
            unsafe { &*known }
                .as_ref()
                .is_some_and(|known| known.will_wake(parent))
        };
        if *known && self.parent.with(is_same) {
            return self.take_bits();
        }
        // SAFETY: passed on to the caller.
        unsafe { self.exchange(parent, known) }
    }

    /// Stop being the poller; the parent is dropped here or by the waker that is using it right now.
    ///
    /// # Safety
    /// Only the poller may call this, and is no longer the poller then.
    pub(super) unsafe fn close(&self) {
        let mut word = self.word.load(Relaxed);
        loop {
            let held = word & HELD != 0;
            let next = if held { HELD | FREE } else { word | HELD };
            match self.step(word, next) {
                Ok(_) if held => return,
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        // SAFETY: this call set `HELD`.
        let parent = self.parent.with_mut(|parent| unsafe { &mut *parent }.take());
        // Like all other steps a read and a write in one, so that none of another thread can come between what
        // it read and this.
        self.word.swap(FREE, AcqRel);
        // Foreign code: it runs when nothing is held.
        drop(parent);
    }

    /// Wake the parent and let go. `word` is what this call wrote when it set `HELD`.
    #[inline]
    fn announce(&self, word: usize) {
        // SAFETY: this call set `HELD`.
        unsafe { self.wake_parent() };
        if let Err(now) = self.step(word, word & !HELD) {
            self.let_go(now);
        }
    }

    /// Let go of a gate on which something happened during the wake. `HELD` was set by the caller.
    #[cold]
    fn let_go(&self, mut word: usize) {
        // Foreign code again: dropped when nothing is held.
        let mut left = None;
        loop {
            let again = word & TAKEN != 0 && word & READY != 0;
            let next = if again {
                word & !TAKEN
            } else {
                word & !(HELD | TAKEN)
            };
            if word & FREE != 0 && left.is_none() {
                // SAFETY: `HELD` is set by the caller. The poller that left its parent is gone, and the next
                // one does not look before it has held itself.
                left = self.parent.with_mut(|parent| unsafe { &mut *parent }.take());
            }
            match self.step(word, next) {
                Ok(_) if again => {
                    // SAFETY: still held.
                    unsafe { self.wake_parent() };
                    word = self.word.load(Relaxed);
                }
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// # Safety
    /// The caller has set `HELD`.
    #[inline]
    unsafe fn wake_parent(&self) {
        self.parent.with(|parent| {
            // SAFETY: passed on: nobody writes it meanwhile.
            if let Some(parent) = unsafe { &*parent } {
                parent.wake_by_ref();
            }
        });
    }

    /// Take all bits and leave the parent as it is.
    #[inline]
    fn take_bits(&self) -> usize {
        let mut word = self.word.load(Relaxed);
        // With no bit there is nothing to take, and if `HELD` is set then so is `TAKEN`.
        while word & READY != 0 {
            let rest = if word & HELD == 0 { 0 } else { HELD | TAKEN };
            match self.step(word, rest) {
                Ok(_) => return word & READY,
                Err(now) => word = now,
            }
        }
        0
    }

    /// Put another parent here and take all bits.
    ///
    /// # Safety
    /// As for [`take`](Self::take).
    #[cold]
    unsafe fn exchange(&self, parent: &Waker, known: &mut bool) -> usize {
        let mut fresh = Some(parent.clone());
        let mut word = self.word.load(Relaxed);
        loop {
            if word & HELD != 0 {
                // The old parent is being woken right now: serve the bits, and come back for the exchange.
                parent.wake_by_ref();
                return self.take_bits();
            }
            match self.step(word, word | HELD) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        // SAFETY: this call set `HELD`.
        self.parent
            .with_mut(|parent| core::mem::swap(unsafe { &mut *parent }, &mut fresh));
        *known = true;
        // Setters that came meanwhile left their bits to this call. The old parent is dropped after that.
        self.word.swap(0, AcqRel) & READY
    }

    /// One step of the word. It may fail for no reason: callers loop.
    #[inline]
    fn step(&self, from: usize, to: usize) -> Result<usize, usize> {
        self.word.compare_exchange_weak(from, to, AcqRel, Acquire)
    }
}

/// The right to the parent's waker. Who has set it may read the parent. Who has set it *and* is the poller,
/// or finds that the poller is gone, may write it. The poller may read it without the right, once it has
/// itself written it.
const HELD: usize = 1 << (usize::BITS - 1);
/// The poller took the bits while somebody else held.
pub(super) const TAKEN: usize = HELD >> 1;
/// There is no poller.
const FREE: usize = TAKEN >> 1;
const READY: usize = FREE - 1;
