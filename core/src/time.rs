//! Points in time as plain values. Nothing here reads a clock: see [`Clock`] for who does.

use core::time::Duration;

/// A point in time, in whole microseconds since an epoch of the clock's choosing.
///
/// Two instants compare only when they come from the same clock: a lease is judged by the
/// store's clock, a timeout by the timer's. Arithmetic saturates; there is no overflow.
///
/// ```
/// use core::time::Duration;
/// use postbox::time::Instant;
///
/// let start = Instant::from_micros(1_000);
/// assert_eq!(start + Duration::from_millis(2), Instant::from_micros(3_000));
/// assert_eq!(start.since(Instant::from_micros(400)), Duration::from_micros(600));
/// assert_eq!(Instant::ZERO.since(start), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The clock's epoch.
    pub const ZERO: Self = Self(0);
    /// Later than anything that will happen.
    pub const MAX: Self = Self(u64::MAX);

    /// The instant `micros` microseconds after the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The instant `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the epoch, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

impl core::ops::Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }
}

/// `duration` in whole microseconds, saturating. Not by `as_micros`: 128 bits are dear on small cores.
fn micros(duration: Duration) -> u64 {
    let whole = duration.as_secs().saturating_mul(1_000_000);
    whole.saturating_add(u64::from(duration.subsec_micros()))
}

/// Tells the time. What a store judges leases by, and what a [`Timer`](crate::runtime::Timer) sleeps by.
pub trait Clock {
    /// The present instant of this clock.
    fn now(&self) -> Instant;
}

impl<C: Clock + ?Sized> Clock for &C {
    fn now(&self) -> Instant {
        (**self).now()
    }
}

#[cfg(feature = "alloc")]
impl<C: Clock + ?Sized> Clock for alloc::sync::Arc<C> {
    fn now(&self) -> Instant {
        (**self).now()
    }
}

/// The operating system's monotonic clock, as the timers of executors tell it: all of a process count from one moment,
/// an hour before the first conversion, so that what a test's paused clock shows is not before it.
///
/// ```
/// use postbox::time::Instant;
///
/// let now = std::time::Instant::now();
/// let later = now + std::time::Duration::from_secs(1);
/// assert_eq!(Instant::from(later).since(now.into()).as_secs(), 1);
/// ```
#[cfg(feature = "std")]
impl From<std::time::Instant> for Instant {
    fn from(at: std::time::Instant) -> Self {
        use std::sync::OnceLock;
        use std::time::Instant as StdInstant;
        static EPOCH: OnceLock<StdInstant> = OnceLock::new();
        let epoch = EPOCH.get_or_init(|| {
            let first = at.min(StdInstant::now());
            first.checked_sub(Duration::from_secs(3_600)).unwrap_or(first)
        });
        Self::ZERO + at.saturating_duration_since(*epoch)
    }
}

/// The operating system's wall clock, microseconds since 1970. What stores use unless told otherwise.
///
/// Processes that share a database file share this clock; it may step, which can only delay a claim
/// or hand over a lease early, and the fence covers both.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[cfg(feature = "std")]
impl Clock for SystemClock {
    fn now(&self) -> Instant {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(Instant::ZERO, |since| Instant(micros(since)))
    }
}
