//! The join's wakes in every order of steps of a few threads, weak memory included. Only under `--cfg loom`.
//!
//! A lost wake is a deadlock, which loom reports; so is an access to the parent's waker that overlaps another,
//! wake state that is never freed, and a child that does not see what was written before it was woken.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::needless_for_each,
    clippy::semicolon_if_nothing_returned,
    clippy::arc_with_non_send_sync
)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::mem::ManuallyDrop;
use core::pin::{Pin, pin};
use core::sync::atomic::Ordering::Relaxed;
use core::task::{Poll, Waker};

use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicBool;
use loom::thread;

use super::{SharedWakes, TryJoin, WakeSet, Wakes};
use crate::primitive::{Planted, drive, explore, plant, poll, task};

/// What one child waits for. The flag orders nothing: only the join's wakes do.
struct Letter {
    /// Loom compares all accesses. `None` where others wake the child as well: then it may see the flag early.
    text: Option<UnsafeCell<()>>,
    is_there: AtomicBool,
    waker: std::sync::Mutex<Option<Waker>>,
}

impl Letter {
    fn new() -> Arc<Self> {
        Self::with(Some(UnsafeCell::new(())))
    }

    fn empty() -> Arc<Self> {
        Self::with(None)
    }

    fn with(text: Option<UnsafeCell<()>>) -> Arc<Self> {
        Arc::new(Self {
            text,
            is_there: AtomicBool::new(false),
            waker: std::sync::Mutex::new(None),
        })
    }

