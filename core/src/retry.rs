//! When to try again, and when to give up: pure functions of counts, ages and a seed.

use core::time::Duration;

use crate::claim::Verdict;
use crate::id::Invalid;

/// A pause that doubles from `base` up to `cap`, with full jitter.
///
/// The jitter is drawn from the whole range, `0..=pause` ("full jitter" in the AWS Architecture Blog's
/// *Exponential Backoff And Jitter*, 2015), so that workers that failed together do not return together.
///
/// ```
/// use core::time::Duration;
/// use postbox::retry::Backoff;
///
/// let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(60))?;
/// assert_eq!(backoff.pause(0), Duration::from_millis(200));
/// assert_eq!(backoff.pause(3), Duration::from_millis(1_600));
/// assert_eq!(backoff.pause(u32::MAX), Duration::from_secs(60));
/// assert!(backoff.jittered(3, 42) <= backoff.pause(3));
/// # Ok::<(), postbox::id::Invalid>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
}

impl Backoff {
    /// For failed publishes: 200 ms doubling to 60 s.
    pub const PUBLISH: Self = Self {
        base: Duration::from_millis(200),
        cap: Duration::from_secs(60),
    };
    /// For a broker or a store that is down: 1 s doubling to 30 s.
    pub const OUTAGE: Self = Self {
        base: Duration::from_secs(1),
        cap: Duration::from_secs(30),
    };

    /// Doubles from `base` to `cap`.
    ///
    /// # Errors
    /// [`Invalid`] for a zero base or a cap below it.
    pub fn new(base: Duration, cap: Duration) -> Result<Self, Invalid> {
        if base.is_zero() {
            return Err(Invalid::OutOfRange {
                field: "backoff base (ms)",
                value: 0,
                rule: "more than zero",
            });
        }
        if cap < base {
            let value = u64::try_from(cap.as_millis()).unwrap_or(u64::MAX);
            return Err(Invalid::OutOfRange {
                field: "backoff cap (ms)",
                value,
                rule: "at least the base",
            });
        }
        Ok(Self { base, cap })
    }

    /// The pause after `failures` earlier failures, without jitter.
    pub fn pause(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.base
            .checked_mul(factor)
            .map_or(self.cap, |pause| pause.min(self.cap))
    }

    /// The same with full jitter, which `seed` determines.
    pub fn jittered(&self, failures: u32, seed: u64) -> Duration {
        spread(self.pause(failures), seed)
    }
}

/// When a message is given up.
///
/// A publisher's *permanent* failure buries at once; *unavailable* never counts. Of the retryable ones a
/// message may have [`max_failures`](Self::max_failures) within [`max_age`](Self::max_age) of its commit:
/// whichever limit is reached first buries it. A buried message is kept and can be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The pause between attempts.
    pub backoff: Backoff,
    /// How many retryable failures a message may have; at least 1. Default 20.
    pub max_failures: u32,
    /// How old, since its commit, a message may be at a retryable failure. Default 24 h.
    pub max_age: Duration,
    /// How many leases may lapse without a word; at least 1. Default 10.
    pub max_abandoned: u32,
}

impl RetryPolicy {
    /// The defaults, as a constant.
    pub const DEFAULT: Self = Self {
        backoff: Backoff::PUBLISH,
        max_failures: 20,
        max_age: Duration::from_secs(24 * 60 * 60),
        max_abandoned: 10,
    };

    /// The verdict on one more retryable failure.
    pub fn after_failure(&self, earlier_failures: u32, age: Duration, seed: u64) -> Verdict {
        if earlier_failures.saturating_add(1) >= self.max_failures || age >= self.max_age {
            return Verdict::Bury;
        }
        Verdict::Retry {
            after: self.backoff.jittered(earlier_failures, seed),
        }
    }

    /// Checks the limits.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        let counts = [
            ("max failures (attempts)", self.max_failures),
            ("max abandoned (leases)", self.max_abandoned),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((field, _)) => Err(Invalid::OutOfRange {
                field,
                value: 0,
                rule: "at least 1",
            }),
            None => Ok(()),
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A duration from the whole range `0..=limit`, which `seed` determines.
pub fn spread(limit: Duration, seed: u64) -> Duration {
    let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX - 1);
    Duration::from_micros(mix(seed).checked_rem(micros.saturating_add(1)).unwrap_or(0))
}

/// The output function of splitmix64 (Steele, Lea and Flood, 2014): every input bit reaches every output bit.
pub const fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_and_is_capped_and_jitter_stays_below_it() {
        let backoff = Backoff::PUBLISH;
        for failures in 0..400 {
            assert!(backoff.pause(failures) <= backoff.pause(failures + 1));
            assert!(backoff.jittered(failures, u64::from(failures)) <= backoff.pause(failures));
        }
        assert_eq!(backoff.pause(310), Duration::from_secs(60));
    }

    #[test]
    fn jitter_covers_the_range() {
        let limit = Duration::from_secs(1);
        let low = (0..1_000).filter(|seed| spread(limit, *seed) < limit / 2).count();
        assert!((400..600).contains(&low), "{low} of 1000 in the lower half");
    }

    #[test]
    fn the_count_and_the_age_each_bury() {
        let policy = RetryPolicy {
            max_failures: 3,
            ..RetryPolicy::DEFAULT
        };
        assert!(matches!(
            policy.after_failure(1, Duration::ZERO, 1),
            Verdict::Retry { .. }
        ));
        assert_eq!(policy.after_failure(2, Duration::ZERO, 1), Verdict::Bury);
        assert_eq!(policy.after_failure(0, policy.max_age, 1), Verdict::Bury);
    }
}
