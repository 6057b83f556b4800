//! The locks of streams in every order of steps of a few threads. Only under `--cfg loom`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::needless_for_each)]

use alloc::boxed::Box;
use core::mem::ManuallyDrop;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::LockTable;
use crate::aggregate::StreamIdentity;
use crate::primitive::{block_on, explore, poll, task};

fn stream() -> StreamIdentity {
    StreamIdentity::new("todo", "1").unwrap()
}

/// Loom reports two who are inside at once.
async fn work(table: &LockTable, inside: &UnsafeCell<u32>) {
    let guard = table.lock(&stream()).await;
    // SAFETY: the lock is held; loom would report another access.
    inside.with_mut(|_| ());
    drop(guard);
}

#[test]
fn one_at_a_time_holds_a_stream_and_nobody_waits_for_ever() {
    explore("lock: 3 threads", Some(2), || {
        let (table, inside) = (LockTable::default(), Arc::new(UnsafeCell::new(0)));
        let threads = [0, 1].map(|_| {
            let (table, inside) = (table.clone(), inside.clone());
            thread::spawn(move || block_on(work(&table, &inside)))
        });
        block_on(work(&table, &inside));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(table.held(), 0);
    });
}

#[test]
fn a_wait_that_is_dropped_while_the_lock_is_handed_over_hands_it_on() {
    explore("lock: a wait is dropped", None, || {
        let table = LockTable::default();
        let stream = stream();
        let guard = block_on(table.lock(&stream));
        let mut given_up = Box::pin(table.lock(&stream));
        assert!(poll(given_up.as_mut(), &task()).is_pending());
        let mut next = Box::pin(table.lock(&stream));
        let task = task();
        assert!(poll(next.as_mut(), &task).is_pending());
        let holder = thread::spawn(move || drop(guard));
        drop(given_up);
        drop(crate::primitive::drive(next.as_mut(), &[task]));
        holder.join().unwrap();
        assert_eq!(table.held(), 0);
    });
}

/// The planted bug: a wait that ends without giving up its place.
#[test]
#[should_panic(expected = "deadlock")]
fn a_place_that_is_not_given_up_is_caught() {
    loom::model(|| {
        let table: &LockTable = Box::leak(Box::default());
        let stream: &StreamIdentity = Box::leak(Box::new(stream()));
        let guard = block_on(table.lock(stream));
        let mut given_up = ManuallyDrop::new(Box::pin(table.lock(stream)));
        assert!(poll(given_up.as_mut(), &task()).is_pending());
        thread::spawn(move || drop(guard));
        drop(block_on(table.lock(stream)));
    });
}
