//! The application: a todo, what can happen to it, and one handler a command. It knows no file and no broker.

use std::sync::atomic::AtomicUsize;

use postbox::aggregate::{Aggregate, AggregateRepository, Entity, QueuedRepository, Repository};
use postbox::message::OutboxMessage;
use postbox::register_handlers;
use postbox::service::{Context, HandlerError, HandlerResult, HasRepo, Service};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::store::Store;

#[derive(Debug, Default)]
pub(crate) struct Todo {
    entity: Entity,
    title: String,
    done: bool,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum TodoEvent {
    Created { title: String },
    Renamed { title: String },
    Completed,
}

impl Aggregate for Todo {
    type Event = TodoEvent;
    const TYPE: &'static str = "todo";

    fn entity(&self) -> &Entity {
        &self.entity
    }
    fn entity_mut(&mut self) -> &mut Entity {
        &mut self.entity
    }
    fn apply(&mut self, event: &TodoEvent) {
        match event {
            TodoEvent::Created { title } | TodoEvent::Renamed { title } => self.title.clone_from(title),
            TodoEvent::Completed => self.done = true,
        }
    }
}

impl Todo {
    fn create(id: &str, title: String) -> Result<Self, HandlerError> {
        let mut todo = Self {
            entity: Entity::new(id),
            ..Self::default()
        };
        todo.record(TodoEvent::Created { title })?;
        Ok(todo)
    }

    fn rename(&mut self, title: String) -> Result<(), HandlerError> {
        if self.done {
            return Err(HandlerError::permanent("a todo that is done keeps its title"));
        }
        Ok(self.record(TodoEvent::Renamed { title })?)
    }

    fn complete(&mut self) -> Result<(), HandlerError> {
        if self.done {
            return Err(HandlerError::permanent("it is done already"));
        }
        Ok(self.record(TodoEvent::Completed)?)
    }

    /// Commits the todo together with one message, which is published right after the commit.
    async fn commit(mut self, ctx: &Context<'_, App>, name: &str) -> HandlerResult {
        let id = message_id(self.entity.id(), self.entity.version());
        let news = json!({ "id": self.entity.id(), "title": self.title, "done": self.done });
        let message = OutboxMessage::create(id, name, news.to_string())?;
        let receipt = ctx.commit_outbox(&mut self, message).await?;
        Ok(json!({ "published": receipt.is_published() }))
    }
}

/// The id of the message about a todo's event: known in advance, so that the check can look for it.
pub(crate) fn message_id(todo: &str, sequence: u64) -> String {
    format!("{todo}:{sequence}")
}

/// What the handlers work with.
#[derive(Debug)]
pub(crate) struct App {
    todos: AggregateRepository<QueuedRepository<Store>, Todo>,
    /// How many completed todos the subscriber has heard of.
    pub(crate) heard: AtomicUsize,
}

impl HasRepo for App {
    type Repo = AggregateRepository<QueuedRepository<Store>, Todo>;

    fn repo(&self) -> &Self::Repo {
        &self.todos
    }
}

/// The service over a database.
pub(crate) fn service(repository: Store) -> Service<App> {
    let app = App {
        todos: repository.queued().aggregate(),
        heard: AtomicUsize::new(0),
    };
    register_handlers!(
        Service::with_repo(app),
        command handlers::create,
        command handlers::rename,
        command handlers::complete,
        event handlers::completed,
    )
}

mod handlers {
    use super::{App, Context, Deserialize, HandlerError, HandlerResult, Todo};

    #[derive(Deserialize)]
    struct Input {
        id: String,
        #[serde(default)]
        title: String,
    }

    async fn existing(ctx: &Context<'_, App>, id: &str) -> Result<Todo, HandlerError> {
        let todo = ctx.repo().get(id).await?;
        todo.ok_or_else(|| HandlerError::not_found(format_args!("the todo {id:?}")))
    }

    pub(super) mod create {
        use super::{App, Context, HandlerError, HandlerResult, Input, Todo};

        pub(crate) const COMMAND: &str = "todo.create";

        pub(crate) fn guard(ctx: &Context<'_, App>) -> bool {
            ctx.has_fields(&["id", "title"])
        }

        pub(crate) async fn handle(ctx: &Context<'_, App>) -> HandlerResult {
            let input: Input = ctx.input()?;
            if ctx.repo().get(&input.id).await?.is_some() {
                return Err(HandlerError::permanent("there is such a todo already"));
            }
            Todo::create(&input.id, input.title)?
                .commit(ctx, "todo.created")
                .await
        }
    }

    pub(super) mod rename {
        use super::{App, Context, HandlerResult, Input, existing};

        pub(crate) const COMMAND: &str = "todo.rename";

        pub(crate) fn guard(ctx: &Context<'_, App>) -> bool {
            ctx.has_fields(&["id", "title"])
        }

        pub(crate) async fn handle(ctx: &Context<'_, App>) -> HandlerResult {
            let input: Input = ctx.input()?;
            let mut todo = existing(ctx, &input.id).await?;
            todo.rename(input.title)?;
            todo.commit(ctx, "todo.renamed").await
        }
    }

    pub(super) mod complete {
        use super::{App, Context, HandlerResult, Input, existing};

        pub(crate) const COMMAND: &str = "todo.complete";

        pub(crate) fn guard(ctx: &Context<'_, App>) -> bool {
            ctx.has_fields(&["id"])
        }

        pub(crate) async fn handle(ctx: &Context<'_, App>) -> HandlerResult {
            let input: Input = ctx.input()?;
            let mut todo = existing(ctx, &input.id).await?;
            todo.complete()?;
            todo.commit(ctx, "todo.completed").await
        }
    }

    pub(super) mod completed {
        use std::sync::atomic::Ordering;

        use super::{App, Context, HandlerResult};

        pub(crate) const EVENT: &str = "todo.completed";

        pub(crate) fn guard(ctx: &Context<'_, App>) -> bool {
            ctx.has_fields(&["id"])
        }

        pub(crate) async fn handle(ctx: &Context<'_, App>) -> HandlerResult {
            ctx.dependencies().heard.fetch_add(1, Ordering::Relaxed);
            Ok(serde_json::Value::Null)
        }
    }
}
