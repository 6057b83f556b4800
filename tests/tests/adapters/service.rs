//! The same service over two stores: a command commits and publishes, its event is handled, and what a commit left
//! behind is published by the backstop.

use std::sync::Arc;

use postbox::aggregate::{Aggregate, AggregateRepository, CommitBatch, Entity, QueuedRepository, Repository};
use postbox::bus::{Bus, InMemoryBus, RunOptions};
use postbox::message::{Message, MessageKind, OutboxMessage};
use postbox::runtime::Timer;
use postbox::service::{Context, HandlerResult, Service};
use postbox::store::{HasOutboxStore, OutboxOperator};
use postbox::sync::Stop;
use postbox::time::Clock;
use postbox_hashmap::HashMapRepository;
use postbox_sqlite::{Execution, SqliteOptions, SqliteRepository};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::hosts::Host;
use crate::parts::{millis, patiently};

#[derive(Debug, Default)]
struct Tally {
    entity: Entity,
    sum: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum TallyEvent {
    Added { id: String },
}

impl Aggregate for Tally {
    type Event = TallyEvent;
    const TYPE: &'static str = "tally";

    fn entity(&self) -> &Entity {
        &self.entity
    }
    fn entity_mut(&mut self) -> &mut Entity {
        &mut self.entity
    }
    fn apply(&mut self, event: &TallyEvent) {
        let TallyEvent::Added { id } = event;
        self.entity.set_id(id);
        self.sum += 1;
    }
}

macro_rules! service_over {
    ($check:ident, $module:ident, $repository:ty, $open:expr) => {
        mod $module {
            use super::*;

            pub(super) type Repo = AggregateRepository<QueuedRepository<$repository>, Tally>;

            /// Adds one and tells so.
            pub(super) async fn add(ctx: &Context<'_, Repo>) -> HandlerResult {
                enqueue(ctx, "commands").await?;
                Ok(Value::Null)
            }

            /// Counts what it was told, in a tally of its own.
            pub(super) async fn count(ctx: &Context<'_, Repo>) -> HandlerResult {
                let mut tally = ctx.repo().get("events").await?.unwrap_or_default();
                tally.record(TallyEvent::Added {
                    id: "events".into(),
                })?;
                ctx.commit(&mut tally).await?;
                Ok(Value::Null)
            }

            async fn enqueue(ctx: &Context<'_, Repo>, id: &str) -> HandlerResult {
                let mut tally = ctx.repo().get(id).await?.unwrap_or_default();
                tally.record(TallyEvent::Added { id: id.into() })?;
                let message = format!("{}-added", ctx.message().id().unwrap_or_default());
                let message = OutboxMessage::create(message, "tally.added", b"{}".to_vec())?;
                ctx.commit_outbox(&mut tally, message).await?;
                Ok(json!(tally.sum))
            }
        }

        pub async fn $check<H: Host>() {
            let repository: $repository = $open(H::TIMER);
            // Left behind by an earlier process: only a backstop can publish it.
            let left = OutboxMessage::create("left", "tally.added", b"{}".to_vec()).unwrap();
            let batch = CommitBatch {
                messages: vec![left],
                ..CommitBatch::new()
            };
            repository.commit(batch).await.unwrap();

            let bus = InMemoryBus::new();
            let repo = AggregateRepository::new(QueuedRepository::new(repository.clone()));
            let service = Service::with_repo(repo);
            let service = service.command("tally.add").handle($module::add);
            let app = service
                .event("tally.added")
                .handle($module::count)
                .with_bus(bus.clone());
            let stop = Stop::new();
            let run = app.run_with(H::TIMER, stop.wait(), RunOptions::idempotent());
            let tallies = AggregateRepository::<_, Tally>::new(repository.clone());
            let sum = async |id| tallies.get(id).await.unwrap().map_or(0, |tally| tally.sum);
            let drive = async {
                command(&bus, 5).await;
                while (sum("commands").await, sum("events").await) != (5, 6) {
                    H::TIMER.sleep_until(H::TIMER.now() + millis(2)).await;
                }
                stop.set();
            };
            let both = futures_util::future::join(run, drive);
            let (ended, ()) = patiently(H::TIMER, "five commands and six events", both).await;
            ended.unwrap();
            let counts = repository.outbox_store().counts().await.unwrap();
            assert_eq!((counts.pending, counts.in_flight, counts.dead), (0, 0, 0));
        }
    };
}

/// Sends so many commands, to whoever listens.
async fn command(bus: &InMemoryBus, commands: usize) {
    for n in 0..commands {
        let message = Message::new("tally.add", MessageKind::Command, b"{}".to_vec());
        let message = message.with_id(format!("c-{n}"));
        bus.send_message(message.as_ref()).await.unwrap();
    }
}

service_over!(
    a_service_commits_publishes_and_handles_over_hashmap,
    hashmap,
    HashMapRepository,
    |timer| HashMapRepository::new().with_clock(timer)
);

service_over!(
    a_service_commits_publishes_and_handles_over_sqlite,
    sqlite,
    SqliteRepository,
    |timer| SqliteOptions::memory()
        .with_execution(Execution::Inline)
        .with_clock(Arc::new(timer))
        .open()
        .unwrap()
);
