//! Hints to backstops, without an allocator: a count of rings, and a few wakers.

use core::task::{Poll, Waker};

use heapless::Vec;

/// So many listeners wait at no cost to each other; one more wakes them all, which is a hint too many.
const LISTENERS: usize = 2;

/// Lives inside the store's mutex.
#[derive(Debug)]
pub(crate) struct Bell {
    rings: u32,
    waiting: Vec<Waker, LISTENERS>,
}

/// Whom to wake, once the mutex is released: waking runs other people's code.
pub(crate) type Waiting = Vec<Waker, LISTENERS>;

impl Bell {
    pub(crate) const fn new() -> Self {
        Self {
            rings: 0,
            waiting: Vec::new(),
        }
    }

    pub(crate) const fn rings(&self) -> u32 {
        self.rings
    }

    pub(crate) fn ring(&mut self) -> Waiting {
        self.rings = self.rings.wrapping_add(1);
        core::mem::take(&mut self.waiting)
    }

    /// Whether it rang since `seen`; otherwise `waker` is woken when it does. Hands out who has to make room.
    pub(crate) fn poll(&mut self, seen: &mut u32, waker: &Waker) -> (Poll<()>, Waiting) {
        if *seen != self.rings {
            *seen = self.rings;
            return (Poll::Ready(()), Vec::new());
        }
        if self.waiting.iter().any(|known| known.will_wake(waker)) {
            return (Poll::Pending, Vec::new());
        }
        let crowd = if self.waiting.is_full() {
            core::mem::take(&mut self.waiting)
        } else {
            Vec::new()
        };
        let _ = self.waiting.push(waker.clone());
        (Poll::Pending, crowd)
    }
}
