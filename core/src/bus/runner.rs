//! One consumer: receive, check, handle, settle, one message at a time.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{FailurePolicy, Message, MessageSource, ReceivedMessage, RunOptions};
use crate::aggregate::InboxReceipt;
use crate::id::{Excerpt, Invalid, fnv1a};
use crate::join::{Either, race, yield_now};
use crate::observe::{Observer, Signal};
use crate::retry::Backoff;
use crate::runtime::Timer;
use crate::sync::Stop;
use crate::time::Instant;

/// How many failed messages wait for their next delivery before they are given back early.
const MAX_POSTPONED: usize = 64;

/// What a consumer hands its messages to.
pub trait MessageHandler {
    /// Handles one message; with a receipt, commits it together with the effects.
    async fn handle(&self, message: &Message, receipt: Option<InboxReceipt>) -> Handling;
}

/// What became of a delivered message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handling {
    /// It was handled now.
    Done,
    /// It was handled before.
    Duplicate,
    /// Nobody here knows it: it is set aside, never acknowledged.
    Unknown,
    /// It failed.
    Failed {
        /// Whether another delivery may succeed.
        retryable: bool,
        /// Why.
        reason: Excerpt,
    },
}

/// A run ended early. What was in hand was finished or given back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The service has no bus: attach one by `with_bus`.
    #[error("the service has no bus to run on")]
    NoBus,
    /// The service or its settings were refused.
    #[error("the service cannot run: {0}")]
    Refused(String),
    /// The bus failed.
    #[error("the bus failed: {0}")]
    Bus(Excerpt),
    /// The outbox store failed.
    #[error("the outbox store failed: {0}")]
    Store(Excerpt),
    /// A message failed for good and the policy is to stop.
    #[error("{name} {id:?} failed and the policy is to stop: {reason}")]
    Stopped {
        /// The message's name.
        name: String,
        /// The message's id; empty if it had none.
        id: String,
        /// Why it failed.
        reason: Excerpt,
    },
}

impl From<Invalid> for RunError {
    fn from(invalid: Invalid) -> Self {
        Self::Refused(invalid.to_string())
    }
}

/// Runs one source.
pub(crate) struct Consumer<'a, S: MessageSource, H, T> {
    pub(crate) source: S,
    pub(crate) handler: &'a H,
    pub(crate) options: &'a RunOptions,
    pub(crate) timer: &'a T,
    pub(crate) stop: &'a Stop,
    pub(crate) observer: Observer,
    pub(crate) postponed: Vec<(Instant, S::Received)>,
}

