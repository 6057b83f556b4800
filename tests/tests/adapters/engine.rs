//! What a backstop and its handle do on every executor.

use std::time::Duration;

use postbox::backstop::BackstopConfig;
use postbox::handle::StopError;
use postbox::id::Invalid;
use postbox::join::{Either, race};
use postbox::runtime::Timer;
use postbox::time::{Clock, Instant};

use crate::hosts::{Handle, Host};
use crate::parts::{NEVER, PATIENCE, World, config, millis, no_later, patiently, promised};

pub async fn an_idle_backstop_sleeps_between_its_polls<H: Host>() {
    let world = World::<H>::new();
    let handle = H::spawn(world.backstop(config()));
    world
        .until("five polls", || world.store.claims().len() >= 5)
        .await;
    for pause in pauses(&world.store.claims()) {
        assert!(pause >= millis(10), "polled again after {pause:?}");
        // Up to a quarter later, so that workers do not poll in step.
        no_later::<H>(pause, millis(13));
    }
    let report = handle.stop(PATIENCE).await.unwrap();
    assert_eq!((report.published, report.store_errors), (0, 0));
}

/// Forty messages, eight at a time, and no poll ever comes.
pub async fn a_full_batch_loops_at_once<H: Host>() {
    let world = World::<H>::new();
    world.commit(40).await;
    world.gate.open();
    let config = BackstopConfig::new().with_batch(8).unwrap();
    let start = H::TIMER.now();
    let handle = H::spawn(world.backstop(config.with_poll(NEVER).unwrap()));
    world.until("all messages", || world.gate.published() == 40).await;
    no_later::<H>(H::TIMER.now().since(start), Duration::ZERO);
    assert_eq!(handle.stop(PATIENCE).await.unwrap().published, 40);
}

pub async fn store_errors_back_off_and_reset<H: Host>() {
    let world = World::<H>::new();
    world.store.fail(3);
    let handle = H::spawn(world.backstop(config()));
    let polled = |times: usize| world.store.claims().len() >= times;
    world.until("polls after three failures", || polled(5)).await;
    for (pause, promised) in pauses(&world.store.claims()).iter().zip([20, 40, 80]) {
        assert!(*pause >= millis(promised), "{pause:?} instead of {promised} ms");
        no_later::<H>(*pause, millis(promised));
    }
    world.store.fail(2);
    let before = world.store.claims().len();
    world.until("polls after two more", || polled(before + 5)).await;
    // It begins anew after a success in between.
    assert_eq!(promised::<H>(), [20, 40, 80, 20, 40].map(millis));
    assert_eq!(handle.stop(PATIENCE).await.unwrap().store_errors, 5);
}

pub async fn a_hint_wakes_long_before_the_poll<H: Host>() {
    let world = World::<H>::new();
    world.gate.open();
    let handle = H::spawn(world.backstop(BackstopConfig::new().with_poll(NEVER).unwrap()));
    world
        .until("the first look", || world.store.claims().len() == 1)
        .await;
    let start = H::TIMER.now();
    world.commit(1).await;
    world.until("the message", || world.gate.published() == 1).await;
    no_later::<H>(H::TIMER.now().since(start), Duration::ZERO);
    handle.stop(PATIENCE).await.unwrap();
    let counts = world.counts().await;
    assert_eq!((counts.pending, counts.in_flight), (0, 0));
}

pub async fn stop_finishes_what_is_in_hand_and_takes_nothing_new<H: Host>() {
    let world = World::<H>::new();
    let handle = busy(&world).await;
    assert!(!handle.is_finished());
    let opening = async {
        pause::<H>(20).await;
        world.gate.open();
        std::future::pending::<()>().await;
    };
    let stopping = std::pin::pin!(handle.stop(PATIENCE));
    let Either::A(report) = race(stopping, std::pin::pin!(opening)).await else {
        unreachable!()
    };
    assert_eq!(report.unwrap().published, 1);
    assert_eq!(world.gate.started(), 1);
    let left = world.counts().await;
    assert_eq!((left.pending, left.in_flight), (2, 0));
}

pub async fn a_stop_that_takes_too_long_drops_the_task_and_loses_nothing<H: Host>() {
    let world = World::<H>::new();
    let handle = busy(&world).await;
    let deadline = millis(30);
    let start = H::TIMER.now();
    let stopped = handle.stop(deadline).await;
    assert_eq!(stopped, Err(StopError::DeadlineExceeded { deadline }));
    assert!(H::TIMER.now().since(start) >= deadline);
    no_later::<H>(H::TIMER.now().since(start), deadline);
    world
        .until("the end of the task", || world.gate.holders() == 1)
        .await;
    world.gate.open();
    pause::<H>(20).await;
    assert_eq!(world.gate.published(), 0);
    let left = world.counts().await;
    assert_eq!((left.pending, left.in_flight), (2, 1));
}

pub async fn a_dropped_handle_stops_gracefully_and_leaves_no_task<H: Host>() {
    let world = World::<H>::new();
    drop(busy(&world).await);
    pause::<H>(20).await;
    assert_eq!(world.gate.holders(), 2, "the publish under way is not dropped");
    world.gate.open();
    world
        .until("the end of the task", || world.gate.holders() == 1)
        .await;
    assert_eq!(world.gate.published(), 1);
    let left = world.counts().await;
    assert_eq!((left.pending, left.in_flight), (2, 0));
}

pub async fn a_stop_that_is_given_up_still_stops<H: Host>() {
    let world = World::<H>::new();
    let handle = busy(&world).await;
    let stopping = std::pin::pin!(handle.stop(PATIENCE));
    assert!(matches!(
        race(stopping, std::pin::pin!(pause::<H>(20))).await,
        Either::B(())
    ));
    world.gate.open();
    world
        .until("the end of the task", || world.gate.holders() == 1)
        .await;
    assert_eq!(world.gate.started(), 1);
}

pub async fn a_refused_setting_is_what_stop_returns<H: Host>() {
    let refused = Invalid::Blank { field: "worker" };
    let error = refused.clone();
    let handle = H::spawn(Box::new(move |_| Box::pin(async move { Err(error) })));
    crate::parts::until(H::TIMER, "the end", || handle.is_finished()).await;
    let stopped = patiently(H::TIMER, "the stop", handle.stop(PATIENCE)).await;
    assert_eq!(stopped, Err(StopError::Failed(refused)));
}

/// A backstop that takes one of three messages at a time, and has begun to publish the first.
async fn busy<H: Host>(world: &World<H>) -> H::Handle {
    world.commit(3).await;
    let config = BackstopConfig::new().with_batch(1).unwrap();
    let handle = H::spawn(world.backstop(config));
    world
        .until("the first publish", || world.gate.started() == 1)
        .await;
    handle
}

async fn pause<H: Host>(time: u64) {
    H::TIMER.sleep_until(H::TIMER.now() + millis(time)).await;
}

fn pauses(claims: &[Instant]) -> Vec<Duration> {
    claims.windows(2).map(|pair| pair[1].since(pair[0])).collect()
}
