//! A process as the schedule sees it: running, dead, or standing still.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use postbox::time::Instant;

/// A process: its program while it runs, or when it starts again.
pub(super) struct Slot {
    pub(super) future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    woken: Arc<Woken>,
    pub(super) waker: Waker,
    pub(super) starts: u32,
    /// Whether it last ended by itself.
    pub(super) ended: bool,
    pub(super) start_at: Option<Instant>,
    pub(super) stalled_until: Option<Instant>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Slot {
    pub(super) fn new(now: Instant) -> Self {
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        Self {
            future: None,
            waker: Waker::from(woken.clone()),
            woken,
            starts: 0,
            ended: false,
            start_at: Some(now),
            stalled_until: None,
        }
    }

    pub(super) fn is_ready(&self, now: Instant) -> bool {
        self.future.is_some()
            && self.stalled_until.is_none_or(|until| until <= now)
            && self.woken.0.load(Ordering::Acquire)
    }

    pub(super) fn set_woken(&self, woken: bool) {
        self.woken.0.store(woken, Ordering::Release);
    }

    /// Whether it has yet to start: after a crash, or as often as the scenario wants.
    pub(super) fn has_to_start(&self, starts: u32) -> bool {
        self.starts < starts || (self.start_at.is_some() && !self.ended)
    }

    /// When something happens to it by the mere passing of time.
    pub(super) fn next(&self) -> Option<Instant> {
        let stalled = self
            .stalled_until
            .filter(|_| self.woken.0.load(Ordering::Acquire));
        self.start_at.into_iter().chain(stalled).min()
    }
}
