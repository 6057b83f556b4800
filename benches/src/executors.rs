//! The same backstop on every executor, beside a loop that only polls: what an executor adds to a message, and what idle
//! workers cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use postbox::backstop::{Backstop, BackstopConfig, BackstopReport};
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::WorkerId;
use postbox::join::JoinVec;
use postbox::message::MessageRef;
use postbox::publisher::{AsyncMessagePublisher, PublishError};
use postbox::runtime::Timer;
use postbox::store::HasOutboxStore;
use postbox::sync::Bell;
use postbox::testing::{VirtualClock, run};
use postbox::wakeup::Wakeup;
use postbox_async_std::AsyncStdTimer;
use postbox_hashmap::HashMapRepository;
use postbox_smol::SmolTimer;
use postbox_tokio::TokioTimer;

use crate::{Contender, Effort, Failure, Figures, Filled, Suite, nanoseconds, side_by_side, spin};

pub(crate) const SUITE: Suite = Suite {
    name: "executors",
    measure,
    cases: &[],
};

/// Messages of a backlog, and of one batch of it.
const BATCH: usize = 256;

fn measure(effort: Effort, figures: &mut Figures) -> Result<(), Failure> {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let (many, singles) = (effort.pick(300, 100_000), effort.pick(30, 20_000));
    let backlog = || Backlog::of(many);
    side_by_side(
        figures,
        "executors",
        "backlog",
        effort.rounds(),
        contenders(&tokio, many, &backlog),
    )?;
    let one_by_one = || Ok(Backlog::one_at_a_time(singles));
    let contenders = contenders(&tokio, singles, &one_by_one);
    side_by_side(figures, "executors", "one at a time", effort.rounds(), contenders)?;
    idle(effort, figures, &tokio)
}

/// The same work on each executor; nanoseconds a message.
fn contenders<'a>(
    tokio: &'a tokio::runtime::Runtime,
    messages: u64,
    make: &'a dyn Fn() -> Result<Backlog, Failure>,
) -> Vec<Contender<'a>> {
    let on = move |name: &str, drive: fn(&tokio::runtime::Runtime, Backlog) -> Result<(), Failure>| {
        Contender::new(name, move || {
            let backlog = make()?;
            let (done, each) = nanoseconds(messages, || drive(tokio, backlog));
            done.map(|()| each)
        })
    };
    vec![
        on("polled by hand", |_, backlog| {
            spin(backlog.publish(VirtualClock::new()))
        }),
        on("tokio", |tokio, backlog| {
            tokio.block_on(backlog.publish(TokioTimer))
        }),
        on("smol", |_, backlog| smol::block_on(backlog.publish(SmolTimer))),
        on("async-std", |_, backlog| {
            async_std::task::block_on(backlog.publish(AsyncStdTimer))
        }),
    ]
}

/// A repository, and when all that comes into it has been published.
#[derive(Debug)]
pub struct Backlog {
    repository: HashMapRepository,
    sink: Sink,
    /// Messages to be committed one at a time, each when the one before was published.
    to_commit: u64,
}

impl Backlog {
    /// So many messages that wait, each of a key of its own.
    pub fn of(messages: u64) -> Result<Self, Failure> {
        Ok(Self {
            repository: Filled::hashmap(messages, 256, Some(messages))?,
            sink: Sink::new(messages),
            to_commit: 0,
        })
    }

    /// So many that come, each when the one before was published.
    pub fn one_at_a_time(messages: u64) -> Self {
        Self {
            repository: HashMapRepository::new(),
            sink: Sink::new(messages),
            to_commit: messages,
        }
    }

    /// Publishes all of them by a backstop, and stops it.
    ///
    /// # Errors
    /// When it published fewer.
    pub async fn publish<T: Timer>(self, timer: T) -> Result<(), Failure> {
        let Self {
            repository,
            sink,
            to_commit,
        } = self;
        let mut backstop = backstop(&repository, sink.clone(), timer)?;
        let all = async {
            let mut published = sink.bell.watch();
            for message in 0..to_commit {
                if Filled::one(&repository, message).await.is_err() {
                    return;
                }
                while sink.seen.load(Ordering::Relaxed) <= message {
                    published.wait().await;
                }
            }
            while sink.seen.load(Ordering::Relaxed) < sink.wanted {
                published.wait().await;
            }
        };
        let report = backstop.run(all).await?;
        if report.published == sink.wanted {
            return Ok(());
        }
        Err(format!("published {} of {}", report.published, sink.wanted).into())
    }
}

