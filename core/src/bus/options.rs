//! How a service runs: how it tells duplicates, what it does with failures.

use alloc::string::String;
use core::time::Duration;

use crate::aggregate::InboxReceipt;
use crate::backstop::BackstopConfig;
use crate::id::{Invalid, MAX_NAME_BYTES, check_text};
use crate::message::Message;
use crate::retry::Backoff;

/// What to do with a message whose handler failed for good: bad input, a refused command, too many tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// Puts it among the dead letters.
    #[default]
    DeadLetter,
    /// Sets it aside for an operator.
    Park,
    /// Delivers it again, up to the limit of deliveries, then dead-letters it.
    Retry,
    /// Tells the observer and drops it. The only policy that loses messages.
    LogAndAck,
    /// Gives it back and ends the run with an error.
    Stop,
}

/// How redelivered messages are kept from having an effect twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ConsumerDeliveryMode {
    /// The handlers see to it.
    #[default]
    Idempotent,
    /// A receipt is committed with each handler's effects; a second delivery is acknowledged unhandled.
    Inbox {
        /// Names the consumer within the inbox.
        consumer: String,
    },
}

/// How [`Microservice::run`](crate::service::Microservice::run) runs.
///
/// ```
/// use std::time::Duration;
/// use postbox::bus::{FailurePolicy, RunOptions};
/// use postbox::retry::Backoff;
///
/// let options = RunOptions::inbox("billing")?
///     .with_failure_policy(FailurePolicy::Park)
///     .with_redelivery(Backoff::new(Duration::from_millis(100), Duration::from_secs(10))?, 5)?;
/// assert!(!options.is_idempotent());
/// assert!(RunOptions::inbox(" ").is_err());
/// # Ok::<(), postbox::id::Invalid>(())
/// ```
#[derive(Clone, Debug)]
pub struct RunOptions {
    pub(crate) mode: ConsumerDeliveryMode,
    pub(crate) policy: FailurePolicy,
    pub(crate) redelivery: Backoff,
    pub(crate) max_deliveries: u32,
    pub(crate) backstop: BackstopConfig,
}

impl RunOptions {
    /// Handlers are idempotent: messages need no id.
    pub const fn idempotent() -> Self {
        Self {
            mode: ConsumerDeliveryMode::Idempotent,
            policy: FailurePolicy::DeadLetter,
            redelivery: Backoff::PUBLISH,
            max_deliveries: 20,
            backstop: BackstopConfig::new(),
        }
    }

    /// Each message has its effect once: its id is kept, under the consumer's name, with the effects.
    ///
    /// A message without an id that can serve (present, not blank, at most 512 bytes, no control
    /// characters) is refused before its handler runs, and handled by the failure policy.
    ///
    /// # Errors
    /// [`Invalid`] for a bad consumer name (255 bytes).
    pub fn inbox(consumer: impl Into<String>) -> Result<Self, Invalid> {
        let consumer = consumer.into();
        check_text("consumer", &consumer, MAX_NAME_BYTES)?;
        Ok(Self {
            mode: ConsumerDeliveryMode::Inbox { consumer },
            ..Self::idempotent()
        })
    }

    /// Sets what to do with messages that failed for good.
    pub const fn with_failure_policy(mut self, policy: FailurePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets the pause before a message is delivered again (200 ms doubling to 60 s by default), and how
    /// many deliveries it may have (20). [`run`](crate::service::Microservice::run) has no timer: there the
    /// pause is the rest of the round.
    ///
    /// # Errors
    /// [`Invalid`] for 0 deliveries.
    pub fn with_redelivery(mut self, pause: Backoff, max_deliveries: u32) -> Result<Self, Invalid> {
        if max_deliveries == 0 {
            return Err(Invalid::OutOfRange {
                field: "max deliveries",
                value: 0,
                rule: "at least 1",
            });
        }
        self.redelivery = pause;
        self.max_deliveries = max_deliveries;
        Ok(self)
    }

    /// Sets how the backstop of [`run_with`](crate::service::Microservice::run_with) runs.
    pub const fn with_backstop(mut self, backstop: BackstopConfig) -> Self {
        self.backstop = backstop;
        self
    }

    /// How duplicates are told.
    pub const fn delivery_mode(&self) -> &ConsumerDeliveryMode {
        &self.mode
    }

    /// What is done with messages that failed for good.
    pub const fn failure_policy(&self) -> FailurePolicy {
        self.policy
    }

    /// Whether handlers see to duplicates themselves.
    pub const fn is_idempotent(&self) -> bool {
        matches!(self.mode, ConsumerDeliveryMode::Idempotent)
    }

    /// The receipt that the message's handling leaves behind; `None` without an inbox.
    ///
    /// # Errors
    /// [`Invalid`] when there is an inbox and the message's id cannot serve.
    pub fn receipt(&self, message: &Message) -> Result<Option<InboxReceipt>, Invalid> {
        match &self.mode {
            ConsumerDeliveryMode::Idempotent => Ok(None),
            ConsumerDeliveryMode::Inbox { consumer } => {
                InboxReceipt::new(consumer, message.check_id()?).map(Some)
            }
        }
    }

    /// The pause before the delivery after `deliveries`.
    pub(crate) fn pause(&self, deliveries: u32, seed: u64) -> Duration {
        self.redelivery.jittered(deliveries.saturating_sub(1), seed)
    }
}

impl Default for RunOptions {
    fn default() -> Self {
        Self::idempotent()
    }
}
