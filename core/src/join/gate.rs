//! One word of ready bits, and the waker of the task that polls the join. What a bit stands for is not known here.
//!
//! # Why no wake is lost
//!
//! All is decided on one atomic word, so the argument needs only that word's modification order. Call
//! *taking* the poller's step that clears the ready bits. Claim: whenever a ready bit is set, a wake of the
//! parent is still to come or came after the last taking.
//!
//! - [`TAKEN`] says that nobody has announced since the last taking. A setter that finds it, and no [`HELD`],
//!   *announces*: it sets its bit and `HELD` and clears `TAKEN` in one step, then wakes and lets go. The claim
//!   holds, for this bit and for those that are added to it.
//! - A setter that finds no `TAKEN` adds its bit and leaves: who cleared it wakes for both, or has opened the
//!   gate and is to poll first.
//! - A setter that finds `TAKEN` and `HELD` leaves too. If the holder is the poller, which holds only to exchange
//!   the parent, it takes all bits as it lets go. Otherwise the bits were taken while somebody held: the holder
//!   finds `TAKEN` in the step by which it lets go, and *looks again*: if there is a bit it takes the right back,
//!   clearing `TAKEN`, and wakes once more.
//! - A setter that reads no `TAKEN` adds its bit blindly. Where that finds `TAKEN` after all it looks again itself.
//! - Who looks again need do nothing when the bit or `TAKEN` is gone, or somebody holds: the bit was taken, or who
//!   cleared `TAKEN`, or holds, will wake after this, or take all bits.
//! - A poller that cannot exchange the parent because somebody holds wakes its new parent itself, and tries again.
//!
//! The holder, not the poller, does the second look. A poller that woke itself while `HELD` is set would spin
//! for ever above a holder of lower priority on the same core (an interrupt executor over thread mode).
//!
//! Every step that sets or clears bits is `AcqRel`. What a child's waking side wrote before the wake is
//! therefore visible to the poll which that wake causes: later steps on the word continue the release
//! sequence of earlier ones. For the same reason a setter whose bit is set already still writes the word.
//! Letting go only has to say that the parent is no longer read (`Release`).
//!
//! The flags lie so that the frequent paths tell their case by the sign of the word and its lowest bit.
#![allow(unsafe_code)] // The parent's waker sits in an `UnsafeCell`; the rules are at `HELD`.

use core::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use core::task::Waker;

use super::parent::{Known, NOBODY};
use crate::primitive::{AtomicUsize, UnsafeCell};

/// Ready bits and parent. Whoever [opened](Gate::open) it is the *poller* until it closes it.
pub(super) struct Gate {
    word: AtomicUsize,
    /// Wakes nobody while there is none.
    parent: UnsafeCell<Waker>,
}

// SAFETY: `parent` is shared by the rules at `HELD`, and a `Waker` may be used from any thread.
unsafe impl Sync for Gate {}

impl Gate {
    /// How many ready bits there are.
    pub(super) const WIDTH: usize = READY.count_ones() as usize;

    /// A gate that nobody polls yet.
    pub(super) const fn new() -> Self {
        Self {
            word: AtomicUsize::new(FREE),
            parent: UnsafeCell::new(NOBODY),
        }
    }

