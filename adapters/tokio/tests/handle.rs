//! The handle of a backstop under tokio's paused clock: what stopping, dropping and panicking do.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use postbox::aggregate::{CommitBatch, Repository};
use postbox::backstop::{Backstop, BackstopConfig, BackstopReport};
use postbox::bus::{InMemoryBus, RunOptions};
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::{Invalid, WorkerId};
use postbox::message::{MessageRef, OutboxMessage};
use postbox::publisher::{AsyncMessagePublisher, PublishError};
use postbox::service::Service;
use postbox::store::{HasOutboxStore, OutboxCounts, OutboxOperator};
use postbox_sqlite::{Execution, SqliteOptions, SqliteRepository};
use postbox_tokio::{BackstopHandle, StopError, TokioTimer, spawn_backstop};

const SECOND: Duration = Duration::from_secs(1);

/// Takes ten seconds a message.
#[derive(Clone, Debug, Default)]
struct Slow {
    started: Arc<AtomicUsize>,
    published: Arc<AtomicUsize>,
}

impl AsyncMessagePublisher for Slow {
    type Error = Infallible;

    async fn publish(&self, _: MessageRef<'_>) -> Result<(), PublishError<Infallible>> {
        self.started.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(10 * SECOND).await;
        self.published.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A store without threads, whose leases go by the paused clock.
async fn store_with(messages: usize) -> SqliteRepository {
    let repository = SqliteOptions::memory()
        .with_execution(Execution::Inline)
        .with_clock(Arc::new(TokioTimer))
        .open()
        .unwrap();
    let mut batch = CommitBatch::new();
    for n in 0..messages {
        let message = OutboxMessage::create(format!("m-{n}"), "happened", b"{}".to_vec()).unwrap();
        batch.messages.push(message);
    }
    repository.commit(batch).await.unwrap();
    repository
}

async fn counts(repository: &SqliteRepository) -> OutboxCounts {
    repository.outbox_store().counts().await.unwrap()
}

/// A backstop that takes one message at a time, which has begun to publish the first.
async fn busy(repository: &SqliteRepository, slow: &Slow) -> BackstopHandle<BackstopReport, Invalid> {
    let config = DispatchConfig::new(WorkerId::new(1));
    let dispatcher =
        OutboxDispatcher::new(repository.outbox_store(), slow.clone(), config).with_timer(TokioTimer);
    let mut backstop = Backstop::new(dispatcher, BackstopConfig::new().with_batch(1).unwrap());
    let handle = spawn_backstop(|shutdown| async move { backstop.run(shutdown).await });
    tokio::time::sleep(SECOND).await;
    assert_eq!(slow.started.load(Ordering::Relaxed), 1);
    handle
}

#[tokio::test(start_paused = true)]
async fn stop_finishes_what_is_in_hand_and_takes_nothing_new() {
    let (repository, slow) = (store_with(3).await, Slow::default());
    let handle = busy(&repository, &slow).await;
    assert!(!handle.is_finished());
    let report = handle.stop(60 * SECOND).await.unwrap();
    assert_eq!(report.published, 1);
    assert_eq!(slow.started.load(Ordering::Relaxed), 1);
    let left = counts(&repository).await;
    assert_eq!((left.pending, left.in_flight), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_takes_too_long_aborts_and_loses_nothing() {
    let (repository, slow) = (store_with(3).await, Slow::default());
    let handle = busy(&repository, &slow).await;
    let stopped = handle.stop(SECOND).await;
    assert_eq!(stopped, Err(StopError::DeadlineExceeded { deadline: SECOND }));
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(
        slow.published.load(Ordering::Relaxed),
        0,
        "the task was not aborted"
    );
    let left = counts(&repository).await;
    assert_eq!((left.pending, left.in_flight), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_handle_stops_gracefully_and_leaks_no_task() {
    let (repository, slow) = (store_with(3).await, Slow::default());
    drop(busy(&repository, &slow).await);
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(slow.published.load(Ordering::Relaxed), 1);
    assert_eq!(
        Arc::strong_count(&slow.published),
        1,
        "the task still has its publisher"
    );
    let left = counts(&repository).await;
    assert_eq!((left.pending, left.in_flight), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_is_given_up_still_stops() {
    let (repository, slow) = (store_with(3).await, Slow::default());
    let handle = busy(&repository, &slow).await;
    assert!(
        tokio::time::timeout(SECOND, handle.stop(60 * SECOND))
            .await
            .is_err()
    );
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(slow.started.load(Ordering::Relaxed), 1);
    assert_eq!(Arc::strong_count(&slow.started), 1);
}

#[tokio::test]
async fn a_panic_in_the_task_is_a_typed_error() {
    let handle: BackstopHandle<(), Invalid> = spawn_backstop(|_| async { panic!("no {}", "luck") });
    match handle.stop(Duration::MAX).await {
        Err(StopError::Panicked { message }) => assert_eq!(message.as_str(), "no luck"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_refused_setting_is_what_stop_returns() {
    let refused = Invalid::Blank { field: "worker" };
    let error = refused.clone();
    let handle: BackstopHandle<(), _> = spawn_backstop(|_| async { Err(error) });
    tokio::task::yield_now().await;
    assert!(handle.is_finished());
    assert_eq!(handle.stop(SECOND).await, Err(StopError::Failed(refused)));
}

#[test]
fn a_runtime_that_ends_first_is_told_apart() {
    let build = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let first = build();
    let handle: BackstopHandle<(), Invalid> = first.block_on(async { spawn_backstop(|_| pending()) });
    drop(first);
    assert_eq!(
        build().block_on(handle.stop(SECOND)),
        Err(StopError::RuntimeEnded)
    );
}

#[tokio::test(start_paused = true)]
async fn a_whole_service_can_have_a_handle() {
    let app = Service::with_repo(())
        .with_bus(InMemoryBus::new())
        .with_observer(postbox_tokio::trace);
    let handle = spawn_backstop(|shutdown| async move {
        app.run_with(TokioTimer, shutdown, RunOptions::idempotent()).await
    });
    tokio::time::sleep(60 * SECOND).await;
    handle.stop(SECOND).await.unwrap();
}
