//! A broker that fits into a file: every delivery is a line, on disk before it is acknowledged. It can be down.

use std::fs::{File, OpenOptions};
use std::future::pending;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_channel::mpsc::UnboundedSender;
use postbox::bus::{Bus, BusConsumer, BusFull, InMemoryBus, InMemorySource};
use postbox::message::MessageRef;
use postbox::publisher::PublishError;
use postbox::time::{Clock, SystemClock};
use serde::{Deserialize, Serialize};

/// What the broker writes down of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delivery {
    /// When, in microseconds since 1970.
    pub(crate) at: u64,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) key: String,
    /// The event of its todo that it is about, as Postbox stamped it.
    pub(crate) sequence: u64,
}

/// Clones are handles of the same broker.
#[derive(Clone, Debug)]
pub(crate) struct Broker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: Mutex<File>,
    /// Hands commands to listeners and events to subscribers within this process.
    queues: InMemoryBus,
    down: AtomicBool,
    hang: Option<Hang>,
}

/// From this many publishes on, none ever returns: where a process is about to be killed.
#[derive(Debug)]
struct Hang {
    left: AtomicUsize,
    tell: UnboundedSender<Result<(), String>>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokerError {
    #[error("the broker is down")]
    Down,
    #[error(transparent)]
    Full(#[from] BusFull),
    #[error("the broker cannot write: {0}")]
    Log(#[from] std::io::Error),
}

impl Broker {
    /// Goes on with a log, or begins it.
    pub(crate) fn open(log: &Path) -> std::io::Result<Self> {
        Self::with_hang(log, None)
    }

    /// Takes `publishes`, and then leaves every publisher hanging: committed, but not published. Tells of each.
    pub(crate) fn hanging_after(
        log: &Path,
        publishes: usize,
        tell: UnboundedSender<Result<(), String>>,
    ) -> std::io::Result<Self> {
        let left = AtomicUsize::new(publishes);
        Self::with_hang(log, Some(Hang { left, tell }))
    }

    fn with_hang(log: &Path, hang: Option<Hang>) -> std::io::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        Ok(Self(Arc::new(Inner {
            log: Mutex::new(log),
            queues: InMemoryBus::new(),
            down: AtomicBool::new(false),
            hang,
        })))
    }

    /// Takes nothing until it is up again.
    pub(crate) fn set_down(&self, down: bool) {
        self.0.down.store(down, Ordering::SeqCst);
    }

    async fn take(&self, message: &MessageRef<'_>) -> Result<(), BrokerError> {
        if self.0.down.load(Ordering::SeqCst) {
            return Err(BrokerError::Down);
        }
        if let Some(hang) = &self.0.hang {
            let left = |left: usize| left.checked_sub(1);
            if hang
                .left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
                .is_err()
            {
                let _ = hang.tell.unbounded_send(Ok(()));
                pending::<()>().await;
            }
        }
        let sequence = message.headers.get("x-postbox-source-sequence");
        let mut line = serde_json::to_vec(&Delivery {
            at: SystemClock.now().as_micros(),
            id: message.id.to_owned(),
            name: message.name.to_owned(),
            key: message.key.unwrap_or_default().to_owned(),
            sequence: sequence.and_then(|text| text.parse().ok()).unwrap_or_default(),
        })
        .map_err(std::io::Error::from)?;
        line.push(b'\n');
        // One write: a killed process leaves a whole line or none.
        Ok(self
            .0
            .log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(&line)?)
    }
}

impl Bus for Broker {
    type Error = BrokerError;

    async fn send_message(&self, message: MessageRef<'_>) -> Result<(), PublishError<BrokerError>> {
        self.take(&message).await.map_err(PublishError::Unavailable)?;
        let sent = self.0.queues.send_message(message).await;
        sent.map_err(|error| error.map(BrokerError::Full))
    }

    async fn publish_message(&self, message: MessageRef<'_>) -> Result<(), PublishError<BrokerError>> {
        self.take(&message).await.map_err(PublishError::Unavailable)?;
        let published = self.0.queues.publish_message(message).await;
        published.map_err(|error| error.map(BrokerError::Full))
    }
}

impl BusConsumer for Broker {
    type Error = BusFull;
    type Source = InMemorySource;

    async fn listen(&self, commands: &[&str]) -> Result<InMemorySource, BusFull> {
        self.0.queues.listen(commands).await
    }

    async fn subscribe(&self, events: &[&str], group: &str) -> Result<InMemorySource, BusFull> {
        self.0.queues.subscribe(events, group).await
    }
}

postbox::dyn_bus!(Broker);