    /// Become the poller, with these bits set; false when there is one.
    pub(super) fn open(&self, ready: usize) -> bool {
        let mut word = self.word.load(Relaxed);
        while word & NO_POLLER != 0 {
            // A waker of an earlier join may still hold: it will let go by itself.
            let opened = word & HELD | to_word(ready);
            match self.step(word, opened) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Set bits [as they lie in the word](to_word); whether the caller has to [announce](Self::announce) them. Where
    /// there is no poller nobody is woken, and the bits mean nothing to the next.
    #[inline]
    #[must_use]
    pub(super) fn set(&self, bits: usize) -> bool {
        let word = self.word.load(Relaxed);
        if !is_negative(word) {
            // Depends on no value read, and only the sign of the result is asked for: one step, which cannot fail.
            if is_negative(self.word.fetch_or(bits, AcqRel) | bits) {
                self.look_again();
            }
            return false;
        }
        let announces = self.step(TAKEN, bits.wrapping_add(HELD)).is_ok();
        if !announces {
            self.set_contended(bits);
        }
        announces
    }

    /// [`set`](Self::set) from any state of the word.
    #[cold]
    #[inline(never)]
    fn set_contended(&self, bits: usize) {
        let mut word = self.word.load(Relaxed);
        while word & NO_POLLER == 0 {
            let announces = word & (TAKEN | HELD) == TAKEN;
            let rest = if announces { word & !TAKEN | HELD } else { word };
            match self.step(word, rest | bits) {
                // SAFETY: this call set `HELD`.
                Ok(_) if announces => return unsafe { self.announce() },
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// Take all bits, after making sure that `parent` is who will be woken for later ones.
    ///
    /// `known` is the poller's own note which parent it has put here; none at first.
    ///
    /// # Safety
    /// Only the poller may call this, and not from two threads at once.
    #[inline]
    pub(super) unsafe fn take(&self, parent: &Waker, known: &mut Known) -> usize {
        if !known.is(parent) {
            // SAFETY: passed on to the caller.
            return unsafe { self.exchange(parent, known) };
        }
        let word = self.word.load(Relaxed);
        if word & (TAKEN | HELD) == 0 && self.step(word, TAKEN).is_ok() {
            return word >> 1;
        }
        self.take_held()
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
        let parent = unsafe { self.put(NOBODY) };
        // A read and a write in one, so that no step of another thread can come between what it read and this.
        self.word.swap(FREE, AcqRel);
        // Foreign code: it runs when nothing is held.
        drop(parent);
    }

    /// Wake the parent and let go.
    ///
    /// # Safety
    /// The caller has set `HELD`, as [`set`](Self::set) says, and calls this once for each time.
    #[inline]
    pub(super) unsafe fn announce(&self) {
        // SAFETY: the caller has set `HELD`.
        unsafe { self.wake_parent() };
        if is_zero_or_negative(self.word.fetch_sub(HELD, Release)) {
            self.look_again();
        }
    }

    /// The poller took bits, or went, while this thread held or set a bit. It does not hold.
    #[cold]
    #[inline(never)]
    fn look_again(&self) {
        let mut word = self.word.load(Relaxed);
        while word & TAKEN != 0 && word & HELD == 0 {
            let is_free = word & NO_POLLER != 0;
            let next = match (is_free, word & READY == 0) {
                (true, _) => FREE | HELD,
                (false, false) => word & !TAKEN | HELD,
                (false, true) => return,
            };
            if let Err(now) = self.step(word, next) {
                word = now;
                continue;
            }
            // SAFETY: this call set `HELD`. The poller that left its parent is gone, and the next one does not put
            // another here before it has held itself.
            let left = is_free.then(|| unsafe { self.put(NOBODY) });
            if !is_free {
                // SAFETY: this call set `HELD`.
                unsafe { self.wake_parent() };
            }
            let before = self.word.fetch_sub(HELD, Release);
            // Foreign code again: it runs when this call does not hold.
            drop(left);
            if is_free && before & NO_POLLER != 0 {
                return;
            }
            word = self.word.load(Relaxed);
        }
    }

    /// # Safety
    /// The caller has set `HELD`.
    #[inline]
    unsafe fn wake_parent(&self) {
        // SAFETY: passed on: nobody writes it meanwhile.
        self.parent.with(|parent| unsafe { &*parent }.wake_by_ref());
    }

    /// # Safety
    /// The caller has set `HELD`, and is the poller or has found that the poller is gone.
    unsafe fn put(&self, parent: Waker) -> Waker {
        // SAFETY: passed on: nobody else reads or writes it meanwhile.
        self.parent
            .with_mut(|place| core::mem::replace(unsafe { &mut *place }, parent))
    }

    /// Take all bits and leave the parent as it is; also while somebody holds.
    #[cold]
    #[inline(never)]
    fn take_held(&self) -> usize {
        let mut word = self.word.load(Relaxed);
        // With no bit there is nothing to take, and `TAKEN` is set already.
        while word & READY != 0 {
            match self.step(word, word & HELD | TAKEN) {
                Ok(_) => return to_bits(word),
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
    #[inline(never)]
    unsafe fn exchange(&self, parent: &Waker, known: &mut Known) -> usize {
        let fresh = parent.clone();
        let mut word = self.word.load(Relaxed);
        loop {
            if word & HELD != 0 {
                // The old parent is being woken right now: serve the bits, and come back for the exchange.
                parent.wake_by_ref();
                return self.take_held();
            }
            match self.step(word, word | HELD) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        *known = Known::of(&fresh);
        // SAFETY: this call set `HELD`, and the caller says that it is the poller.
        let old = unsafe { self.put(fresh) };
        // Setters that came meanwhile left their bits to this call.
        let word = self.word.swap(TAKEN, AcqRel);
        // Foreign code: it runs when nothing is held.
        drop(old);
        to_bits(word)
    }

    /// One step of the word. It may fail for no reason. Nothing is done on what a failure shows but another step.
    #[inline]
    fn step(&self, from: usize, to: usize) -> Result<usize, usize> {
        self.word.compare_exchange_weak(from, to, AcqRel, Relaxed)
    }
}

/// Bits are below [`Gate::WIDTH`].
#[inline]
pub(super) const fn to_word(bits: usize) -> usize {
    bits << 1
}

#[inline]
const fn to_bits(word: usize) -> usize {
    (word & READY) >> 1
}

/// [`TAKEN`] or [`FREE`].
#[inline]
const fn is_negative(word: usize) -> bool {
    word >= TAKEN
}

/// [`is_negative`] of a word that is not 0: processors tell this from the step that takes [`HELD`] away.
#[inline]
const fn is_zero_or_negative(word: usize) -> bool {
    word == 0 || is_negative(word)
}

/// The right to the parent's waker. Who has set it may read the parent. Who has set it *and* is the poller,
/// or finds that the poller is gone, may write it.
const HELD: usize = 1;
/// The poller took the bits, and nobody has announced since.
pub(super) const TAKEN: usize = 1 << (usize::BITS - 1);
const NO_POLLER: usize = TAKEN >> 1;
/// There is no poller.
const FREE: usize = TAKEN | NO_POLLER;
const READY: usize = !(FREE | HELD);
