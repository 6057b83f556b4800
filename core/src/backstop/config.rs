//! How often a backstop looks, how much it takes, how it waits.

use core::time::Duration;

use crate::id::Invalid;
use crate::retry::Backoff;
use crate::store::check_batch;

/// Settings of a [`Backstop`](super::Backstop).
///
/// ```
/// use std::time::Duration;
/// use postbox::backstop::BackstopConfig;
///
/// let config = BackstopConfig::new().with_batch(256)?.with_poll(Duration::from_millis(500))?;
/// assert!(config.with_batch(0).is_err());
/// # Ok::<(), postbox::id::Invalid>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BackstopConfig {
    pub(super) batch: usize,
    pub(super) poll: Duration,
    pub(super) store_backoff: Backoff,
}

impl BackstopConfig {
    /// The defaults: 32 messages a batch, a poll every second (up to a quarter later, so that workers do
    /// not poll in step), 1 s doubling to 30 s after store errors.
    pub const fn new() -> Self {
        Self {
            batch: 32,
            poll: Duration::from_secs(1),
            store_backoff: Backoff::OUTAGE,
        }
    }

    /// Sets how many messages are claimed at once; 1 to [`MAX_BATCH`](crate::store::MAX_BATCH).
    ///
    /// # Errors
    /// [`Invalid`] outside of that.
    pub fn with_batch(mut self, batch: usize) -> Result<Self, Invalid> {
        check_batch(batch)?;
        self.batch = batch;
        Ok(self)
    }

    /// Sets how often to look without a hint.
    ///
    /// # Errors
    /// [`Invalid`] for zero.
    pub fn with_poll(mut self, poll: Duration) -> Result<Self, Invalid> {
        if poll.is_zero() {
            return Err(Invalid::OutOfRange {
                field: "poll (ms)",
                value: 0,
                rule: "more than zero",
            });
        }
        self.poll = poll;
        Ok(self)
    }

    /// Sets the pauses after store errors.
    pub const fn with_store_backoff(mut self, backoff: Backoff) -> Self {
        self.store_backoff = backoff;
        self
    }
}

impl Default for BackstopConfig {
    fn default() -> Self {
        Self::new()
    }
}
