//! Running a microservice: consumers, and the backstop, poll-joined on the caller's task.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::Pending;
use core::pin::Pin;
use core::task::{Context as TaskContext, Poll};

use pin_project_lite::pin_project;
use portable_atomic::{AtomicUsize, Ordering};

use super::{BuildError, HasRepo, ImmediatePublish, Microservice, Service};
use crate::aggregate::{InboxReceipt, InboxStore};
use crate::backstop::Backstop;
use crate::bus::{
    Bus, BusConsumer, Consumer, Handling, Message, MessageHandler, MessageSource, RunError, RunOptions,
};
use crate::dispatcher::DispatchConfig;
use crate::id::Excerpt;
use crate::join::{SharedWakes, TryJoin, race};
use crate::runtime::{DynTimer, NoTimer, Timer};
use crate::store::HasOutboxStore;
use crate::sync::Stop;

/// How many messages one pass of `run` publishes.
const BATCH: usize = 256;

impl<D, B> Microservice<D, B>
where
    D: HasRepo,
    D::Repo: HasOutboxStore + InboxStore,
    B: Bus + BusConsumer,
{
    /// Handles and publishes everything there is, and returns when a whole round found nothing: no
    /// message on the bus, nothing due in the outbox. A command that an event handler enqueued is handled
    /// before it returns.
    ///
    /// Commands and events are handled side by side, one at a time each, on the caller's task. There is no
    /// timer here: publishes have no timeout, and messages to be delivered again are, at the end of the
    /// round.
    ///
    /// # Cancel safety
    /// Dropped in the middle, the messages in hand are delivered again.
    ///
    /// # Errors
    /// The first [`RunError`]; the other consumer finishes the message it has in hand before it is returned.
    pub async fn run(&self, options: RunOptions) -> Result<(), RunError> {
        let config = self.check().map_err(|error| refused(&error))?;
        let stop = Stop::new();
        let handlers = Handlers {
            service: &self.service,
            immediate: self.service.immediate.clone(),
        };
        let timer = NoTimer;
        let (mut commands, mut events) = self
            .consumers(&handlers, &options, &timer, &stop, &config)
            .await?;
        let dispatcher = self.dispatcher();
        loop {
            let handled = AtomicUsize::new(0);
            let children = pair(
                drained(commands.as_mut(), &handled),
                drained(events.as_mut(), &handled),
            );
            TryJoin::new(children, SharedWakes::new(), |_: &RunError| stop.set()).await?;
            let pass = dispatcher.dispatch_batch(BATCH).await;
            let pass = pass.map_err(|error| RunError::Store(Excerpt::display(&error)))?;
            if handled.load(Ordering::Relaxed) == 0 && pass.published == 0 && pass.dead == 0 {
                return Ok(());
            }
        }
    }

    /// Runs until `shutdown` resolves: both consumers and the backstop, with timeouts by `timer`.
    ///
    /// On shutdown it takes nothing new, finishes the messages in hand and the publishes under way, gives
    /// everything else back, and returns.
    ///
    /// # Cancel safety
    /// Dropped instead, the messages in hand are delivered again and the claims lapse.
    ///
    /// # Errors
    /// The first [`RunError`], after the others have stopped as on shutdown. Failing brokers and stores do
    /// not end it: it backs off and goes on.
    pub async fn run_with<T>(
        &self,
        timer: T,
        shutdown: impl Future<Output = ()>,
        options: RunOptions,
    ) -> Result<(), RunError>
    where
        T: Timer + DynTimer + Clone + 'static,
    {
        let config = self.check().map_err(|error| refused(&error))?;
        let stop = Stop::new();
        let immediate = self
            .service
            .immediate
            .clone()
            .map(|path| path.with_timer(Arc::new(timer.clone())));
        let handlers = Handlers {
            service: &self.service,
            immediate,
        };
        let (mut commands, mut events) = self
            .consumers(&handlers, &options, &timer, &stop, &config)
            .await?;
        let mut backstop = Backstop::new(self.dispatcher().with_timer(timer.clone()), options.backstop);
        // On the heap: the engines are large, and an array makes each child as large as the largest.
        let children = [
            Child::First {
                future: Box::pin(running(commands.as_mut())),
            },
            Child::Second {
                future: Box::pin(running(events.as_mut())),
            },
            Child::Third {
                future: Box::pin(async { Ok(backstop.run(stop.wait()).await.map(|_| ())?) }),
            },
            Child::Fourth {
                future: async {
                    race(shutdown, stop.wait()).await;
                    stop.set();
                    Ok(())
                },
            },
        ];
        TryJoin::new(children, SharedWakes::new(), |_: &RunError| stop.set()).await
    }

    /// A consumer of commands and one of events, where there are handlers.
    async fn consumers<'a, T: Timer>(
        &'a self,
        handlers: &'a Handlers<'a, D>,
        options: &'a RunOptions,
        timer: &'a T,
        stop: &'a Stop,
        config: &DispatchConfig,
    ) -> Result<Pair<Consumer<'a, B::Source, Handlers<'a, D>, T>>, RunError> {
        let plan = self.service.subscription_plan();
        let consumer = |source| Consumer {
            source,
            handler: handlers,
            options,
            timer,
            stop,
            observer: config.observer(),
            postponed: Vec::new(),
        };
        let bus = |error: <B as BusConsumer>::Error| RunError::Bus(Excerpt::display(&error));
        let mut pair = (None, None);
        if !plan.commands.is_empty() {
            let names: Vec<&str> = plan.commands.iter().map(AsRef::as_ref).collect();
            pair.0 = Some(consumer(self.bus.listen(&names).await.map_err(bus)?));
        }
        if !plan.events.is_empty() {
            let names: Vec<&str> = plan.events.iter().map(AsRef::as_ref).collect();
            pair.1 = Some(consumer(
                self.bus
                    .subscribe(&names, self.service.name())
                    .await
                    .map_err(bus)?,
            ));
        }
        Ok(pair)
    }
}

