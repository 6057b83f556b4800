//! Services: handlers by name, what they are handed, and the microservice that runs them on a bus.

mod context;
mod error;
mod handler;
mod immediate;
mod microservice;
mod register;
mod run;
mod session;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde_json::Value;

pub use context::{Context, HasRepo};
pub use error::{BuildError, HandlerError};
pub use handler::{Handler, HandlerBuilder, HandlerResult};
pub use immediate::ImmediatePublish;
pub use microservice::Microservice;
pub use session::Session;

use crate::aggregate::{InboxReceipt, InboxStore};
use crate::bus::{Bus, RunError, RunOptions, SubscriptionPlan};
use crate::id::{MAX_NAME_BYTES, check_text};
use crate::message::{Message, MessageKind};
use crate::publisher::DynPublisher;
use context::Receipt;
use handler::Registered;

/// The group and consumer name of a service that was given none.
const DEFAULT_NAME: &str = "default";

/// Handlers over their dependencies `D`: a repository, or a struct of the user's that [`HasRepo`].
///
/// Built by [`register_handlers!`](crate::register_handlers) or by [`command`](Self::command) and
/// [`event`](Self::event). A registration that is refused (a second handler for a command, a bad name) is
/// remembered: [`build`](Self::build), every dispatch and every run then return it.
///
/// ```
/// use postbox::service::{Context, HandlerResult, Service, Session};
/// use postbox::testing::{VirtualClock, run};
/// use serde_json::{Value, json};
///
/// async fn greet(ctx: &Context<'_, ()>) -> HandlerResult {
///     let name: String = ctx.input()?;
///     Ok(json!(format!("hello {name}")))
/// }
///
/// let service = Service::with_repo(()).command("greet").handle(greet).build()?;
/// let answer = run(&VirtualClock::new(), service.dispatch("greet", json!("you"), Session::new()))??;
/// assert_eq!(answer, json!("hello you"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Service<D> {
    dependencies: D,
    name: String,
    commands: BTreeMap<String, Registered<D>>,
    events: BTreeMap<String, Vec<Registered<D>>>,
    plan: SubscriptionPlan,
    refused: Option<BuildError>,
    immediate: Option<ImmediatePublish>,
}

impl<D> Service<D> {
    /// A service without handlers over these dependencies.
    pub fn with_repo(dependencies: D) -> Self {
        Self {
            dependencies,
            name: DEFAULT_NAME.into(),
            commands: BTreeMap::new(),
            events: BTreeMap::new(),
            plan: SubscriptionPlan::default(),
            refused: None,
            immediate: None,
        }
    }