impl<S: MessageSource, H: MessageHandler, T: Timer> Consumer<'_, S, H, T> {
    /// Handles what is there; returns how many messages that were.
    pub(crate) async fn drain(&mut self) -> Result<usize, RunError> {
        let mut handled = 0_usize;
        while !self.stop.is_set() {
            let Some(received) = self.source.try_receive().await.map_err(bus_error)? else {
                break;
            };
            handled = handled.saturating_add(1);
            self.take(received).await?;
            yield_now().await;
        }
        for (_, received) in core::mem::take(&mut self.postponed) {
            received.nack().await.map_err(bus_error)?;
        }
        Ok(handled)
    }

    /// Handles messages until told to stop; finishes the one in hand, gives the postponed ones back.
    pub(crate) async fn run(&mut self) -> Result<(), RunError> {
        let mut failures = 0;
        let result = loop {
            self.give_back_due().await;
            let due = self
                .postponed
                .iter()
                .map(|(due, _)| *due)
                .min()
                .unwrap_or(Instant::MAX);
            let next = race(self.source.receive(), self.timer.sleep_until(due));
            let received = match race(self.stop.wait(), next).await {
                Either::A(()) => break Ok(()),
                Either::B(Either::B(())) => continue,
                Either::B(Either::A(Ok(received))) => received,
                Either::B(Either::A(Err(error))) => {
                    if self.pause_after(&error, failures).await {
                        break Ok(());
                    }
                    failures = failures.saturating_add(1);
                    continue;
                }
            };
            failures = 0;
            if let Err(error) = self.take(received).await {
                break Err(error);
            }
            yield_now().await;
        };
        for (_, received) in core::mem::take(&mut self.postponed) {
            self.settled(received.nack().await);
        }
        result
    }

    /// Handles and settles one message.
    async fn take(&mut self, received: S::Received) -> Result<(), RunError> {
        let message = received.message();
        let handling = match self.options.receipt(message) {
            Ok(receipt) => self.handler.handle(message, receipt).await,
            Err(invalid) => Handling::Failed {
                retryable: false,
                reason: Excerpt::display(&invalid),
            },
        };
        let (retryable, reason) = match handling {
            Handling::Done | Handling::Duplicate => {
                self.settled(received.ack().await);
                return Ok(());
            }
            Handling::Unknown => {
                self.settled(received.park("no handler knows it").await);
                return Ok(());
            }
            Handling::Failed { retryable, reason } => (retryable, reason),
        };
        let id = message.id().unwrap_or_default();
        (self.observer)(Signal::HandlerFailed {
            name: message.name(),
            id,
            error: reason.as_str(),
        });
        let again = received.deliveries() < self.options.max_deliveries;
        match self.options.policy {
            FailurePolicy::Stop if !retryable => {
                let (name, id) = (message.name().to_string(), id.to_string());
                self.settled(received.nack().await);
                return Err(RunError::Stopped { name, id, reason });
            }
            _ if retryable && again => self.postpone(received).await,
            FailurePolicy::Retry if again => self.postpone(received).await,
            FailurePolicy::Park => self.settled(received.park(reason.as_str()).await),
            FailurePolicy::LogAndAck => self.settled(received.ack().await),
            FailurePolicy::DeadLetter | FailurePolicy::Retry | FailurePolicy::Stop => {
                self.settled(received.dead_letter(reason.as_str()).await);
            }
        }
        Ok(())
    }

    /// Keeps a failed message until its next delivery is due.
    async fn postpone(&mut self, received: S::Received) {
        if self.postponed.len() >= MAX_POSTPONED {
            self.settled(received.nack().await);
            return;
        }
        let seed = fnv1a(received.message().id().unwrap_or_default().as_bytes());
        let pause = self
            .options
            .pause(received.deliveries(), seed ^ u64::from(received.deliveries()));
        self.postponed.push((self.timer.now() + pause, received));
    }

    async fn give_back_due(&mut self) {
        let now = self.timer.now();
        while let Some(at) = self.postponed.iter().position(|(due, _)| *due <= now) {
            let (_, received) = self.postponed.swap_remove(at);
            self.settled(received.nack().await);
        }
    }

    /// A bus that cannot settle delivers again, which duplicates detection takes care of.
    fn settled<E: core::fmt::Display>(&self, result: Result<(), E>) {
        if let Err(error) = result {
            let error = Excerpt::display(&error);
            let pause = core::time::Duration::ZERO;
            (self.observer)(Signal::StoreError {
                doing: "settling a delivery",
                error: error.as_str(),
                pause,
            });
        }
    }

    /// Waits after a failed receive; `true` when told to stop meanwhile.
    async fn pause_after(&self, error: &S::Error, failures: u32) -> bool {
        let pause = Backoff::OUTAGE.pause(failures);
        let error = Excerpt::display(error);
        (self.observer)(Signal::StoreError {
            doing: "receiving",
            error: error.as_str(),
            pause,
        });
        let until = self.timer.now() + pause;
        matches!(
            race(self.stop.wait(), self.timer.sleep_until(until)).await,
            Either::A(())
        )
    }
}

fn bus_error(error: impl core::fmt::Display) -> RunError {
    RunError::Bus(Excerpt::display(&error))
}
