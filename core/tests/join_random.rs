//! Random lives of joins: wakes, ends, errors, panics, moves and drops in any order, beside a model that says
//! what must be polled, woken and dropped. `POSTBOX_SEED=<seed>` repeats a run.
#![cfg(feature = "alloc")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod join_support;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use join_support::{Board, Child, Order, Outcome, Task};
use postbox::join::{JoinVec, SharedWakes, TryJoin, WakeSet};
use postbox::retry::mix;

/// Points into itself: a child that was moved between two polls would see another address.
async fn pinned(child: Child) -> Outcome {
    let place = Cell::new(0_usize);
    let here = &place;
    let mut child = pin!(child);
    loop {
        here.set(here.get() + 1);
        assert!(std::ptr::eq(here, &raw const place), "the child was moved");
        let polled = poll_fn(|cx| Poll::Ready(child.as_mut().poll(cx))).await;
        if let Poll::Ready(outcome) = polled {
            return outcome;
        }
        let mut waited = false;
        poll_fn(|_| {
            if std::mem::replace(&mut waited, true) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = mix(self.0);
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

/// What should be.
struct Model {
    live: Vec<bool>,
    /// Who was woken since they were last polled; at first all.
    ready: Vec<bool>,
    orders: Vec<Order>,
    error: Option<&'static str>,
    dropped: usize,
}

impl Model {
    fn new(count: usize) -> Self {
        Self {
            live: vec![true; count],
            ready: vec![true; count],
            orders: vec![Order::Wait; count],
            error: None,
            dropped: 0,
        }
    }

    /// A turn polls whoever was woken, each once; returns whether the task is woken during it.
    fn turn(&mut self, polled: &[usize], panicked: bool) -> bool {
        let mut sorted = polled.to_vec();
        sorted.sort_unstable();
        let woken: Vec<_> = (0..self.live.len())
            .filter(|at| self.live[*at] && self.ready[*at])
            .collect();
        if panicked {
            assert!(
                sorted.windows(2).all(|pair| pair[0] < pair[1]),
                "polled twice: {polled:?}"
            );
            assert!(
                sorted.iter().all(|at| woken.contains(at)),
                "{polled:?} of {woken:?}"
            );
        } else {
            assert_eq!(sorted, woken);
        }
        self.ready.fill(panicked);
        let mut wakes = panicked;
        for at in polled.iter().copied() {
            match self.orders[at] {
                Order::Wait => {}
                Order::WakeYourself => (self.ready[at], wakes) = (true, true),
                Order::End(outcome) => {
                    self.live[at] = false;
                    if self.error.is_none() {
                        self.error = outcome.err();
                    }
                }
                Order::Panic => self.live[at] = false,
            }
        }
        self.dropped = self.live.iter().filter(|live| !**live).count();
        wakes
    }
}

/// One life of a join of the board's children. `moved` may move what is not pinned.
fn live<F>(
    join: F,
    board: &Arc<Board>,
    count: usize,
    dice: &mut Dice,
    moved: impl Fn(Pin<Box<F>>) -> Pin<Box<F>>,
) where
    F: Future<Output = Outcome>,
{
    let (mut join, mut model) = (Box::pin(join), Model::new(count));
    let tasks = [Task::new(), Task::new()];
    let mut current: Option<usize> = None;
    for _ in 0..20 + dice.below(40) {
        let at = dice.below(count);
        match dice.below(10) {
            0 => {
                let order = match dice.below(8) {
                    0..3 => Order::End(Ok(())),
                    3 => Order::End(Err(["one", "two", "three"][dice.below(3)])),
                    4 => Order::Panic,
                    5 | 6 => Order::WakeYourself,
                    _ => Order::Wait,
                };
                model.orders[at] = order;
                board.order(at, order);
            }
            1..6 if board.has_waker(at) => {
                let first = !model.ready.contains(&true);
                board.wake(at);
                model.ready[at] = true;
                let woken = tasks[current.unwrap()].woken();
                assert_eq!(woken, usize::from(first), "a wake of {at}, the first: {first}");
            }
            6 => join = moved(join),
            7 if dice.below(6) == 0 => break,
            _ => {
                let task = dice.below(2);
                current = Some(task);
                let polled = catch_unwind(AssertUnwindSafe(|| tasks[task].poll(join.as_mut())));
                let had_live = model.live.contains(&true);
                let wakes = model.turn(&board.polled(), polled.is_err());
                assert_eq!(tasks[task].woken(), usize::from(wakes));
                assert!(
                    !had_live || tasks[1 - task].wakers_out() == 0,
                    "the other task was let go"
                );
                assert_eq!(
                    board.dropped().len(),
                    model.dropped,
                    "ended children are dropped at once"
                );
                if let Ok(polled) = polled {
                    let done = Poll::Ready(model.error.map_or(Ok(()), Err));
                    let ended = !model.live.contains(&true);
                    assert_eq!(polled, if ended { done } else { Poll::Pending });
                    if ended {
                        break;
                    }
                }
            }
        }
    }
    drop(join);
    let mut dropped = board.dropped();
    let left: Vec<_> = (0..count).filter(|at| model.live[*at]).collect();
    assert_eq!(dropped[model.dropped..], left, "the rest is dropped in order");
    dropped.sort_unstable();
    assert_eq!(dropped, (0..count).collect::<Vec<_>>(), "each is dropped once");
    for task in &tasks {
        assert_eq!(task.wakers_out(), 0);
    }
    let at = dice.below(count);
    if board.has_waker(at) {
        board.wake(at);
        assert!(
            tasks.iter().all(|task| task.woken() == 0),
            "nobody is left to be woken"
        );
    }
    board.forget_wakers();
}

fn array<const N: usize>(wakes: &'static WakeSet<N>, dice: &mut Dice) {
    let board = Board::new(N);
    let children = || std::array::from_fn::<_, N, _>(|at| pinned(board.child(at)));
    if dice.below(2) == 0 {
        live(
            TryJoin::new(children(), SharedWakes::new(), |_| ()),
            &board,
            N,
            dice,
            |join| join,
        );
    } else {
        live(
            TryJoin::new(children(), wakes.claim().unwrap(), |_| ()),
            &board,
            N,
            dice,
            |join| join,
        );
    }
}

fn vec(count: usize, dice: &mut Dice) {
    let board = Board::new(count);
    let join = JoinVec::new((0..count).map(|at| pinned(board.child(at))), |_| ()).unwrap();
    // Its children are pinned, it is not.
    live(join, &board, count, dice, |join| Box::pin(*Pin::into_inner(join)));
}

#[test]
fn joins_live_and_die_as_a_model_says() {
    static ONE: WakeSet<1> = WakeSet::new();
    static FEW: WakeSet<3> = WakeSet::new();
    static NARROW: WakeSet<61> = WakeSet::new();
    static WIDE: WakeSet<70> = WakeSet::new();
    let given = std::env::var("POSTBOX_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| RandomState::new().hash_one(()));
    eprintln!("POSTBOX_SEED={seed} repeats these lives");
    // Ordered panics would fill the screen.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some("ordered to") {
            hook(panic);
        }
    }));
    let mut dice = Dice(seed);
    for _ in 0..LIVES {
        match dice.below(6) {
            0 => array(&ONE, &mut dice),
            1 | 2 => array(&FEW, &mut dice),
            3 => array(&NARROW, &mut dice),
            4 => array(&WIDE, &mut dice),
            _ => {
                let count = 1 + dice.below(if cfg!(miri) { 80 } else { 1_100 });
                vec(count, &mut dice);
            }
        }
    }
}

/// Fewer in an interpreter.
const LIVES: usize = if cfg!(miri) { 25 } else { 5_000 };
