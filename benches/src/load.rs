//! Clients that ask, and how long they wait: each its next request when it has the answer, or so many a second whatever
//! the answers. What is asked is not known here.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use postbox::runtime::BoxFuture;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::Failure;

/// What can go wrong on a task.
pub type TaskFailure = Box<dyn Error + Send + Sync>;

/// One request, by its number; no number comes twice.
pub type Request = Arc<dyn Fn(u64) -> BoxFuture<'static, Result<(), TaskFailure>> + Send + Sync>;

/// What some clients had.
#[derive(Debug, Default)]
pub struct Answers {
    /// Requests answered a second, the time of what was put off included.
    pub per_second: f64,
    /// How long each took, in microseconds.
    pub waits: Vec<f64>,
}

/// The runtime that programs run on: tokio's, with a thread a core.
pub fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Makes a request of a closure.
pub fn request<F, R>(ask: F) -> Request
where
    F: Fn(u64) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), TaskFailure>> + Send + 'static,
{
    Arc::new(move |number| Box::pin(ask(number)))
}

/// The number of the next request, in all.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// So many clients for so long, each of which asks once at least, then `finish`, whose time counts too: what was put off is
/// work as well.
///
/// ```
/// use postbox_benches::{clients, request, runtime};
///
/// let nothing = request(|_| async { Ok(()) });
/// let answers = clients(&runtime()?, 2, std::time::Duration::from_millis(1), &nothing, async { Ok(()) })?;
/// assert!(answers.waits.len() >= 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The first error of a request, or of `finish`.
pub fn clients(
    runtime: &Runtime,
    count: u32,
    span: Duration,
    request: &Request,
    finish: impl Future<Output = Result<(), TaskFailure>>,
) -> Result<Answers, Failure> {
    let load = async {
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let request = request.clone();
            tasks.spawn(async move {
                let mut waits = Vec::new();
                // Once at least, however late the task begins.
                loop {
                    let asked = Instant::now();
                    request(NEXT.fetch_add(1, Relaxed)).await?;
                    waits.push(micros(asked.elapsed()));
                    if start.elapsed() >= span {
                        return Ok::<_, TaskFailure>(waits);
                    }
                }
            });
        }
        let mut answers = Answers::default();
        while let Some(waits) = tasks.join_next().await {
            answers.waits.extend(waits??);
        }
        finish.await?;
        answers.per_second = per_second(answers.waits.len(), start.elapsed());
        Ok(answers)
    };
    runtime.block_on(load).map_err(failure)
}

/// So many requests a second, for so long, none of which waits for another.
pub(crate) fn steadily(
    runtime: &Runtime,
    rate: u32,
    span: Duration,
    request: &Request,
) -> Result<u64, Failure> {
    let load = async {
        let mut tasks = JoinSet::new();
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
        let start = Instant::now();
        let mut number = 0;
        while start.elapsed() < span {
            ticks.tick().await;
            tasks.spawn(request(number));
            number += 1;
            while let Some(answer) = tasks.try_join_next() {
                answer??;
            }
        }
        while let Some(answer) = tasks.join_next().await {
            answer??;
        }
        Ok(number)
    };
    runtime.block_on(load).map_err(failure)
}

/// Runs work as a task, as programs do: `block_on` itself polls on a thread that is none of the runtime's.
pub(crate) fn on_a_task<T: Send + 'static>(
    runtime: &Runtime,
    work: impl Future<Output = Result<T, TaskFailure>> + Send + 'static,
) -> Result<T, Failure> {
    runtime.block_on(runtime.spawn(work))?.map_err(failure)
}

/// `?` does not forget that an error is `Send`.
pub(crate) fn failure(error: TaskFailure) -> Failure {
    error
}

/// A rate.
#[allow(clippy::cast_precision_loss, reason = "counts of messages")]
pub(crate) fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// Microseconds.
pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
