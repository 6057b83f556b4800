//! Writers and dispatchers that are at work beside a scene, until everything is delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postbox_postgres::PostgresRepository;
use tokio::task::JoinSet;

use crate::cluster::Failure;
use crate::load::{self, Broker, dispatch};

/// Writers and dispatchers at work beside a scene.
pub(crate) struct Work {
    writers: JoinSet<()>,
    dispatchers: JoinSet<Result<(), Failure>>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) over: Arc<AtomicBool>,
}

impl Work {
    pub(crate) fn start(
        repository: &PostgresRepository,
        broker: &Broker,
        writers: u64,
        dispatchers: usize,
    ) -> Self {
        let mut work = Self {
            writers: JoinSet::new(),
            dispatchers: JoinSet::new(),
            stop: Arc::default(),
            over: Arc::default(),
        };
        for seed in 0..writers {
            work.writers.spawn(load::write(
                repository.clone(),
                broker.clone(),
                seed,
                work.stop.clone(),
            ));
        }
        for _ in 0..dispatchers {
            work.dispatchers
                .spawn(dispatch(repository.clone(), broker.clone(), work.over.clone()));
        }
        work
    }

    /// Nothing new; and everything that there is delivered.
    pub(crate) async fn finish(mut self) -> Result<(), Failure> {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(writer) = self.writers.join_next().await {
            writer?;
        }
        self.over.store(true, Ordering::SeqCst);
        while let Some(dispatcher) = self.dispatchers.join_next().await {
            dispatcher??;
        }
        Ok(())
    }
}
