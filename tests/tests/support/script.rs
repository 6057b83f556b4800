//! A publisher, and a bus in RAM, that do with each message id what they were told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use postbox::bus::{Bus, BusConsumer, BusFull, InMemoryBus, InMemorySource};
use postbox::id::Excerpt;
use postbox::message::MessageRef;
use postbox::publisher::{AsyncMessagePublisher, PublishError};
use postbox::runtime::Timer;
use postbox::testing::VirtualClock;
use postbox::time::{Clock, Instant};

/// What becomes of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Take,
    /// Takes it after a while.
    Slow(Duration),
    Retryable,
    Permanent,
    Unavailable,
    Hang,
    Panic,
}

/// Clones share the script and what was seen.
#[derive(Clone, Debug)]
pub struct Script {
    clock: VirtualClock,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    otherwise: Step,
    steps: BTreeMap<String, VecDeque<Step>>,
    attempts: Vec<(Instant, String)>,
    taken: Vec<String>,
}

impl Script {
    /// Takes everything.
    pub fn new(clock: &VirtualClock) -> Self {
        let inner = Inner {
            otherwise: Step::Take,
            steps: BTreeMap::new(),
            attempts: Vec::new(),
            taken: Vec::new(),
        };
        Self {
            clock: clock.clone(),
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nobody panics while it is locked")
    }

    /// What to do with ids that have no steps of their own.
    pub fn otherwise(&self, step: Step) -> &Self {
        self.lock().otherwise = step;
        self
    }

    /// What to do with this id, attempt by attempt; the last step stays.
    pub fn on(&self, id: &str, steps: &[Step]) -> &Self {
        self.lock()
            .steps
            .insert(id.to_owned(), steps.iter().copied().collect());
        self
    }

    /// Every attempt and when it began.
    pub fn attempts(&self) -> Vec<(Instant, String)> {
        self.lock().attempts.clone()
    }

    pub fn attempts_of(&self, id: &str) -> usize {
        self.lock().attempts.iter().filter(|(_, seen)| seen == id).count()
    }

    /// What was taken, in this order.
    pub fn taken(&self) -> Vec<String> {
        self.lock().taken.clone()
    }

    pub async fn step(&self, id: &str) -> Result<(), PublishError<Excerpt>> {
        let now = self.clock.now();
        let step = {
            let mut inner = self.lock();
            inner.attempts.push((now, id.to_owned()));
            let otherwise = inner.otherwise;
            match inner.steps.get_mut(id) {
                Some(steps) if steps.len() > 1 => steps.pop_front().unwrap_or(otherwise),
                Some(steps) => steps.front().copied().unwrap_or(otherwise),
                None => otherwise,
            }
        };
        match step {
            Step::Take => {}
            Step::Slow(by) => self.clock.sleep_until(now + by).await,
            Step::Retryable => return Err(PublishError::Retryable(Excerpt::new("try again"))),
            Step::Permanent => return Err(PublishError::Permanent(Excerpt::new("too large"))),
            Step::Unavailable => return Err(PublishError::Unavailable(Excerpt::new("down"))),
            Step::Hang => std::future::pending().await,
            Step::Panic => panic!("the publisher panics at {id}, as it was told"),
        }
        self.lock().taken.push(id.to_owned());
        Ok(())
    }
}

impl AsyncMessagePublisher for Script {
    type Error = Excerpt;

    async fn publish(&self, message: MessageRef<'_>) -> Result<(), PublishError<Excerpt>> {
        self.step(message.id).await
    }
}

/// A bus in RAM behind a script.
#[derive(Clone, Debug)]
pub struct ScriptedBus {
    pub script: Script,
    pub bus: InMemoryBus,
}

impl ScriptedBus {
    pub fn new(clock: &VirtualClock) -> Self {
        Self {
            script: Script::new(clock),
            bus: InMemoryBus::new(),
        }
    }
}

/// What the script said, or the bus.
#[derive(Debug)]
pub struct Said(Excerpt);

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl std::error::Error for Said {}

impl Bus for ScriptedBus {
    type Error = Said;

    async fn send_message(&self, message: MessageRef<'_>) -> Result<(), PublishError<Said>> {
        self.script
            .step(message.id)
            .await
            .map_err(|error| error.map(Said))?;
        let sent = self.bus.send_message(message).await;
        sent.map_err(|error| error.map(|error| Said(Excerpt::display(&error))))
    }
    async fn publish_message(&self, message: MessageRef<'_>) -> Result<(), PublishError<Said>> {
        self.script
            .step(message.id)
            .await
            .map_err(|error| error.map(Said))?;
        let sent = self.bus.publish_message(message).await;
        sent.map_err(|error| error.map(|error| Said(Excerpt::display(&error))))
    }
}

postbox::dyn_bus!(ScriptedBus);

impl BusConsumer for ScriptedBus {
    type Error = BusFull;
    type Source = InMemorySource;

    async fn listen(&self, commands: &[&str]) -> Result<InMemorySource, BusFull> {
        self.bus.listen(commands).await
    }
    async fn subscribe(&self, events: &[&str], group: &str) -> Result<InMemorySource, BusFull> {
        self.bus.subscribe(events, group).await
    }
}
