//! The service running: its clients, its subscriber and its backstop in this process.

use std::error::Error;
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use postbox::aggregate::RepositoryError;
use postbox::bus::{RunError, RunOptions};
use postbox::claim::Status;
use postbox::service::{HandlerError, Microservice, Session};
use postbox::store::{HasOutboxStore, OutboxOperator};

use crate::broker::Broker;
use crate::database::Database;
use crate::executor::{self, BackstopHandle, TIMER, spawn_backstop};
use crate::input::Command;
use crate::store::Store;
use crate::todo::{self, App};

/// So many clients send commands at the same time; the commands of one todo come from one of them.
pub(crate) const CLIENTS: usize = 8;
/// How long the backstop may take to publish everything, or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where things are on disk.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) database: Database,
    pub(crate) log: PathBuf,
}

impl Files {
    /// The broker's log stands beside the database.
    pub(crate) fn beside(database: &Path) -> Self {
        Self {
            database: Database::File(database.to_path_buf()),
            log: database.with_extension("broker.jsonl"),
        }
    }

    /// How a child is told of them.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let log = ["--log".into(), self.log.clone().into_os_string()];
        match &self.database {
            Database::File(path) => vec!["--database".into(), path.clone().into_os_string()],
            Database::Server { url, schema } => {
                let server = ["--database-url", url, "--schema", schema.as_str()].map(OsString::from);
                server.into_iter().chain(log).collect()
            }
        }
    }
}

/// The service as `postbox` sees it.
pub(crate) type Service = Microservice<App, Broker>;

/// A service that handles commands and runs its consumers and its backstop beside that.
pub(crate) struct Process {
    pub(crate) broker: Broker,
    repository: Store,
    app: Arc<Service>,
    running: BackstopHandle<(), RunError>,
}

/// What became of some commands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) committed: usize,
    /// Of those, published by the time the client had its answer.
    pub(crate) published: usize,
    /// Refused by a rule of the domain, or not understood.
    pub(crate) rejected: usize,
    pub(crate) took: Duration,
}

impl Process {
    /// Opens the database and runs; with a lease other than the default.
    pub(crate) async fn start(files: &Files, lease: Option<Duration>) -> Result<Self, Box<dyn Error>> {
        let repository = files.database.open().await?;
        let broker = Broker::open(&files.log)?;
        let mut app = todo::service(repository.clone()).with_bus(broker.clone());
        if let Some(lease) = lease {
            app = app.with_publish_lease(lease);
        }
        let app = Arc::new(app.build()?);
        let service = app.clone();
        let running = spawn_backstop(|shutdown| async move {
            service.run_with(TIMER, shutdown, RunOptions::idempotent()).await
        });
        Ok(Self {
            broker,
            repository,
            app,
            running,
        })
    }

    /// Lets the clients send these commands.
    pub(crate) async fn handle(&self, commands: &[Command]) -> Result<Tally, Box<dyn Error>> {
        let start = Instant::now();
        let mut clients = Vec::new();
        for share in shares(commands) {
            let app = self.app.clone();
            clients.push(executor::spawn(async move {
                let mut tally = Tally::default();
                for (_, command) in share {
                    match send(&app, &command).await? {
                        Answer::Rejected => tally.rejected += 1,
                        Answer::Committed { published } => {
                            tally.committed += 1;
                            tally.published += usize::from(published);
                        }
                    }
                }
                Ok::<_, HandlerError>(tally)
            }));
        }
        let mut total = Tally::default();
        for client in clients {
            let tally = client.await??;
            total.committed += tally.committed;
            total.published += tally.published;
            total.rejected += tally.rejected;
        }
        total.took = start.elapsed();
        Ok(total)
    }

    /// Waits until the outbox has nothing left to publish.
    pub(crate) async fn drained(&self) -> Result<Duration, Box<dyn Error>> {
        let start = Instant::now();
        while self.waiting().await? > 0 {
            if start.elapsed() > PATIENCE {
                return Err(format!("the outbox was not empty after {PATIENCE:?}").into());
            }
            executor::sleep(Duration::from_millis(2)).await;
        }
        Ok(start.elapsed())
    }

    /// How many messages are committed and not known to be published.
    pub(crate) async fn waiting(&self) -> Result<u64, Box<dyn Error>> {
        let counts = self.repository.outbox_store().counts().await?;
        Ok(counts.pending + counts.in_flight)
    }

    /// How many failures are counted against messages that wait.
    pub(crate) async fn burnt(&self) -> Result<u64, Box<dyn Error>> {
        let store = self.repository.outbox_store();
        let waiting = store.messages(Status::Pending, usize::MAX).await?;
        Ok(waiting.iter().map(|kept| u64::from(kept.entry.failures())).sum())
    }

    /// Waits until the subscriber of events has heard of so many completed todos, or more.
    pub(crate) async fn heard(&self, completed: usize) -> Result<usize, Box<dyn Error>> {
        let start = Instant::now();
        loop {
            let heard = self.app.service().dependencies().heard.load(Ordering::Relaxed);
            if heard >= completed {
                return Ok(heard);
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("the subscriber heard of {heard} events, not of {completed}").into());
            }
            executor::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Stops gracefully.
    pub(crate) async fn stop(self) -> Result<(), Box<dyn Error>> {
        self.running.stop(PATIENCE).await?;
        Ok(self.repository.flush().await?)
    }
}

/// What each client has to send, in order, with its place in the whole: the commands of one todo stay together.
pub(crate) fn shares(commands: &[Command]) -> Vec<Vec<(usize, Command)>> {
    let mut shares = vec![Vec::new(); CLIENTS];
    for (place, command) in commands.iter().enumerate() {
        let mut hash = DefaultHasher::new();
        command.todo().hash(&mut hash);
        let client = hash.finish() % CLIENTS as u64;
        if let Some(share) = usize::try_from(client)
            .ok()
            .and_then(|client| shares.get_mut(client))
        {
            share.push((place, command.clone()));
        }
    }
    shares
}

/// What a client hears.
pub(crate) enum Answer {
    Committed { published: bool },
    Rejected,
}

/// Sends one command and tells whether it was committed; an error is a failure, not a refusal.
pub(crate) async fn send(app: &Service, command: &Command) -> Result<Answer, HandlerError> {
    let input = serde_json::to_value(command)?;
    match app
        .service()
        .dispatch(command.name(), input, Session::new())
        .await
    {
        Ok(answer) => Ok(Answer::Committed {
            published: answer["published"] == true,
        }),
        Err(
            HandlerError::Permanent { .. }
            | HandlerError::NotFound { .. }
            | HandlerError::Invalid(_)
            | HandlerError::Repository(RepositoryError::Invalid(_)),
        ) => Ok(Answer::Rejected),
        Err(error) => Err(error),
    }
}
