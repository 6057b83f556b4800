//! Wakes from other threads: none is lost, whatever the task does meanwhile. Every loop here is bounded.
#![cfg(feature = "alloc")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use postbox::join::{JoinVec, SharedWakes, TryJoin, WakeSet, Wakes};

/// Tokens that givers leave for one child. Relaxed on purpose: only the join's wakes order them.
#[derive(Default)]
struct Letters {
    tokens: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

struct Taker {
    boxes: Arc<Vec<Letters>>,
    index: usize,
    left: usize,
}

impl Future for Taker {
    type Output = Result<(), ()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mine = &self.boxes[self.index];
        let mut waker = mine.waker.lock().unwrap();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        drop(waker);
        let taken = mine.tokens.swap(0, Relaxed);
        self.left -= taken;
        if self.left == 0 {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }
}

impl Letters {
    /// Leave a token; the waker is called outside of the lock, so that calls overlap with polls.
    fn give(&self) {
        self.tokens.fetch_add(1, Relaxed);
        let waker = self.waker.lock().unwrap().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, SeqCst);
        self.thread.unpark();
    }
}

fn unpark() -> Arc<Unpark> {
    Arc::new(Unpark {
        thread: thread::current(),
        woken: AtomicBool::new(false),
    })
}

/// Drives `join` while two threads give; it is polled only when it was woken. With `moves`, each poll is from a new task.
fn drive<F: Future<Output = Result<(), ()>>>(join: F, boxes: &Arc<Vec<Letters>>, rounds: usize, moves: bool) {
    let mut join = pin!(join);
    let givers = [7, 11].map(|step| {
        let boxes = Arc::clone(boxes);
        thread::spawn(move || {
            for turn in 0..rounds * boxes.len() {
                boxes[turn * step % boxes.len()].give();
                if turn % 13 == step {
                    thread::yield_now();
                }
            }
        })
    });
    let mut task = unpark();
    loop {
        let waker = Waker::from(Arc::clone(&task));
        if join.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            break;
        }
        let since = Instant::now();
        while !task.woken.swap(false, SeqCst) {
            assert!(since.elapsed() < Duration::from_secs(20), "a wake was lost");
            thread::park_timeout(Duration::from_millis(500));
        }
        if moves {
            task = unpark();
        }
    }
    for giver in givers {
        giver.join().unwrap();
    }
}

fn takers(boxes: &Arc<Vec<Letters>>, rounds: usize) -> impl Iterator<Item = Taker> {
    let boxes = Arc::clone(boxes);
    (0..boxes.len()).map(move |index| Taker {
        boxes: Arc::clone(&boxes),
        index,
        left: 2 * rounds,
    })
}

fn boxes(count: usize) -> Arc<Vec<Letters>> {
    Arc::new((0..count).map(|_| Letters::default()).collect())
}

fn array<W: Wakes<N>, const N: usize>(wakes: W, rounds: usize, moves: bool) {
    let boxes = boxes(N);
    let mut takers = takers(&boxes, rounds);
    let children: [Taker; N] = std::array::from_fn(|_| takers.next().unwrap());
    drive(TryJoin::new(children, wakes, |()| ()), &boxes, rounds, moves);
}

/// Fewer rounds under an interpreter.
const ROUNDS: usize = if cfg!(miri) { 4 } else { 20_000 };

#[test]
fn no_wake_from_another_thread_is_lost() {
    static FEW: WakeSet<3> = WakeSet::new();
    static MANY: WakeSet<130> = WakeSet::new();
    for moves in [false, true] {
        array::<_, 3>(FEW.claim().unwrap(), ROUNDS, moves);
        array::<_, 61>(SharedWakes::new(), ROUNDS / 30 + 1, moves);
        array::<_, 130>(MANY.claim().unwrap(), ROUNDS / 60 + 1, moves);
        let boxes = boxes(if cfg!(miri) { 64 } else { 1025 });
        let rounds = ROUNDS / 300 + 1;
        drive(
            JoinVec::new(takers(&boxes, rounds), |()| ()).unwrap(),
            &boxes,
            rounds,
            moves,
        );
    }
}

#[test]
fn static_wakes_can_be_used_again_while_old_wakers_are_called() {
    static WAKES: WakeSet<2> = WakeSet::new();
    let stale: Arc<Mutex<Vec<Waker>>> = Arc::default();
    let done = Arc::new(AtomicBool::new(false));
    let caller = {
        let (stale, done) = (Arc::clone(&stale), Arc::clone(&done));
        thread::spawn(move || {
            while !done.load(SeqCst) {
                let wakers = stale.lock().unwrap().clone();
                wakers.iter().for_each(Waker::wake_by_ref);
                thread::yield_now();
            }
        })
    };
    for round in 0..ROUNDS / 3 {
        let boxes = boxes(2);
        let children = [0, 1].map(|index| Taker {
            boxes: Arc::clone(&boxes),
            index,
            left: 2,
        });
        let task = unpark();
        let waker = Waker::from(Arc::clone(&task));
        let mut cx = Context::from_waker(&waker);
        let mut join = Box::pin(TryJoin::new(children, WAKES.claim().unwrap(), |()| ()));
        assert!(join.as_mut().poll(&mut cx).is_pending());
        if round == 0 {
            let wakers = boxes
                .iter()
                .map(|mine| mine.waker.lock().unwrap().clone().unwrap());
            stale.lock().unwrap().extend(wakers);
        }
        boxes[0].give();
        let _ = join.as_mut().poll(&mut cx);
        boxes[1].give();
        assert!(join.as_mut().poll(&mut cx).is_pending());
        drop(join);
        drop(waker);
        // A stale waker that was calling the task right then lets it go as soon as it has.
        let since = Instant::now();
        while Arc::strong_count(&task) > 1 {
            assert!(
                since.elapsed() < Duration::from_secs(20),
                "the task was not let go"
            );
            thread::yield_now();
        }
    }
    done.store(true, SeqCst);
    caller.join().unwrap();
}

#[test]
fn a_shared_join_may_be_dropped_while_its_wakers_are_called() {
    for _ in 0..ROUNDS / 10 {
        let boxes = boxes(2);
        let mut join = Box::pin(JoinVec::new(takers(&boxes, 2), |()| ()).unwrap());
        let task = unpark();
        let waker = Waker::from(Arc::clone(&task));
        let _ = join.as_mut().poll(&mut Context::from_waker(&waker));
        let giver = {
            let boxes = Arc::clone(&boxes);
            thread::spawn(move || (0..4).for_each(|turn| boxes[turn % 2].give()))
        };
        let _ = join.as_mut().poll(&mut Context::from_waker(&waker));
        drop((join, waker));
        giver.join().unwrap();
        assert_eq!(Arc::strong_count(&task), 1);
    }
}
