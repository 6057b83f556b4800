//! Children that do as a test says, and a parent that counts its wakes.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

pub type Outcome = Result<(), &'static str>;

/// What children see and leave behind.
#[derive(Default)]
pub struct Board(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    wakers: Vec<Option<Waker>>,
    orders: Vec<Order>,
    polls: Vec<usize>,
    log: Vec<usize>,
    dropped: Vec<usize>,
}

/// What a child does at its next polls.
#[derive(Clone, Copy, Default, PartialEq)]
pub enum Order {
    #[default]
    Wait,
    WakeYourself,
    End(Outcome),
    Panic,
}

pub struct Child {
    index: usize,
    board: Arc<Board>,
}

impl Board {
    pub fn new(count: usize) -> Arc<Self> {
        let board = Self::default();
        {
            let mut seen = board.0.lock().unwrap();
            seen.wakers.resize(count, None);
            seen.orders.resize(count, Order::Wait);
            seen.polls.resize(count, 0);
        }
        Arc::new(board)
    }

    pub fn child(self: &Arc<Self>, index: usize) -> Child {
        Child {
            index,
            board: Arc::clone(self),
        }
    }

    pub fn children<const N: usize>(self: &Arc<Self>) -> [Child; N] {
        std::array::from_fn(|index| self.child(index))
    }

    /// Tell a child what to do from now on, without waking it.
    pub fn order(&self, index: usize, order: Order) {
        self.0.lock().unwrap().orders[index] = order;
    }

    pub fn order_all(&self, order: Order) {
        self.0.lock().unwrap().orders.fill(order);
    }

    pub fn waker(&self, index: usize) -> Waker {
        self.0.lock().unwrap().wakers[index].clone().unwrap()
    }

    /// Whether the child was ever polled.
    pub fn has_waker(&self, index: usize) -> bool {
        self.0.lock().unwrap().wakers[index].is_some()
    }

    pub fn wake(&self, index: usize) {
        self.waker(index).wake();
    }

    pub fn finish(&self, index: usize, outcome: Outcome) {
        self.order(index, Order::End(outcome));
        self.wake(index);
    }

    pub fn forget_wakers(&self) {
        self.0.lock().unwrap().wakers.fill(None);
    }

    /// Who was polled since the last call, in order.
    pub fn polled(&self) -> Vec<usize> {
        std::mem::take(&mut self.0.lock().unwrap().log)
    }

    pub fn dropped(&self) -> Vec<usize> {
        self.0.lock().unwrap().dropped.clone()
    }
}

impl Future for Child {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let order = {
            let mut seen = self.board.0.lock().unwrap();
            seen.polls[self.index] += 1;
            seen.log.push(self.index);
            let waker = &mut seen.wakers[self.index];
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            seen.orders[self.index]
        };
        match order {
            Order::Wait => Poll::Pending,
            Order::WakeYourself => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Order::End(outcome) => Poll::Ready(outcome),
            Order::Panic => panic!("ordered to"),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.board.0.lock().unwrap().dropped.push(self.index);
    }
}

/// A task that counts how often it was woken.
pub struct Task {
    wakes: Arc<Count>,
    waker: Waker,
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Task {
    pub fn new() -> Self {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        Self { wakes: count, waker }
    }

    pub fn poll<F: Future>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&self.waker))
    }

    /// Wakes since the last call.
    pub fn woken(&self) -> usize {
        self.wakes.0.swap(0, SeqCst)
    }

    /// Wakers of this task that somebody else has.
    pub fn wakers_out(&self) -> usize {
        Arc::strong_count(&self.wakes) - 2
    }
}
