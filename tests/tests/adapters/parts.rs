//! What the checks of the suite are made of: a store that counts and fails, a publisher with a gate, patience.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postbox::aggregate::{CommitBatch, Repository};
use postbox::backstop::{Backstop, BackstopConfig, BackstopReport};
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::{Excerpt, Invalid, WorkerId};
use postbox::join::{Either, race};
use postbox::lease::Lease;
use postbox::message::{MessageRef, OutboxMessage};
use postbox::observe::Signal;
use postbox::publisher::{AsyncMessagePublisher, PublishError};
use postbox::retry::Backoff;
use postbox::runtime::{BoxFuture, DynTimer, Timer};
use postbox::store::{
    ClaimRef, ClaimRequest, HasOutboxStore, OutboxCounts, OutboxOperator, OutboxStore, Settled, Settlement,
};
use postbox::sync::{Stop, Watch};
use postbox::time::{Clock, Instant};
use postbox_hashmap::{HashMapClaimed, HashMapKey, HashMapOutboxStore, HashMapRepository};

use crate::hosts::{Host, Job};

/// So long a check waits for what must come: longer than any machine stands still, since some clocks are real.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// A poll that never comes while a check runs.
pub const NEVER: Duration = Duration::from_secs(100_000);

pub const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A store in RAM by the host's clock, what was claimed of it, and a publisher.
pub struct World<H: Host> {
    pub repository: HashMapRepository,
    pub store: Counting,
    pub gate: Gate,
    pub timer: H::Timer,
}

impl<H: Host> World<H> {
    pub fn new() -> Self {
        let repository = HashMapRepository::new().with_clock(H::TIMER);
        let store = Counting {
            inner: repository.outbox_store(),
            clock: Arc::new(H::TIMER),
            claims: Arc::default(),
            fails: Arc::default(),
            host: std::any::type_name::<H>(),
        };
        Self {
            repository,
            store,
            gate: Gate::default(),
            timer: H::TIMER,
        }
    }

    /// Commits so many messages.
    pub async fn commit(&self, messages: usize) {
        let mut batch = CommitBatch::new();
        for n in 0..messages {
            let message = OutboxMessage::create(format!("m-{n}"), "happened", b"{}".to_vec());
            batch.messages.push(message.unwrap());
        }
        self.repository.commit(batch).await.unwrap();
    }

    /// A backstop over it, not yet running.
    pub fn backstop(&self, config: BackstopConfig) -> Job {
        // No lease ends, and no publish is given up, because a machine stood still.
        let lease = Lease::new(Lease::LONGEST).unwrap();
        let dispatch = DispatchConfig::new(WorkerId::new(1))
            .with_observer(note)
            .with_lease(lease);
        let dispatcher = OutboxDispatcher::new(self.store.clone(), self.gate.clone(), dispatch);
        // Behind a pointer it is `Send` without being named.
        let timer: Arc<dyn DynTimer> = Arc::new(H::TIMER);
        let mut backstop = Backstop::new(dispatcher.with_timer(timer), config);
        Box::new(
            move |shutdown| -> BoxFuture<'_, Result<BackstopReport, Invalid>> {
                Box::pin(async move { backstop.run(shutdown).await })
            },
        )
    }

    pub async fn counts(&self) -> OutboxCounts {
        self.store.inner.counts().await.unwrap()
    }

    /// Waits until it is so.
    pub async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        until(self.timer, what, is_so).await;
    }
}

/// Waits until it is so, and looks often: what is measured is what the backstop does, not this.
pub async fn until<T: Timer>(timer: T, what: &str, is_so: impl Fn() -> bool) {
    let give_up = timer.now() + PATIENCE;
    while !is_so() {
        assert!(timer.now() < give_up, "still waiting for {what}");
        timer.sleep_until(timer.now() + millis(1)).await;
    }
}

/// The same for a future.
pub async fn patiently<T: Timer, R>(timer: T, what: &str, future: impl Future<Output = R>) -> R {
    let late = timer.sleep_until(timer.now() + PATIENCE);
    match race(std::pin::pin!(future), std::pin::pin!(late)).await {
        Either::A(result) => result,
        Either::B(()) => panic!("still waiting for {what}"),
    }
}

