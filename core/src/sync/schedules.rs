//! The bell and the stop in every order of steps of a few threads. Only under `--cfg loom`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::needless_for_each)]

use core::mem::ManuallyDrop;
use core::sync::atomic::Ordering::{Acquire, Release};

use event_listener::Event;
use loom::cell::UnsafeCell;
use loom::thread;

use super::{Bell, Stop};
use crate::primitive::{Arc, AtomicBool, block_on, explore};
use crate::wakeup::Wakeup;

#[test]
fn a_ring_is_not_lost_and_shows_what_was_done_before_it() {
    explore("bell: 1 ring", None, || {
        let (bell, note) = (Bell::new(), Arc::new(UnsafeCell::new(())));
        let mut watch = bell.watch();
        let written = note.clone();
        let ringer = thread::spawn(move || {
            written.with_mut(|_| ());
            bell.ring();
        });
        block_on(watch.wait());
        note.with(|_| ());
        ringer.join().unwrap();
    });
}

#[test]
fn a_ring_between_two_waits_is_heard_by_the_next() {
    explore("bell: 2 rings", Some(2), || {
        let bell = Bell::new();
        let mut watch = bell.watch();
        let ringers = [bell.clone(), bell.clone()].map(|bell| thread::spawn(move || bell.ring()));
        // Both rings may be heard at once: wait for the count, as a backstop waits for work.
        while bell.0.count.load(Acquire) < 2 {
            block_on(watch.wait());
        }
        ringers.into_iter().for_each(|ringer| ringer.join().unwrap());
    });
}

#[test]
fn all_who_wait_hear_that_they_are_to_stop() {
    explore("stop: 2 waiters", Some(2), || {
        let stop = Stop::new();
        let other = stop.clone();
        let waiter = thread::spawn(move || block_on(other.wait()));
        let setter = stop.clone();
        let setter = thread::spawn(move || setter.set());
        block_on(stop.wait());
        waiter.join().unwrap();
        setter.join().unwrap();
    });
}

/// What the wrong ones below are made of.
#[derive(Default)]
struct Flag {
    set: AtomicBool,
    event: Event,
}

/// A waiter and a setter of one flag, in all orders. Nothing is dropped when loom reports a failure: loom is
/// gone then.
fn planted<F: Future + 'static>(wait: fn(Arc<Flag>) -> F, set: fn(&Flag)) {
    loom::model(move || {
        let flag = Arc::new(Flag::default());
        let other = flag.clone();
        let setter = thread::spawn(move || set(&other));
        let flag = ManuallyDrop::new(flag);
        block_on(wait(Arc::clone(&flag)));
        drop(ManuallyDrop::into_inner(flag));
        setter.join().unwrap();
    });
}

fn set(flag: &Flag) {
    flag.set.store(true, Release);
    flag.event.notify(usize::MAX);
}

async fn wait(flag: Arc<Flag>) {
    while !flag.set.load(Acquire) {
        let listener = flag.event.listen();
        if !flag.set.load(Acquire) {
            listener.await;
        }
    }
}

#[test]
fn a_flag_without_a_planted_bug_passes() {
    planted(wait, set);
}

/// The planted bug: the flag is not looked at again once the listener is there.
#[test]
#[should_panic(expected = "deadlock")]
fn a_wait_that_does_not_look_again_is_caught() {
    let wait = |flag: Arc<Flag>| async move {
        while !flag.set.load(Acquire) {
            flag.event.listen().await;
        }
    };
    planted(wait, set);
}

/// The planted bug: waiters are woken before there is something to see.
#[test]
#[should_panic(expected = "deadlock")]
fn a_stop_that_wakes_before_it_is_set_is_caught() {
    planted(wait, |flag| {
        flag.event.notify(usize::MAX);
        flag.set.store(true, Release);
    });
}
