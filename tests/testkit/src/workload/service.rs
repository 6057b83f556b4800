//! The aggregate and the handlers of the workload.

use std::time::Duration;

use postbox::aggregate::{Aggregate, AggregateRepository, Entity, QueuedRepository, Repository};
use postbox::message::OutboxMessage;
use postbox::service::{Context, HandlerError, HandlerResult, HasRepo, Service};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::store::SimRepository;
use crate::world::Node;

/// Adds to a tally and announces it.
pub(crate) const ADD: &str = "tally.add";
/// What was added.
pub(crate) const ADDED: &str = "tally.added";
/// Notes on a second board: a command that the first board's handler enqueues.
const NOTE: &str = "board.note";
/// What the id of that command ends with.
pub(crate) const NOTED: &str = "-noted";
/// What the id of a board ends with.
pub(crate) const BOARD: &str = "-board";

type Repo = AggregateRepository<QueuedRepository<SimRepository>, Tally>;

/// The repository, and the process it belongs to.
#[derive(Debug)]
pub(crate) struct Dependencies {
    repo: Repo,
    node: Node,
}

impl HasRepo for Dependencies {
    type Repo = Repo;

    fn repo(&self) -> &Repo {
        &self.repo
    }
}

/// The service of one process.
pub(crate) fn service(node: &Node) -> Service<Dependencies> {
    let repo = node.repository().queued().aggregate();
    let node = node.clone();
    Service::with_repo(Dependencies { repo, node })
        .command(ADD)
        .handle(add)
        .event(ADDED)
        .handle(announced)
        .command(NOTE)
        .handle(note)
}

/// What all messages of the workload carry.
#[derive(Clone, Deserialize, Serialize)]
struct Input {
    tally: String,
    message: String,
    #[serde(default)]
    later: bool,
}

/// Adds to the tally and enqueues the announcement.
async fn add(ctx: &Context<'_, Dependencies>) -> HandlerResult {
    let input: Input = ctx.input()?;
    ctx.dependencies().node.may_panic();
    let mut tally = open(ctx, input.tally.clone()).await?;
    tally.record(TallyEvent::Added {
        message: input.message.clone(),
    })?;
    let mut message = OutboxMessage::create(input.message.clone(), ADDED, serde_json::to_vec(&input)?)?;
    if input.later {
        message = message.with_delay(Duration::from_millis(700));
    }
    let receipt = ctx.commit_outbox(&mut tally, message).await?;
    Ok(json!(receipt.is_published()))
}

/// Notes the announcement on the tally's board; every third is passed on by a command.
async fn announced(ctx: &Context<'_, Dependencies>) -> HandlerResult {
    let input: Input = ctx.input()?;
    ctx.dependencies().node.may_panic();
    let mut board = open(ctx, format!("{}{BOARD}", input.tally)).await?;
    board.record(TallyEvent::Noted {
        message: input.message.clone(),
    })?;
    if input.message.ends_with(['0', '3', '6', '9']) {
        let id = format!("{}{NOTED}", input.message);
        let message = OutboxMessage::command(id, NOTE, serde_json::to_vec(&input)?)?;
        ctx.commit_outbox(&mut board, message).await?;
    } else {
        ctx.commit(&mut board).await?;
    }
    Ok(Value::Null)
}

/// Notes what was passed on.
async fn note(ctx: &Context<'_, Dependencies>) -> HandlerResult {
    let input: Input = ctx.input()?;
    ctx.dependencies().node.may_panic();
    let mut board = open(ctx, format!("{}{NOTED}{BOARD}", input.tally)).await?;
    let message = format!("{}{NOTED}", input.message);
    board.record(TallyEvent::Noted { message })?;
    ctx.commit(&mut board).await?;
    Ok(Value::Null)
}

async fn open(ctx: &Context<'_, Dependencies>, id: String) -> Result<Tally, HandlerError> {
    if let Some(tally) = ctx.repo().get(&id).await? {
        return Ok(tally);
    }
    let mut tally = Tally::default();
    tally.record(TallyEvent::Opened { id })?;
    Ok(tally)
}

/// What was added, and what was noted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    entity: Entity,
    pub(crate) added: Vec<String>,
    pub(crate) notes: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum TallyEvent {
    Opened { id: String },
    Added { message: String },
    Noted { message: String },
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
            TallyEvent::Added { message } => self.added.push(message.clone()),
            TallyEvent::Noted { message } => self.notes.push(message.clone()),
        }
    }
}
