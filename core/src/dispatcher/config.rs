//! What a dispatcher is told: who it is, how long it holds, when it gives up. Checked when it is set.

use crate::id::{Invalid, WorkerId};
use crate::lease::Lease;
use crate::observe::{Observer, Signal, ignore};
use crate::retry::{Backoff, RetryPolicy};

/// The settings of an [`OutboxDispatcher`](super::OutboxDispatcher).
///
/// ```
/// use std::time::Duration;
/// use postbox::{dispatcher::DispatchConfig, id::WorkerId, lease::Lease};
///
/// let config = DispatchConfig::new(WorkerId::named("orders-1"))
///     .with_lease(Lease::new(Duration::from_secs(20))?)
///     .with_max_attempts(5)?;
/// assert!(config.with_max_attempts(0).is_err());
/// # Ok::<(), postbox::id::Invalid>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct DispatchConfig {
    pub(super) worker: WorkerId,
    pub(super) lease: Lease,
    pub(super) retry: RetryPolicy,
    pub(super) outage: Backoff,
    /// None: nobody watches, and nothing is put together to be seen.
    pub(super) observer: Option<Observer>,
}

impl DispatchConfig {
    /// The defaults: a lease of 30 s, half of it to publish in, [`RetryPolicy::DEFAULT`], and pauses of
    /// 1 s doubling to 30 s while the broker is down.
    pub const fn new(worker: WorkerId) -> Self {
        Self {
            worker,
            lease: Lease::BACKSTOP,
            retry: RetryPolicy::DEFAULT,
            outage: Backoff::OUTAGE,
            observer: None,
        }
    }

    /// Sets how long claims are held and how much of that may be spent publishing.
    pub const fn with_lease(mut self, lease: Lease) -> Self {
        self.lease = lease;
        self
    }

    /// Sets when to try again and when to give up.
    ///
    /// # Errors
    /// [`Invalid`] for a limit of 0.
    pub fn with_retry(mut self, retry: RetryPolicy) -> Result<Self, Invalid> {
        retry.check()?;
        self.retry = retry;
        Ok(self)
    }

    /// Sets how many counted failures make a message dead.
    ///
    /// # Errors
    /// [`Invalid`] for 0.
    pub fn with_max_attempts(self, attempts: u32) -> Result<Self, Invalid> {
        let retry = RetryPolicy {
            max_failures: attempts,
            ..self.retry
        };
        self.with_retry(retry)
    }

    /// Sets the pauses while the broker is down.
    pub const fn with_outage_backoff(mut self, outage: Backoff) -> Self {
        self.outage = outage;
        self
    }

    /// Sets who claims.
    pub const fn with_worker_id(mut self, worker: WorkerId) -> Self {
        self.worker = worker;
        self
    }

    /// Sets who watches.
    pub const fn with_observer(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Who claims.
    pub const fn worker(&self) -> WorkerId {
        self.worker
    }

    /// How long claims are held.
    pub const fn lease(&self) -> Lease {
        self.lease
    }

    /// The pauses while the broker is down.
    pub const fn outage(&self) -> Backoff {
        self.outage
    }

    /// Who watches.
    pub const fn observer(&self) -> Observer {
        match self.observer {
            Some(observer) => observer,
            None => ignore,
        }
    }

    /// Tells whoever watches.
    #[inline]
    pub(super) fn tell<'s>(&self, signal: impl FnOnce() -> Signal<'s>) {
        if let Some(observer) = self.observer {
            observer(signal());
        }
    }

    /// When to try again and when to give up.
    pub const fn retry(&self) -> RetryPolicy {
        self.retry
    }
}