    /// Names the service: the group under which it subscribes to events. `default` unless set.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        if let Err(invalid) = check_text("service name", &self.name, MAX_NAME_BYTES) {
            self.refuse(invalid.into());
        }
        self
    }

    /// A handler for a command: exactly one a name.
    pub fn command(self, name: impl Into<String>) -> HandlerBuilder<D> {
        HandlerBuilder::new(self, MessageKind::Command, alloc::vec![name.into()])
    }

    /// A handler for an event; every handler of an event runs, in the order of registration.
    pub fn event(self, name: impl Into<String>) -> HandlerBuilder<D> {
        HandlerBuilder::new(self, MessageKind::Event, alloc::vec![name.into()])
    }

    /// One handler for several events.
    pub fn events(self, names: &[&str]) -> HandlerBuilder<D> {
        HandlerBuilder::new(
            self,
            MessageKind::Event,
            names.iter().map(|name| (*name).into()).collect(),
        )
    }

    /// The service, if nothing was refused.
    ///
    /// # Errors
    /// The first [`BuildError`].
    pub fn build(self) -> Result<Self, BuildError> {
        match self.refused {
            Some(refused) => Err(refused),
            None => Ok(self),
        }
    }

    /// What it handles, in the order of registration.
    pub const fn subscription_plan(&self) -> &SubscriptionPlan {
        &self.plan
    }

    /// Whether it has a handler for this message.
    pub fn handles_message(&self, kind: MessageKind, name: &str) -> bool {
        match kind {
            MessageKind::Command => self.commands.contains_key(name),
            MessageKind::Event => self.events.contains_key(name),
        }
    }

    /// The dependencies.
    pub const fn dependencies(&self) -> &D {
        &self.dependencies
    }

    /// The group under which it subscribes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Attaches a bus: from now on handlers publish what they enqueue right after their commit.
    pub fn with_bus<B: Bus + DynPublisher + 'static>(mut self, bus: B) -> Microservice<D, B> {
        let bus = Arc::new(bus);
        self.immediate = Some(ImmediatePublish::new(bus.clone()));
        Microservice::new(self, bus)
    }

    /// Runs without a bus: always refused.
    ///
    /// # Errors
    /// [`RunError::NoBus`].
    #[expect(clippy::unused_async, reason = "as the microservice's")]
    pub async fn run(&self, _options: RunOptions) -> Result<(), RunError> {
        Err(RunError::NoBus)
    }

    /// Handles one command, outside of any bus.
    ///
    /// # Errors
    /// [`HandlerError`]: unknown command, refused by its guard, or whatever the handler returns.
    pub async fn dispatch(&self, command: &str, input: Value, session: Session) -> HandlerResult {
        let payload = serde_json::to_vec(&input)?;
        let message = Message::new(command, MessageKind::Command, payload);
        let handler = self.commands.get(command);
        let handler = handler.ok_or_else(|| HandlerError::Unknown {
            kind: MessageKind::Command,
            name: command.into(),
        })?;
        self.call(
            handler,
            &message,
            &session,
            &Receipt::none(),
            self.immediate.as_ref(),
        )
        .await
    }

    /// Handles one message as a consumer would, without an inbox: all handlers of an event.
    ///
    /// # Errors
    /// The first [`HandlerError`]; later handlers of the event do not run then.
    pub async fn dispatch_message(&self, message: &Message) -> Result<(), HandlerError> {
        let handlers = self.handlers(message)?;
        let session = Session::new();
        for handler in handlers {
            self.call(
                handler,
                message,
                &session,
                &Receipt::none(),
                self.immediate.as_ref(),
            )
            .await?;
        }
        Ok(())
    }

    /// Handles one message; under an inbox each handler has a receipt of its own and runs once in effect.
    async fn consume(
        &self,
        message: &Message,
        receipt: Option<InboxReceipt>,
        immediate: Option<&ImmediatePublish>,
    ) -> Result<bool, HandlerError>
    where
        D: HasRepo,
        D::Repo: InboxStore,
    {
        let session = Session::new();
        let mut fresh = false;
        for (index, handler) in self.handlers(message)?.iter().enumerate() {
            let receipt = Receipt::of_handler(receipt.as_ref(), index)?;
            if let Some(wanted) = receipt.wanted() {
                if self.dependencies.repo().has_receipt(&wanted).await? {
                    continue;
                }
            }
            match self.call(handler, message, &session, &receipt, immediate).await {
                Ok(_) => {}
                Err(error) if error.is_duplicate_receipt() => continue,
                Err(error) => return Err(error),
            }
            fresh = true;
            if let Some(left) = receipt.take() {
                match self.dependencies.repo().commit_receipt(left).await {
                    Err(crate::aggregate::RepositoryError::DuplicateReceipt { .. }) | Ok(()) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(fresh)
    }

    fn handlers(&self, message: &Message) -> Result<&[Registered<D>], HandlerError> {
        let name = message.name();
        match message.kind() {
            MessageKind::Command => self.commands.get(name).map(core::slice::from_ref),
            MessageKind::Event => self.events.get(name).map(Vec::as_slice),
        }
        .ok_or_else(|| HandlerError::Unknown {
            kind: message.kind(),
            name: name.into(),
        })
    }

    async fn call(
        &self,
        handler: &Registered<D>,
        message: &Message,
        session: &Session,
        receipt: &Receipt,
        immediate: Option<&ImmediatePublish>,
    ) -> HandlerResult {
        if let Some(refused) = &self.refused {
            return Err(HandlerError::Build(refused.clone()));
        }
        let context = Context::new(&self.dependencies, message, session, receipt, immediate);
        handler.call(&context).await
    }

    fn register(&mut self, kind: MessageKind, name: String, handler: Registered<D>) {
        if let Err(invalid) = check_text("handler name", &name, MAX_NAME_BYTES) {
            return self.refuse(invalid.into());
        }
        match kind {
            MessageKind::Command if self.commands.contains_key(&name) => {
                self.refuse(BuildError::DuplicateCommand { name });
            }
            MessageKind::Command => {
                self.plan.commands.push(name.clone());
                self.commands.insert(name, handler);
            }
            MessageKind::Event => {
                if !self.events.contains_key(&name) {
                    self.plan.events.push(name.clone());
                }
                self.events.entry(name).or_default().push(handler);
            }
        }
    }

    fn refuse(&mut self, error: BuildError) {
        self.refused.get_or_insert(error);
    }
}