/// Takes messages, counts them, and says so at the last one of those that are there.
#[derive(Clone, Debug)]
struct Sink {
    seen: Arc<AtomicU64>,
    wanted: u64,
    bell: Arc<Bell>,
}

impl Sink {
    fn new(wanted: u64) -> Self {
        Self {
            seen: Arc::default(),
            wanted,
            bell: Arc::new(Bell::new()),
        }
    }
}

impl AsyncMessagePublisher for Sink {
    type Error = std::convert::Infallible;

    async fn publish(&self, _: MessageRef<'_>) -> Result<(), PublishError<Self::Error>> {
        self.seen.fetch_add(1, Ordering::Relaxed);
        self.bell.ring();
        Ok(())
    }
}

fn backstop<T: Timer>(
    repository: &HashMapRepository,
    sink: Sink,
    timer: T,
) -> Result<Backstop<postbox_hashmap::HashMapOutboxStore, Sink, T, postbox::sync::Watch>, Failure> {
    let config = DispatchConfig::new(WorkerId::random());
    let dispatcher = OutboxDispatcher::new(repository.outbox_store(), sink, config).with_timer(timer);
    Ok(Backstop::new(
        dispatcher,
        BackstopConfig::new().with_batch(BATCH)?,
    ))
}

/// How many workers idle.
const IDLE: u32 = 64;

/// Workers with nothing to do, polling every second: how often they look into the store, and how often they are polled.
fn idle(effort: Effort, figures: &mut Figures, tokio: &tokio::runtime::Runtime) -> Result<(), Failure> {
    let clock = VirtualClock::new();
    let span = Duration::from_secs(effort.pick(2, 600));
    let (reports, polls) = run(&clock, idlers(clock.clone(), span))?;
    record(figures, "virtual time", span, &reports, polls)?;
    let span = Duration::from_millis(effort.pick(10, 8_000));
    let (reports, polls) = tokio.block_on(idlers(TokioTimer, span));
    record(figures, "tokio", span, &reports, polls)?;
    let (reports, polls) = smol::block_on(idlers(SmolTimer, span));
    record(figures, "smol", span, &reports, polls)?;
    let (reports, polls) = async_std::task::block_on(idlers(AsyncStdTimer, span));
    record(figures, "async-std", span, &reports, polls)
}

async fn idlers<T: Timer + Clone>(timer: T, span: Duration) -> (Vec<BackstopReport>, u64) {
    let repository = HashMapRepository::new();
    let polls = AtomicU64::new(0);
    let reports = postbox::sync::Mutex::new(Vec::new());
    let until = timer.now() + span;
    let workers = (0..IDLE).map(|_| async {
        let Ok(mut backstop) = backstop(&repository, Sink::new(0), timer.clone()) else {
            return Err(());
        };
        let mut work = std::pin::pin!(backstop.run(timer.sleep_until(until)));
        let report = std::future::poll_fn(|cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            work.as_mut().poll(cx)
        });
        let report = report.await.map_err(drop)?;
        reports.with(|reports| reports.push(report));
        Ok(())
    });
    if let Ok(workers) = JoinVec::new(workers, |()| ()) {
        // Nothing of it can fail; if it did, reports would be missing and the figures 0.
        let _ = workers.await;
    }
    (reports.with(std::mem::take), polls.load(Ordering::Relaxed))
}

fn record(
    figures: &mut Figures,
    row: &str,
    span: Duration,
    reports: &[BackstopReport],
    polls: u64,
) -> Result<(), Failure> {
    let passes: u64 = reports.iter().map(|report| report.passes).sum();
    let worker_seconds = span.as_secs_f64() * f64::from(IDLE);
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    let each = |count: u64| count as f64 / worker_seconds;
    figures.add("idle", row, "claims a second and worker", each(passes))?;
    figures.add("idle", row, "polls a second and worker", each(polls))?;
    Ok(())
}
