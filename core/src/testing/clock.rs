//! Virtual time: a clock that stands still until it is moved, and a runner that jumps to the next deadline.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use portable_atomic::{AtomicBool, Ordering};

use crate::runtime::Timer;
use crate::sync::Mutex;
use crate::time::{Clock, Instant};

/// A clock and timer whose time moves only by [`advance`](Self::advance) or by [`run`]. Clones share it.
///
/// ```
/// use std::time::Duration;
/// use postbox::{runtime::Timer, testing::{VirtualClock, run}, time::Clock};
///
/// let clock = VirtualClock::new();
/// let start = clock.now();
/// run(&clock, async {
///     clock.sleep_until(start + Duration::from_secs(3600)).await; // takes no time
/// })?;
/// assert_eq!(clock.now().since(start), Duration::from_secs(3600));
/// # Ok::<(), postbox::testing::Stalled>(())
/// ```
#[derive(Clone, Debug)]
pub struct VirtualClock(Arc<Mutex<Timeline>>);

#[derive(Debug)]
struct Timeline {
    now: Instant,
    next_sleeper: u64,
    sleepers: BTreeMap<(Instant, u64), Waker>,
}

impl VirtualClock {
    /// A clock at an arbitrary time, a good while after its epoch.
    pub fn new() -> Self {
        Self::at(Instant::from_millis(1_000_000_000))
    }

    /// A clock at this time.
    pub fn at(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(Timeline {
            now,
            next_sleeper: 0,
            sleepers: BTreeMap::new(),
        })))
    }

    /// Moves time on and wakes whoever slept until then.
    pub fn advance(&self, by: Duration) {
        let until = self.now() + by;
        self.move_to(until);
    }

    /// When the next sleeper wants to be woken.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.0
            .with(|line| line.sleepers.keys().next().map(|(deadline, _)| *deadline))
    }

    /// Moves time to `until`, if that is later, and wakes whoever slept until then.
    pub fn move_to(&self, until: Instant) {
        let due = self.0.with(|line| {
            line.now = line.now.max(until);
            let later = line.sleepers.split_off(&(line.now, u64::MAX));
            core::mem::replace(&mut line.sleepers, later)
        });
        due.into_values().for_each(Waker::wake);
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Instant {
        self.0.with(|line| line.now)
    }
}

impl Timer for VirtualClock {
    async fn sleep_until(&self, deadline: Instant) {
        Sleep {
            clock: self,
            deadline,
            key: None,
        }
        .await;
    }
}

crate::dyn_timer!(VirtualClock);

/// Registered with the clock while it waits; leaves when dropped.
struct Sleep<'a> {
    clock: &'a VirtualClock,
    deadline: Instant,
    key: Option<u64>,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let (deadline, key) = (self.deadline, self.key);
        let registered = self.clock.0.with(|line| {
            if deadline <= line.now {
                return None;
            }
            let key = key.unwrap_or(line.next_sleeper);
            line.next_sleeper = line.next_sleeper.max(key.saturating_add(1));
            line.sleepers.insert((deadline, key), cx.waker().clone());
            Some(key)
        });
        self.key = registered;
        if registered.is_some() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.clock
                .0
                .with(|line| line.sleepers.remove(&(self.deadline, key)));
        }
    }
}

/// Nothing can go on any more: the future waits, nobody will wake it, and no deadline is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the future waits for something that will never come")]
pub struct Stalled;

/// Runs a future to its end in virtual time: whenever it waits and nothing woke it, time jumps to the next
/// deadline of `clock`. Single-threaded and deterministic.
///
/// # Errors
/// [`Stalled`] when there is nothing left to wait for.
pub fn run<F: Future>(clock: &VirtualClock, future: F) -> Result<F::Output, Stalled> {
    let mut future = pin!(future);
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(flag.clone());
    let mut cx = Context::from_waker(&waker);
    loop {
        while flag.0.swap(false, Ordering::AcqRel) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return Ok(output);
            }
        }
        clock.move_to(clock.next_deadline().ok_or(Stalled)?);
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}
