//! The writer's queue in every order of steps of a few threads. Only under `--cfg loom`.
//!
//! Loom's own channel knows neither timeouts nor the end of all senders, so `channel` here is one of a mutex and
//! a condition; a timeout may come at any time.
#![allow(
    clippy::needless_for_each,
    clippy::print_stdout,
    clippy::unnecessary_wraps,
    clippy::unwrap_used
)]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use super::{Group, Orders, queue};

/// A job or a settlement: who sent it, and as which of theirs.
type Item = (char, u32);

/// Goes through the schedules of senders beside the writer; `check` sees the groups of each.
fn explore(name: &str, send: &'static [fn(&Orders<Item, Item>)], check: fn(&[Group<Item, Item>])) {
    let schedules = std::sync::Arc::new(AtomicU64::new(0));
    let seen = schedules.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        seen.fetch_add(1, Relaxed);
        let (orders, queue) = queue(MAX_GROUP, Duration::from_millis(1));
        let (orders, soft) = (Arc::new(orders), queue.soft.clone());
        let threads: Vec<_> = send
            .iter()
            .map(|send| {
                let orders = orders.clone();
                thread::spawn(move || send(&orders))
            })
            .collect();
        drop(orders);
        let mut groups = Vec::new();
        queue.serve(|group| groups.push(group));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(
            soft.load(Relaxed),
            0,
            "settlements that were run still count as waiting"
        );
        assert!(groups.iter().all(|group| (1..=MAX_GROUP).contains(&group.len())));
        check(&groups);
    });
    let schedules = schedules.load(Relaxed);
    println!("{name}: {schedules} schedules, 3 preemptions");
    assert!(schedules > 1, "nothing ran at the same time");
}

/// The group in which an item is run, and its place there; it is in one only.
fn place(groups: &[Group<Item, Item>], item: Item) -> (usize, usize) {
    let found = groups.iter().enumerate().flat_map(|(number, group)| {
        let items = group.soft.iter().chain(&group.jobs).enumerate();
        items
            .filter(move |(_, found)| **found == item)
            .map(move |(at, _)| (number, at))
    });
    let found: Vec<_> = found.collect();
    assert_eq!(found.len(), 1, "{item:?} is run in groups {found:?}");
    found[0]
}

#[test]
fn everything_is_run_once_and_the_writer_ends() {
    let send: &[fn(&Orders<Item, Item>)] = &[
        |orders| {
            assert!(orders.now(('a', 1)));
            assert!(orders.now(('a', 2)));
        },
        |orders| {
            assert!(orders.soon(vec![('b', 1)]).is_ok());
            assert!(orders.now(('b', 2)));
        },
    ];
    explore("queue: jobs and settlements", send, |groups| {
        for sender in ['a', 'b'] {
            assert!(
                place(groups, (sender, 1)) < place(groups, (sender, 2)),
                "out of order"
            );
        }
    });
}

#[test]
fn soft_settlements_wait_for_company_and_not_for_ever() {
    let send: &[fn(&Orders<Item, Item>)] = &[
        |orders| assert!(orders.soon(vec![('a', 1)]).is_ok()),
        |orders| assert!(orders.soon(vec![('b', 1)]).is_ok()),
    ];
    explore("queue: settlements alone", send, |groups| {
        place(groups, ('a', 1));
        place(groups, ('b', 1));
    });
}

const MAX_GROUP: usize = 2;

/// As much of the standard library's channel as the queue uses.
pub(super) mod channel {
    use std::collections::VecDeque;
    use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError};
    use std::time::Duration;

    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    struct Shared<T> {
        state: Mutex<State<T>>,
        changed: Condvar,
    }

    struct State<T> {
        waiting: VecDeque<T>,
        is_open: bool,
    }

    pub(in super::super) struct Sender<T>(Arc<Shared<T>>);

    pub(in super::super) struct Receiver<T>(Arc<Shared<T>>);

    pub(in super::super) fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                is_open: true,
            }),
            changed: Condvar::new(),
        });
        (Sender(shared.clone()), Receiver(shared))
    }

    impl<T> Sender<T> {
        pub(in super::super) fn send(&self, value: T) -> Result<(), SendError<T>> {
            self.0.state.lock().unwrap().waiting.push_back(value);
            self.0.changed.notify_one();
            Ok(())
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            self.0.state.lock().unwrap().is_open = false;
            self.0.changed.notify_one();
        }
    }

    impl<T> Receiver<T> {
        pub(in super::super) fn recv(&self) -> Result<T, RecvError> {
            let mut state = self.0.state.lock().unwrap();
            loop {
                if let Some(value) = state.waiting.pop_front() {
                    return Ok(value);
                }
                if !state.is_open {
                    return Err(RecvError);
                }
                state = self.0.changed.wait(state).unwrap();
            }
        }

        pub(in super::super) fn try_recv(&self) -> Result<T, TryRecvError> {
            let value = self.0.state.lock().unwrap().waiting.pop_front();
            value.ok_or(TryRecvError::Empty)
        }

        pub(in super::super) fn recv_timeout(&self, _: Duration) -> Result<T, RecvTimeoutError> {
            thread::yield_now();
            self.try_recv().map_err(|_| RecvTimeoutError::Timeout)
        }
    }
}