    /// Is done when the letter is there, and reads it.
    async fn read(self: Arc<Self>) -> Result<(), ()> {
        poll_fn(|cx| {
            *self.waker.lock().unwrap() = Some(cx.waker().clone());
            if !self.is_there.load(Relaxed) {
                return Poll::Pending;
            }
            self.text.iter().for_each(|text| text.with(|_| ()));
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// A thread that writes the letter, then wakes the child by `waker`.
    fn send(self: &Arc<Self>) -> impl FnOnce() + use<> {
        let (letter, waker) = (self.clone(), self.waker());
        move || {
            letter.text.iter().for_each(|text| text.with_mut(|_| ()));
            letter.is_there.store(true, Relaxed);
            waker.wake();
        }
    }

    fn waker(&self) -> Waker {
        self.waker.lock().unwrap().clone().unwrap()
    }

    fn forget(&self) {
        self.waker.lock().unwrap().take();
    }
}

type Reading = Pin<Box<dyn Future<Output = Result<(), ()>>>>;

/// All children but those of `letters` are done at once.
fn children<const N: usize>(letters: &[(usize, Arc<Letter>)]) -> [Reading; N] {
    core::array::from_fn(|index| match letters.iter().find(|(place, _)| *place == index) {
        Some((_, letter)) => Box::pin(letter.clone().read()) as Reading,
        None => Box::pin(core::future::ready(Ok(()))),
    })
}

/// Children at these places are woken, each from a thread of its own, while the join runs.
fn woken_from_threads<W: Wakes<N>, const N: usize>(wakes: W, places: &[usize], moves: usize) {
    let letters: Vec<_> = places.iter().map(|place| (*place, Letter::new())).collect();
    // Dropped at the end, but not when a planted bug panics: loom is gone then.
    let mut join = ManuallyDrop::new(Box::pin(TryJoin::new(children::<N>(&letters), wakes, |()| ())));
    let tasks: Vec<_> = (0..=moves).map(|_| task()).collect();
    assert!(poll(join.as_mut(), &tasks[0]).is_pending());
    let threads: Vec<_> = letters
        .iter()
        .map(|(_, letter)| thread::spawn(letter.send()))
        .collect();
    assert!(drive(join.as_mut(), &tasks).is_ok());
    drop(ManuallyDrop::into_inner(join));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    letters.iter().for_each(|(_, letter)| letter.forget());
}

fn static_wakes<const N: usize>() -> &'static WakeSet<N> {
    Box::leak(Box::default())
}

#[test]
fn a_wake_from_another_thread_is_not_lost() {
    explore("1 child", None, || {
        woken_from_threads(static_wakes::<1>().claim().unwrap(), &[0], 0)
    });
    explore("2 children", Some(3), || {
        woken_from_threads(static_wakes::<2>().claim().unwrap(), &[0, 1], 0);
    });
}

#[test]
fn a_wake_is_not_lost_while_the_join_moves_to_another_task() {
    explore("1 child, 2 tasks", None, || {
        woken_from_threads(SharedWakes::<1>::new(), &[0], 1)
    });
    explore("2 children, 3 tasks", Some(2), || {
        woken_from_threads(SharedWakes::<2>::new(), &[0, 1], 2)
    });
}

#[test]
fn a_wake_through_a_leaf_is_not_lost() {
    explore("62 children, 2 of a leaf", Some(2), || {
        woken_from_threads(static_wakes::<62>().claim().unwrap(), &[0, 1], 0);
    });
    explore("62 children, 2 leaves", Some(2), || {
        woken_from_threads(static_wakes::<62>().claim().unwrap(), &[0, 61], 0);
    });
}

#[test]
fn a_child_that_is_woken_twice_while_it_is_polled_is_polled_again() {
    explore("2 letters to 1 child", Some(2), || {
        let letters = [Letter::empty(), Letter::empty()];
        let both = {
            let letters = letters.clone();
            async move {
                let (mut one, mut two) = (pin!(letters[0].clone().read()), pin!(letters[1].clone().read()));
                let mut open = [true, true];
                poll_fn(move |cx| {
                    open[0] = open[0] && one.as_mut().poll(cx).is_pending();
                    open[1] = open[1] && two.as_mut().poll(cx).is_pending();
                    if open == [false, false] {
                        Poll::Ready(Ok(()))
                    } else {
                        Poll::Pending
                    }
                })
                .await
            }
        };
        let mut join = pin!(TryJoin::new([both], SharedWakes::<1>::new(), |()| ()));
        let task = task();
        assert!(poll(join.as_mut(), &task).is_pending());
        let threads = letters.each_ref().map(|letter| thread::spawn(letter.send()));
        assert!(drive(join, &[task]).is_ok());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        letters.iter().for_each(|letter| letter.forget());
    });
}

/// Loom counts the allocation: it says when it is never freed.
#[test]
fn a_join_that_is_dropped_while_its_wakers_are_called_is_freed_and_lets_its_task_go() {
    explore("drop and wake", Some(3), || {
        let letters = [(0, Letter::new()), (1, Letter::new())];
        let task = task();
        let mut join = Box::pin(TryJoin::new(
            children::<2>(&letters),
            SharedWakes::<2>::new(),
            |()| (),
        ));
        assert!(poll(join.as_mut(), &task).is_pending());
        let threads = letters.each_ref().map(|(_, letter)| thread::spawn(letter.send()));
        letters.iter().for_each(|(_, letter)| letter.forget());
        drop(join);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(Arc::strong_count(&task), 1);
    });
}

#[test]
fn static_wakes_can_be_used_again_while_wakers_of_an_earlier_join_are_called() {
    fn reuse<const N: usize>() {
        let set = static_wakes::<N>();
        let stale: [_; N] = core::array::from_fn(|index| (index, Letter::empty()));
        let (letter, task) = (Letter::empty(), task());
        let mut join = Box::pin(TryJoin::new(children::<N>(&stale), set.claim().unwrap(), |()| ()));
        assert!(poll(join.as_mut(), &task).is_pending());
        let callers = stale.each_ref().map(|(_, stale)| thread::spawn(stale.send()));
        drop(join);
        let mut join = pin!(TryJoin::new(
            children::<N>(&[(0, letter.clone())]),
            set.claim().unwrap(),
            |()| ()
        ));
        assert!(poll(join.as_mut(), &task).is_pending());
        // One more thread is enough.
        let sender = if N == 1 {
            Some(thread::spawn(letter.send()))
        } else {
            letter.send()();
            None
        };
        assert!(drive(join, &[task]).is_ok());
        callers
            .into_iter()
            .chain(sender)
            .for_each(|thread| thread.join().unwrap());
    }
    explore("reuse, 1 waker", Some(2), reuse::<1>);
    explore("reuse, 2 wakers", Some(2), reuse::<2>);
}

/// The planted bug: nothing is ordered, so that a child does not see what was written before it was woken.
#[test]
#[should_panic(expected = "Causality violation")]
fn wakes_that_order_nothing_are_caught() {
    plant(Planted::Relaxed, || {
        loom::model(|| woken_from_threads(static_wakes::<1>().claim().unwrap(), &[0], 0));
    });
}

/// The planted bug: a holder does not see, as it lets go, that the bits were taken meanwhile.
#[test]
#[should_panic(expected = "deadlock")]
fn a_holder_that_does_not_look_again_is_caught() {
    plant(Planted::UnseenBySub(super::gate::TAKEN), || {
        loom::model(|| woken_from_threads(static_wakes::<2>().claim().unwrap(), &[0, 1], 0));
    });
}

/// The planted bug: a setter does not see, as it adds its bit, that those it meant to join were just taken.
#[test]
#[should_panic(expected = "deadlock")]
fn a_setter_that_does_not_look_again_is_caught() {
    plant(Planted::UnseenByOr(super::gate::TAKEN), || {
        loom::model(|| woken_from_threads(static_wakes::<2>().claim().unwrap(), &[0, 1], 0));
    });
}
