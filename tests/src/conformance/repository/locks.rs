//! The locks of queued repositories: first come, first served, and never left behind.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::{Context, Waker};

use futures_util::FutureExt;
use futures_util::future::join_all;
use postbox::aggregate::{
    Aggregate, AggregateRepository, CommitBatch, QueuedRepository, Repository, RepositoryError,
};
use postbox::store::OutboxOptions;
use serde_json::json;

use super::commits::commit;
use super::sample::{Counter, added, event, stream, write};
use crate::conformance::StoreHarness;
use crate::conformance::fixture::{message, yield_now};

type Queued<H> = AggregateRepository<QueuedRepository<<H as StoreHarness>::Repository>, Counter>;

/// Those who wait get the stream in the order in which they asked, and see what was committed before them.
pub async fn a_locked_stream_is_served_first_come_first_served<H: StoreHarness>(harness: &H) {
    let counters = open(harness).await;
    let served = RefCell::new(Vec::new());
    let writers = (0..8).map(|writer| {
        let (counters, served) = (&counters, &served);
        async move {
            let mut counter = load(counters).await;
            served.borrow_mut().push(writer);
            assert_eq!(counters.inner().held_locks(), 1);
            for _ in 0..5 {
                yield_now().await;
            }
            counter.add(1);
            counters.commit(&mut counter).await.expect("nobody else writes");
        }
    });
    join_all(writers).await;
    assert_eq!(served.take(), (0..8).collect::<Vec<_>>());
    assert_free(&counters);
    assert_eq!(load(&counters).await.sum, 8);
}

/// Only the same stream waits; a look without the lock never does.
pub async fn locks_of_distinct_streams_do_not_wait<H: StoreHarness>(harness: &H) {
    let counters = open(harness).await;
    let mut other = Counter::open("d");
    counters.commit(&mut other).await.expect("a good commit");
    let held = load(&counters).await;
    let other = counters.get("d").await.expect("a load").expect("it exists");
    assert_eq!(counters.inner().held_locks(), 2);
    assert!(counters.peek("c").await.expect("a load").is_some());
    drop((held, other));
    assert_free(&counters);
}

/// A handler that returns early, however it does.
pub async fn a_lock_is_freed_when_the_aggregate_is_dropped<H: StoreHarness>(harness: &H) {
    let counters = open(harness).await;
    let counter = load(&counters).await;
    assert_eq!(counters.inner().held_locks(), 1);
    drop(counter);
    assert_free(&counters);
    let mut counter = load(&counters).await;
    counter.entity_mut().unlock();
    assert_free(&counters);
}

/// What is committed may be loaded by others, even if the handler goes on with its copy.
pub async fn a_lock_is_freed_when_the_aggregate_is_committed<H: StoreHarness>(harness: &H) {
    let counters = open(harness).await;
    let mut counter = load(&counters).await;
    counter.add(1);
    counters
        .outbox(message("m"))
        .commit(&mut counter)
        .await
        .expect("a good commit");
    assert_free(&counters);
    assert_eq!(counter.sum, 1);
}

/// A stream that does not exist is not held.
pub async fn a_lock_is_freed_when_there_is_nothing_to_load<H: StoreHarness>(harness: &H) {
    let counters = open(harness).await;
    assert!(counters.get("missing").await.expect("a load").is_none());
    assert_free(&counters);
}

/// A stream that cannot be read is not held.
pub async fn a_lock_is_freed_on_an_error<H: StoreHarness>(harness: &H) {
    let counters = open(harness).await;
    let broken = write("broken", 0, vec![event("Vanished", 1, &json!({}))]);
    commit(counters.inner(), broken).await.expect("a good commit");
    assert!(matches!(
        counters.get("broken").await,
        Err(RepositoryError::Replay { .. })
    ));
    assert_free(&counters);
}

/// Who lost to a writer elsewhere lets go with the aggregate, and may load again.
pub async fn a_lock_is_freed_on_a_rejected_commit<H: StoreHarness>(harness: &H) {
    let counters = open(harness).await;
    let command = async || -> Result<(), RepositoryError> {
        let mut counter = load(&counters).await;
        counter.add(1);
        let elsewhere = CommitBatch {
            streams: vec![write("c", counter.entity().committed_version(), vec![added(10)])],
            ..CommitBatch::new()
        };
        counters.inner().inner().commit(elsewhere).await?;
        counters.commit(&mut counter).await
    };
    assert!(matches!(
        command().await,
        Err(RepositoryError::ConcurrentWrite { .. })
    ));
    assert_free(&counters);
    assert_eq!(load(&counters).await.sum, 10);
}

/// A handler that panics.
pub async fn a_lock_is_freed_on_a_panic<H: StoreHarness>(harness: &H) {
    let counters = open(harness).await;
    let handler = async {
        let counter = load(&counters).await;
        yield_now().await;
        // Unwinds as a panic does, without the noise of the panic hook.
        if counter.version() == 1 {
            std::panic::resume_unwind(Box::new("a handler's bug"));
        }
    };
    assert!(AssertUnwindSafe(handler).catch_unwind().await.is_err());
    assert_free(&counters);
}

/// Who stops waiting leaves the queue; those behind move up, and a turn that nobody takes is not lost.
pub async fn a_cancelled_wait_leaves_the_queue<H: StoreHarness>(harness: &H) {
    let counters = open(harness).await;
    let repository = counters.inner();
    let stream = stream("c");
    let mut cx = Context::from_waker(Waker::noop());
    let held = repository.lock(&stream).await;
    let mut behind = Box::pin(repository.lock(&stream));
    {
        let mut cancelled = pin!(repository.lock(&stream));
        assert!(cancelled.as_mut().poll(&mut cx).is_pending());
        assert!(behind.as_mut().poll(&mut cx).is_pending());
    }
    drop(held);
    assert!(behind.as_mut().poll(&mut cx).is_ready(), "it is its turn now");
    drop(behind);
    assert_free(&counters);
    // The turn comes, and the one whose turn it is goes before looking.
    let held = repository.lock(&stream).await;
    let mut next = Box::pin(repository.lock(&stream));
    let mut after = Box::pin(repository.lock(&stream));
    assert!(next.as_mut().poll(&mut cx).is_pending());
    assert!(after.as_mut().poll(&mut cx).is_pending());
    drop(held);
    drop(next);
    assert!(after.as_mut().poll(&mut cx).is_ready());
    drop(after);
    assert_free(&counters);
}

/// A queued repository with the stream `c` in it.
async fn open<H: StoreHarness>(harness: &H) -> Queued<H> {
    let counters = harness.open(OutboxOptions::new()).queued().aggregate::<Counter>();
    counters
        .commit(&mut Counter::open("c"))
        .await
        .expect("a good commit");
    counters
}

async fn load<R: Repository>(counters: &AggregateRepository<R, Counter>) -> Counter {
    counters.get("c").await.expect("a load").expect("it exists")
}

/// Nobody holds anything, and the next one need not wait.
fn assert_free<R: Repository>(counters: &AggregateRepository<QueuedRepository<R>, Counter>) {
    assert_eq!(counters.inner().held_locks(), 0);
    let lock = counters.inner().lock(&stream("c")).now_or_never();
    assert!(lock.is_some(), "the stream is still locked");
    drop(lock);
    assert_eq!(counters.inner().held_locks(), 0);
}
