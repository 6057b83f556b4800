//! A service as a program has it, over any repository: a command stores an event and a message in one commit, and the
//! message is published right after it, by a bus that takes everything at once.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use postbox::aggregate::{
    Aggregate, CommitBatch, Committed, Entity, InboxReceipt, Repository, RepositoryError, SnapshotRecord,
    StreamIdentity, StreamTail,
};
use postbox::bus::Bus;
use postbox::message::{MessageRef, OutboxMessage};
use postbox::publisher::PublishError;
use postbox::store::{HasOutboxStore, KeyOf};
use serde::{Deserialize, Serialize};

/// What is stored beside the message.
pub(crate) const BODY: usize = 64;
/// What a message carries.
pub(crate) const PAYLOAD: usize = 256;

/// What happened to an order: one event.
#[derive(Debug, Default)]
pub(crate) struct Order {
    entity: Entity,
}

#[derive(Deserialize, Serialize)]
pub(crate) enum OrderEvent {
    Placed(String),
}

impl Aggregate for Order {
    type Event = OrderEvent;
    const TYPE: &'static str = "order";

    fn entity(&self) -> &Entity {
        &self.entity
    }
    fn entity_mut(&mut self) -> &mut Entity {
        &mut self.entity
    }
    fn apply(&mut self, _: &OrderEvent) {}
}

impl Order {
    pub(crate) fn place(id: &str) -> Result<Self, RepositoryError> {
        let mut order = Self {
            entity: Entity::new(id),
        };
        order.record(OrderEvent::Placed("b".repeat(BODY)))?;
        Ok(order)
    }
}

/// The message about order `number`, with an ordering key of its own.
pub(crate) fn message(number: u64) -> Result<OutboxMessage, postbox::id::Invalid> {
    OutboxMessage::create(format!("m{number:012}"), "order.placed", vec![b'x'; PAYLOAD])?
        .with_key(format!("order/{number:012}"))
}

/// Which message this is.
fn number(id: &str) -> Option<usize> {
    id.get(1..)?.parse().ok()
}

/// A broker in memory that takes everything at once, and knows when it took what.
#[derive(Clone, Debug)]
pub(crate) struct Broker {
    pub(crate) taken: Arc<AtomicU64>,
    clock: Arc<Stamps>,
}

postbox::dyn_bus!(Broker);

impl Broker {
    /// That notes when it took the first so many messages.
    pub(crate) fn noting(messages: usize) -> Self {
        Self {
            taken: Arc::default(),
            clock: Arc::new(Stamps::new(messages)),
        }
    }

    /// When each message was taken.
    pub(crate) fn stamps(&self) -> &Stamps {
        &self.clock
    }
}

impl Bus for Broker {
    type Error = Infallible;

    async fn send_message(&self, message: MessageRef<'_>) -> Result<(), PublishError<Infallible>> {
        self.publish_message(message).await
    }

    async fn publish_message(&self, message: MessageRef<'_>) -> Result<(), PublishError<Infallible>> {
        self.taken.fetch_add(1, Relaxed);
        self.clock.note(message.id);
        Ok(())
    }
}

/// When something was first true of each message.
#[derive(Debug)]
pub(crate) struct Stamps(Vec<AtomicU64>);

impl Stamps {
    pub(crate) fn new(messages: usize) -> Self {
        Self((0..messages).map(|_| AtomicU64::new(0)).collect())
    }

    fn note(&self, id: &str) {
        if let Some(stamp) = number(id).and_then(|number| self.0.get(number)) {
            let _ = stamp.compare_exchange(0, now(), Relaxed, Relaxed);
        }
    }

    /// From this to that, in microseconds, for every message that has both.
    pub(crate) fn until(&self, later: &Self) -> Vec<f64> {
        let both = self.0.iter().zip(&later.0);
        both.map(|(from, to)| (from.load(Relaxed), to.load(Relaxed)))
            .filter(|(from, to)| *from > 0 && *to > 0)
            .map(|(from, to)| crate::load::micros(Duration::from_nanos(to.saturating_sub(from))))
            .collect()
    }
}

/// Nanoseconds since the first call, and never 0.
fn now() -> u64 {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_nanos())
        .unwrap_or(u64::MAX)
        .saturating_add(1)
}

/// A repository that notes when its commits returned, by the ids of their messages.
#[derive(Clone, Debug)]
pub(crate) struct Noting<R> {
    pub(crate) repository: R,
    pub(crate) stamps: Arc<Stamps>,
}

