//! A service with its bus.

use alloc::sync::Arc;
use core::time::Duration;

use super::immediate::default_worker;
use super::{BuildError, HasRepo, Service};
use crate::bus::{Bus, BusPublisher};
use crate::dispatcher::{DispatchConfig, OutboxDispatcher};
use crate::id::{Invalid, WorkerId};
use crate::lease::Lease;
use crate::observe::Observer;
use crate::retry::{Backoff, RetryPolicy};
use crate::runtime::DynTimer;
use crate::store::HasOutboxStore;

/// A service attached to a bus: it publishes what its handlers enqueue and handles what the bus brings.
///
/// The setters reach the immediate path and the dispatcher alike. One that is refused is remembered:
/// [`build`](Self::build), every commit with a message, every dispatch and every run then return it.
///
/// ```no_run
/// use std::time::Duration;
/// use postbox::bus::{InMemoryBus, RunOptions};
/// use postbox::service::Service;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let app = Service::with_repo(())
///     .with_bus(InMemoryBus::new())
///     .with_publish_lease(Duration::from_secs(20))
///     .with_max_attempts(5)
///     .build()?;
/// app.run(RunOptions::idempotent()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Microservice<D, B> {
    pub(super) service: Service<D>,
    pub(super) bus: Arc<B>,
    config: Result<DispatchConfig, Invalid>,
}

impl<D, B> Microservice<D, B> {
    pub(super) fn new(service: Service<D>, bus: Arc<B>) -> Self {
        let config = Ok(DispatchConfig::new(default_worker("postbox-dispatcher")));
        Self { service, bus, config }
    }

    /// Sets who claims. By default every role of every process has a random id.
    pub fn with_worker_id(self, worker: impl Into<WorkerId>) -> Self {
        let worker = worker.into();
        self.configure(|config| Ok(config.with_worker_id(worker)))
    }

    /// Sets how long claims are held, 10 ms to 24 h; half of it may be spent publishing. By default 10 s
    /// for claims made in a commit and 30 s for the backstop's.
    pub fn with_publish_lease(self, lease: Duration) -> Self {
        self.configure(|config| Ok(config.with_lease(Lease::new(lease)?)))
    }

    /// Sets how long nothing may come of a publish before it is given up; with a margin it must fit into
    /// the lease.
    pub fn with_publish_timeout(self, timeout: Duration) -> Self {
        self.configure(|config| Ok(config.with_lease(config.lease().with_publish_timeout(timeout)?)))
    }

    /// Sets how many counted failures make a message dead; at least 1, 20 by default.
    pub fn with_max_attempts(self, attempts: u32) -> Self {
        self.configure(|config| config.with_max_attempts(attempts))
    }

    /// Sets when to try again and when to give up.
    pub fn with_retry(self, retry: RetryPolicy) -> Self {
        self.configure(|config| config.with_retry(retry))
    }

    /// Sets the pauses while the broker is down: 1 s doubling to 30 s unless set.
    pub fn with_outage_backoff(self, outage: Backoff) -> Self {
        self.configure(|config| Ok(config.with_outage_backoff(outage)))
    }

    /// Gives commands that are dispatched outside of [`run_with`](Self::run_with) a timer, so that their
    /// publishes have a timeout too.
    pub fn with_timer(mut self, timer: impl DynTimer + 'static) -> Self {
        let immediate = self.service.immediate.take();
        self.service.immediate = immediate.map(|path| path.with_timer(Arc::new(timer)));
        self
    }

    /// Sets who watches.
    pub fn with_observer(self, observer: Observer) -> Self {
        self.configure(|config| Ok(config.with_observer(observer)))
    }

    /// The microservice, if nothing was refused.
    ///
    /// # Errors
    /// The first [`BuildError`], of the service's registrations or of a setting.
    pub fn build(self) -> Result<Self, BuildError> {
        self.check()?;
        Ok(self)
    }

    /// The service: to dispatch commands without the bus.
    pub const fn service(&self) -> &Service<D> {
        &self.service
    }

    /// The bus.
    pub fn bus(&self) -> &B {
        &self.bus
    }

    /// A dispatcher over the service's outbox and bus, to publish by hand what a backstop would:
    /// `app.dispatcher().dispatch_batch(32).await?`.
    pub fn dispatcher(
        &self,
    ) -> OutboxDispatcher<<D::Repo as HasOutboxStore>::OutboxStore, BusPublisher<Arc<B>>>
    where
        B: Bus,
        D: HasRepo,
        D::Repo: HasOutboxStore,
    {
        let store = self.service.dependencies().repo().outbox_store();
        let publisher = BusPublisher::new(self.bus.clone());
        OutboxDispatcher::deferred(store, publisher, crate::runtime::NoTimer, self.config.clone())
    }

    pub(super) fn check(&self) -> Result<DispatchConfig, BuildError> {
        match &self.service.refused {
            Some(refused) => Err(refused.clone()),
            None => Ok(self.config.clone()?),
        }
    }

    /// Changes the settings of both paths; the first refusal stays.
    fn configure(mut self, change: impl Fn(DispatchConfig) -> Result<DispatchConfig, Invalid>) -> Self {
        self.config = self.config.and_then(&change);
        if let Some(immediate) = &mut self.service.immediate {
            immediate.config = immediate.config.clone().and_then(&change);
        }
        self
    }
}