type Pair<T> = (Option<T>, Option<T>);

fn pair<A, B>(first: A, second: B) -> [Child<A, B>; 2] {
    [Child::First { future: first }, Child::Second { future: second }]
}

async fn drained<S: MessageSource, H: MessageHandler, T: Timer>(
    consumer: Option<&mut Consumer<'_, S, H, T>>,
    handled: &AtomicUsize,
) -> Result<(), RunError> {
    if let Some(consumer) = consumer {
        handled.fetch_add(consumer.drain().await?, Ordering::Relaxed);
    }
    Ok(())
}

async fn running<S: MessageSource, H: MessageHandler, T: Timer>(
    consumer: Option<&mut Consumer<'_, S, H, T>>,
) -> Result<(), RunError> {
    match consumer {
        Some(consumer) => consumer.run().await,
        None => Ok(()),
    }
}

fn refused(error: &BuildError) -> RunError {
    RunError::Refused(error.to_string())
}

/// A service as its consumers see it.
struct Handlers<'a, D> {
    service: &'a Service<D>,
    immediate: Option<ImmediatePublish>,
}

impl<D> MessageHandler for Handlers<'_, D>
where
    D: HasRepo,
    D::Repo: InboxStore,
{
    async fn handle(&self, message: &Message, receipt: Option<InboxReceipt>) -> Handling {
        if !self.service.handles_message(message.kind(), message.name()) {
            return Handling::Unknown;
        }
        match self
            .service
            .consume(message, receipt, self.immediate.as_ref())
            .await
        {
            Ok(true) => Handling::Done,
            Ok(false) => Handling::Duplicate,
            Err(error) => Handling::Failed {
                retryable: error.is_retryable(),
                reason: Excerpt::display(&error),
            },
        }
    }
}

pin_project! {
    /// Futures of different types under one name, so that an array can hold them.
    #[project = Projected]
    enum Child<A, B, C = Pending<Result<(), RunError>>, E = Pending<Result<(), RunError>>> {
        First { #[pin] future: A },
        Second { #[pin] future: B },
        Third { #[pin] future: C },
        Fourth { #[pin] future: E },
    }
}

impl<A, B, C, E> Future for Child<A, B, C, E>
where
    A: Future<Output = Result<(), RunError>>,
    B: Future<Output = Result<(), RunError>>,
    C: Future<Output = Result<(), RunError>>,
    E: Future<Output = Result<(), RunError>>,
{
    type Output = Result<(), RunError>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::First { future } => future.poll(cx),
            Projected::Second { future } => future.poll(cx),
            Projected::Third { future } => future.poll(cx),
            Projected::Fourth { future } => future.poll(cx),
        }
    }
}