impl<R: Repository> Repository for Noting<R> {
    async fn load(&self, stream: &StreamIdentity, after: u64) -> Result<Option<StreamTail>, RepositoryError> {
        self.repository.load(stream, after).await
    }

    async fn snapshot(&self, stream: &StreamIdentity) -> Result<Option<SnapshotRecord>, RepositoryError> {
        self.repository.snapshot(stream).await
    }

    async fn commit(&self, batch: CommitBatch) -> Result<Committed<KeyOf<Self>>, RepositoryError> {
        let committed = self.repository.commit(batch).await?;
        for message in &committed.messages {
            self.stamps.note(&message.id);
        }
        Ok(committed)
    }

    async fn has_receipt(&self, receipt: &InboxReceipt) -> Result<bool, RepositoryError> {
        self.repository.has_receipt(receipt).await
    }
}

impl<R: HasOutboxStore> HasOutboxStore for Noting<R> {
    type OutboxStore = R::OutboxStore;

    fn outbox_store(&self) -> Self::OutboxStore {
        self.repository.outbox_store()
    }
}

/// A service over one kind of repository: `open` with a repository, and with the bus that publishes right after each
/// commit or without one; `backstop` to go with it. Concrete, so that it is known what is `Send`.
macro_rules! shop {
    ($module:ident, $repository:ty) => {
        pub(crate) mod $module {
            use postbox::aggregate::{AggregateRepository, QueuedRepository, Repository as _};
            use postbox::backstop::{Backstop, BackstopConfig, BackstopReport};
            use postbox::bus::BusPublisher;
            use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
            use postbox::id::{Invalid, WorkerId};
            use postbox::service::{Context, HandlerResult, Service, Session};
            use postbox::store::HasOutboxStore as _;
            use postbox::wakeup::Never;
            use postbox_tokio::{BackstopHandle, TokioTimer, spawn_backstop};

            #[allow(unused_imports, reason = "not every store is used in every way")]
            use super::*;
            use crate::Failure;
            use crate::load::{Request, request};

            type App = AggregateRepository<QueuedRepository<$repository>, Order>;

            async fn place(ctx: &Context<'_, App>) -> HandlerResult {
                let number: u64 = ctx.input()?;
                let mut order = Order::place(&format!("o{number:012}"))?;
                ctx.commit_outbox(&mut order, message(number)?).await?;
                Ok(serde_json::Value::Null)
            }

            /// Places an order by a command.
            pub(crate) fn open(repository: $repository, broker: Option<Broker>) -> Result<Request, Failure> {
                let service = Service::with_repo(repository.queued().aggregate::<Order>())
                    .command("order.place")
                    .handle(place);
                Ok(match broker {
                    Some(broker) => {
                        let app = Arc::new(service.with_bus(broker).with_timer(TokioTimer).build()?);
                        request(move |number| {
                            let app = app.clone();
                            async move {
                                let input = serde_json::Value::from(number);
                                app.service()
                                    .dispatch("order.place", input, Session::new())
                                    .await?;
                                Ok(())
                            }
                        })
                    }
                    None => {
                        let service = Arc::new(service.build()?);
                        request(move |number| {
                            let service = service.clone();
                            async move {
                                let input = serde_json::Value::from(number);
                                service
                                    .dispatch("order.place", input, Session::new())
                                    .await?;
                                Ok(())
                            }
                        })
                    }
                })
            }

            /// Publishes what is left, hinted by the store, or by nobody.
            pub(crate) fn backstop(
                repository: &$repository,
                broker: Broker,
                config: BackstopConfig,
                hinted: bool,
            ) -> BackstopHandle<BackstopReport, Invalid> {
                let told = DispatchConfig::new(WorkerId::random());
                let dispatcher =
                    OutboxDispatcher::new(repository.outbox_store(), BusPublisher::new(broker), told)
                        .with_timer(TokioTimer);
                let mut backstop = Backstop::new(dispatcher, config);
                spawn_backstop(move |shutdown| async move {
                    if hinted {
                        return Box::pin(backstop.run(shutdown)).await;
                    }
                    Box::pin(backstop.with_wakeup(Never).run(shutdown)).await
                })
            }
        }
    };
}

shop!(hashmap, Noting<postbox_hashmap::HashMapRepository>);
shop!(sqlite, Noting<postbox_sqlite::SqliteRepository>);
shop!(postgres, Noting<postbox_postgres::PostgresRepository>);