/// Where time is virtual, nothing is later than was promised, but for the rounding of the timer.
pub fn no_later<H: Host>(took: Duration, promised: Duration) {
    if let Some(rounding) = H::ROUNDING {
        assert!(took <= promised + rounding, "{took:?} instead of {promised:?}");
    }
}

/// Polls every hundredth of a second, backs off from 20 ms.
pub fn config() -> BackstopConfig {
    let backoff = Backoff::new(millis(20), Duration::from_secs(3_600)).unwrap();
    let config = BackstopConfig::new().with_store_backoff(backoff);
    config.with_poll(millis(10)).unwrap()
}

/// Notes when it was asked, and fails as often as it is told to.
#[derive(Clone)]
pub struct Counting {
    inner: HashMapOutboxStore,
    clock: Arc<dyn Clock + Send + Sync>,
    claims: Arc<Mutex<Vec<Instant>>>,
    fails: Arc<AtomicUsize>,
    host: &'static str,
}

impl Counting {
    /// When it was asked for messages.
    pub fn claims(&self) -> Vec<Instant> {
        self.claims.lock().unwrap().clone()
    }

    pub fn fail(&self, times: usize) {
        self.fails.store(times, Ordering::SeqCst);
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Broken(&'static str);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Broken {}

impl OutboxStore for Counting {
    type Error = Broken;
    type Key = HashMapKey;
    type Claimed = HashMapClaimed;
    type Batch = Vec<HashMapClaimed>;
    type Wakeup = Watch;

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Self::Batch, Broken> {
        self.claims.lock().unwrap().push(self.clock.now());
        let left = self.fails.load(Ordering::SeqCst);
        if left > 0 {
            self.fails.store(left - 1, Ordering::SeqCst);
            return Err(Broken(self.host));
        }
        let claimed = self.inner.claim(request).await;
        Ok(claimed.unwrap_or_else(|never| match never {}))
    }
    async fn renew(&self, claims: &[ClaimRef<HashMapKey>], lease: Duration) -> Result<usize, Broken> {
        let renewed = self.inner.renew(claims, lease).await;
        Ok(renewed.unwrap_or_else(|never| match never {}))
    }
    async fn settle(&self, settlements: &[Settlement<'_, HashMapKey>]) -> Result<Settled, Broken> {
        let settled = self.inner.settle(settlements).await;
        Ok(settled.unwrap_or_else(|never| match never {}))
    }
    fn wakeup(&self) -> Watch {
        self.inner.wakeup()
    }
}

/// The pauses after store errors, by host.
static PAUSES: Mutex<Vec<(String, Duration)>> = Mutex::new(Vec::new());

fn note(signal: Signal<'_>) {
    if let Signal::StoreError { error, pause, .. } = signal {
        PAUSES.lock().unwrap().push((error.to_owned(), pause));
    }
}

/// How long the backstop said it would pause after each store error of this host.
pub fn promised<H: Host>() -> Vec<Duration> {
    let host = std::any::type_name::<H>();
    let pauses = PAUSES.lock().unwrap();
    let of_host = pauses.iter().filter(|(of, _)| of == host);
    of_host.map(|(_, pause)| *pause).collect()
}

/// Publishes everything once it is open. Clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<GateState>);

#[derive(Default)]
struct GateState {
    open: Stop,
    started: AtomicUsize,
    published: AtomicUsize,
}

impl Gate {
    pub fn open(&self) {
        self.0.open.set();
    }
    pub fn started(&self) -> usize {
        self.0.started.load(Ordering::SeqCst)
    }
    pub fn published(&self) -> usize {
        self.0.published.load(Ordering::SeqCst)
    }
    /// How many hold it.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl AsyncMessagePublisher for Gate {
    type Error = Excerpt;

    async fn publish(&self, _: MessageRef<'_>) -> Result<(), PublishError<Excerpt>> {
        self.0.started.fetch_add(1, Ordering::SeqCst);
        self.0.open.wait().await;
        self.0.published.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}
