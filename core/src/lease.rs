//! How long a claim is held, and how much of that may be spent publishing.

use core::time::Duration;

use crate::id::Invalid;

/// A lease and the publish timeout that fits into it: `timeout + margin < lease`, checked when made.
///
/// The margin is what is left to settle in: a tenth of the lease, at most one second.
///
/// ```
/// use core::time::Duration;
/// use postbox::lease::Lease;
///
/// let lease = Lease::new(Duration::from_secs(30))?;
/// assert_eq!(lease.publish_timeout(), Duration::from_secs(15));
/// assert!(Lease::new(Duration::ZERO).is_err());
/// assert!(lease.with_publish_timeout(Duration::from_secs(30)).is_err());
/// # Ok::<(), postbox::id::Invalid>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    length: Duration,
    publish_timeout: Duration,
    /// Kept, since it is asked for at every pass, and a division is dear on small cores.
    margin: Duration,
}

impl Lease {
    /// Of a claim made in the commit: 10 s.
    pub const IMMEDIATE: Self = Self {
        length: Duration::from_secs(10),
        publish_timeout: Duration::from_secs(5),
        margin: Duration::from_secs(1),
    };
    /// Of a claim made by the backstop: 30 s.
    pub const BACKSTOP: Self = Self {
        length: Duration::from_secs(30),
        publish_timeout: Duration::from_secs(15),
        margin: Duration::from_secs(1),
    };
    /// The shortest lease: 10 ms, ten times the resolution that stores keep.
    pub const SHORTEST: Duration = Duration::from_millis(10);
    /// The longest lease: a day. A crash leaves its messages waiting that long.
    pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

    /// A lease of this length, with half of it to publish in.
    ///
    /// # Errors
    /// [`Invalid::OutOfRange`] below 10 ms (so also for zero) or above a day.
    pub fn new(length: Duration) -> Result<Self, Invalid> {
        if !(Self::SHORTEST..=Self::LONGEST).contains(&length) {
            return Err(out_of_range("lease (ms)", length, "between 10 ms and 24 h"));
        }
        Ok(Self {
            length,
            publish_timeout: part(length, 2),
            margin: part(length, 10).min(Duration::from_secs(1)),
        })
    }

    /// The same lease with another publish timeout.
    ///
    /// # Errors
    /// [`Invalid::OutOfRange`] for zero, or when timeout and margin do not fit into the lease.
    pub fn with_publish_timeout(self, timeout: Duration) -> Result<Self, Invalid> {
        if timeout.is_zero() || timeout.saturating_add(self.margin()) >= self.length {
            let rule = "more than zero and, with the margin, less than the lease";
            return Err(out_of_range("publish timeout (ms)", timeout, rule));
        }
        Ok(Self {
            publish_timeout: timeout,
            ..self
        })
    }

    /// How long a claim is held.
    pub const fn length(&self) -> Duration {
        self.length
    }

    /// How long nothing may come of a publish before it is given up.
    pub const fn publish_timeout(&self) -> Duration {
        self.publish_timeout
    }

    /// What is kept free before the end of the lease, to settle in.
    pub const fn margin(&self) -> Duration {
        self.margin
    }

    /// How often a holder renews while a batch is under way: three times a lease.
    pub fn renew_every(&self) -> Duration {
        part(self.length, 3)
    }
}

fn part(whole: Duration, parts: u32) -> Duration {
    whole.checked_div(parts).unwrap_or_default()
}

fn out_of_range(field: &'static str, value: Duration, rule: &'static str) -> Invalid {
    let value = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
    Invalid::OutOfRange { field, value, rule }
}
