//! A small service: tallies that say when something was added, and what is wrong with an input.

use postbox::aggregate::{Aggregate, AggregateRepository, Entity, QueuedRepository, RepositoryError};
use postbox::message::OutboxMessage;
use postbox::service::{Context, HandlerError, HandlerResult, Service};
use postbox_hashmap::HashMapRepository;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub type Repo = AggregateRepository<QueuedRepository<HashMapRepository>, Tally>;

#[derive(Debug, Default)]
pub struct Tally {
    entity: Entity,
    pub sum: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum TallyEvent {
    Opened { id: String },
    Added,
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
        match event {
            TallyEvent::Opened { id } => self.entity.set_id(id),
            TallyEvent::Added => self.sum += 1,
        }
    }
}

impl Tally {
    pub fn open(id: &str) -> Result<Self, RepositoryError> {
        let mut tally = Self::default();
        tally.record(TallyEvent::Opened { id: id.to_owned() })?;
        Ok(tally)
    }
}

#[derive(Deserialize)]
struct Input {
    tally: String,
    message: String,
}

/// Adds one and enqueues the event `tally.added`; answers what became of it.
pub async fn add(ctx: &Context<'_, Repo>) -> HandlerResult {
    enqueue(ctx, |id| OutboxMessage::create(id, "tally.added", b"{}".to_vec())).await
}

/// Adds one and enqueues the command `tally.note`.
pub async fn follow_up(ctx: &Context<'_, Repo>) -> HandlerResult {
    let id = format!("{}-note", ctx.message().id().unwrap_or_default());
    let mut tally = Tally::open(&id)?;
    tally.record(TallyEvent::Added)?;
    let payload = json!({ "tally": "notes", "message": "noted" }).to_string();
    ctx.commit_outbox(&mut tally, OutboxMessage::command(id, "tally.note", payload)?)
        .await?;
    Ok(Value::Null)
}

/// Adds one and enqueues nothing.
pub async fn note(ctx: &Context<'_, Repo>) -> HandlerResult {
    let input: Input = ctx.input()?;
    let mut tally = load(ctx, &input.tally).await?;
    tally.record(TallyEvent::Added)?;
    ctx.commit(&mut tally).await?;
    Ok(Value::Null)
}

pub async fn nothing(_: &Context<'_, Repo>) -> HandlerResult {
    Ok(Value::Null)
}

pub async fn fails(_: &Context<'_, Repo>) -> HandlerResult {
    Err(HandlerError::permanent("never"))
}

pub async fn panics(ctx: &Context<'_, Repo>) -> HandlerResult {
    let _held = load(ctx, "held").await?;
    panic!("the handler panics, as it was told")
}

async fn enqueue(
    ctx: &Context<'_, Repo>,
    make: impl FnOnce(String) -> Result<OutboxMessage, postbox::id::Invalid>,
) -> HandlerResult {
    let input: Input = ctx.input()?;
    let mut tally = load(ctx, &input.tally).await?;
    tally.record(TallyEvent::Added)?;
    let receipt = ctx.commit_outbox(&mut tally, make(input.message)?).await?;
    let status = receipt.messages().next().map(|(_, status)| status);
    Ok(json!(status.map(|status| format!("{status:?}"))))
}

async fn load(ctx: &Context<'_, Repo>, id: &str) -> Result<Tally, HandlerError> {
    Ok(match ctx.repo().get(id).await? {
        Some(tally) => tally,
        None => Tally::open(id)?,
    })
}

pub fn service(repository: &HashMapRepository) -> Service<Repo> {
    let repo = AggregateRepository::new(QueuedRepository::new(repository.clone()));
    Service::with_repo(repo).command("tally.add").handle(add)
}

pub async fn sum(service: &Service<Repo>, id: &str) -> u64 {
    let found = service.dependencies().peek(id).await.expect("a look");
    found.map_or(0, |tally| tally.sum)
}
