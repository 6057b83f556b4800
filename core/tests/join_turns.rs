//! What a turn of a join does, one thread, by hand.
#![cfg(feature = "alloc")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod join_support;

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;

use join_support::{Board, Order, Task};
use postbox::join::{JoinVec, Plain, SharedWakes, TryJoin, WakeSet, Wakes};

fn ignore(_: &&'static str) {}

/// Fewer in an interpreter.
const TURNS: usize = if cfg!(miri) { 4 } else { 100 };

/// `$test::<N>(wakes)` with static and with shared wakes; large joins not in an interpreter.
macro_rules! with_own_wakes {
    ($test:ident: $($n:literal)* $(; large: $($large:literal)*)?) => {
        with_own_wakes!(@ $test: $($n)*);
        $(if !cfg!(miri) {
            with_own_wakes!(@ $test: $($large)*);
        })?
    };
    (@ $test:ident: $($n:literal)*) => {$({
        static WAKES: WakeSet<$n> = WakeSet::new();
        $test::<_, $n>(WAKES.claim().unwrap());
        $test::<_, $n>(WAKES.claim().unwrap());
        $test::<_, $n>(SharedWakes::new());
    })*};
}

#[test]
fn a_wake_polls_only_the_woken_child() {
    fn check<W: Wakes<N>, const N: usize>(wakes: W) {
        let (board, task) = (Board::new(N), Task::new());
        let mut join = pin!(TryJoin::new(board.children::<N>(), wakes, ignore));
        assert!(task.poll(join.as_mut()).is_pending());
        assert_eq!(board.polled(), (0..N).collect::<Vec<_>>());
        assert_eq!(task.woken(), 0);
        for index in 0..N {
            board.wake(index);
            assert_eq!(task.woken(), 1, "child {index} of {N}");
            assert!(task.poll(join.as_mut()).is_pending());
            assert_eq!(board.polled(), [index], "of {N}");
            assert!(task.poll(join.as_mut()).is_pending());
            assert_eq!(board.polled(), [0_usize; 0], "of {N}");
        }
        for index in 0..N {
            board.finish(index, Ok(()));
            assert_eq!(task.poll(join.as_mut()).is_ready(), index + 1 == N);
            assert_eq!(board.dropped().len(), index + 1);
        }
        assert_eq!(task.poll(join.as_mut()), Poll::Ready(Ok(())));
    }
    with_own_wakes!(check: 1 2 3 62; large: 16 60 61 63 64 65 127 128 977 1024 4096);
}

#[test]
fn all_woken_children_are_polled_once_for_one_wake_of_the_parent() {
    fn check<W: Wakes<N>, const N: usize>(wakes: W) {
        let (board, task) = (Board::new(N), Task::new());
        let mut join = pin!(TryJoin::new(board.children::<N>(), wakes, ignore));
        for round in 0..N.min(TURNS) {
            assert!(task.poll(join.as_mut()).is_pending());
            let order = board.polled();
            assert_eq!(order[0], round);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..N).collect::<Vec<_>>());
            for index in 0..N {
                board.wake(N - 1 - index);
                board.wake(N - 1 - index);
            }
            assert_eq!(task.woken(), 1);
        }
    }
    with_own_wakes!(check: 1 2 62; large: 61 63 64 65 1024 4096);
}

#[test]
fn a_turn_begins_behind_the_child_that_was_first_in_the_turn_before() {
    fn check<W: Wakes<N>, const N: usize>(wakes: W) {
        let (board, task) = (Board::new(N), Task::new());
        let mut join = pin!(TryJoin::new(board.children::<N>(), wakes, ignore));
        assert!(task.poll(join.as_mut()).is_pending());
        board.polled();
        let turns: [(&[usize], &[usize]); 7] = [
            (&[40], &[40]),
            (&[33], &[33]),
            (&[32, 50], &[50, 32]),
            (&[33, N - 1], &[N - 1, 33]),
            (&[50, 33], &[33, 50]),
            (&[32, 33], &[32, 33]),
            (&[32, 33], &[33, 32]),
        ];
        for (woken, polled) in turns {
            for index in woken {
                board.wake(*index);
            }
            assert!(task.poll(join.as_mut()).is_pending());
            assert_eq!(board.polled(), polled, "of {N}, woken {woken:?}");
        }
    }
    with_own_wakes!(check: 61 62; large: 64 500 977 1024 1953 4096);
}

#[test]
fn without_wakes_of_its_own_every_child_is_polled() {
    let (board, task) = (Board::new(3), Task::new());
    let mut join = pin!(TryJoin::new(board.children::<3>(), Plain, ignore));
    assert!(task.poll(join.as_mut()).is_pending());
    board.finish(1, Ok(()));
    assert_eq!(task.woken(), 1);
    assert!(task.poll(join.as_mut()).is_pending());
    assert_eq!(board.polled(), [0, 1, 2, 1, 2, 0]);
    assert!(task.poll(join.as_mut()).is_pending());
    assert_eq!(board.polled(), [2, 0]);
    board.order_all(Order::End(Err("both")));
    assert_eq!(task.poll(join.as_mut()), Poll::Ready(Err("both")));
}

#[test]
fn the_first_error_drains_the_others_before_it_is_returned() {
    fn check<W: Wakes<N>, const N: usize>(wakes: W) {
        let (board, task, told) = (Board::new(N), Task::new(), AtomicUsize::new(0));
        let mut join = pin!(TryJoin::new(board.children::<N>(), wakes, |error: &&str| {
            assert_eq!(*error, "first");
            told.fetch_add(1, SeqCst);
        }));
        assert!(task.poll(join.as_mut()).is_pending());
        board.finish(N - 1, Err("first"));
        assert!(task.poll(join.as_mut()).is_pending());
        assert_eq!(told.load(SeqCst), 1);
        assert_eq!(board.dropped(), [N - 1]);
        board.finish(0, Err("second"));
        assert!(task.poll(join.as_mut()).is_pending());
        for index in 1..N - 1 {
            board.finish(index, Ok(()));
        }
        assert_eq!(task.poll(join.as_mut()), Poll::Ready(Err("first")));
        assert_eq!(told.load(SeqCst), 1);
        assert_eq!(board.dropped().len(), N);
    }
    with_own_wakes!(check: 3 64; large: 1024);
}

#[test]
fn no_children_are_done_at_once() {
    static NONE: WakeSet<0> = WakeSet::new();
    let task = Task::new();
    let none = || Board::new(0).children::<0>();
    assert_eq!(
        task.poll(pin!(TryJoin::new(none(), Plain, ignore))),
        Poll::Ready(Ok(()))
    );
    assert_eq!(
        task.poll(pin!(TryJoin::new(none(), SharedWakes::new(), ignore))),
        Poll::Ready(Ok(()))
    );
    let join = TryJoin::new(none(), NONE.claim().unwrap(), ignore);
    assert_eq!(task.poll(pin!(join)), Poll::Ready(Ok(())));
    assert_eq!(
        task.poll(pin!(JoinVec::new(none(), ignore).unwrap())),
        Poll::Ready(Ok(()))
    );
}

#[test]
fn a_self_waking_child_does_not_starve_its_siblings() {
    fn check<W: Wakes<N>, const N: usize>(wakes: W) {
        let (board, task) = (Board::new(N), Task::new());
        board.order(0, Order::WakeYourself);
        let mut join = pin!(TryJoin::new(board.children::<N>(), wakes, ignore));
        assert!(task.poll(join.as_mut()).is_pending());
        for _ in 0..TURNS {
            assert!(task.woken() > 0);
            board.polled();
            board.wake(N - 1);
            assert!(task.poll(join.as_mut()).is_pending());
            let mut polled = board.polled();
            polled.sort_unstable();
            assert_eq!(polled, [0, N - 1]);
        }
    }
    with_own_wakes!(check: 2 62; large: 63 1024);
}

#[test]
fn the_start_rotates() {
    fn check<W: Wakes<N>, const N: usize>(wakes: W) {
        let busy = [0, 1, N / 2, N - 1];
        let (board, task) = (Board::new(N), Task::new());
        for index in busy {
            board.order(index, Order::WakeYourself);
        }
        let mut join = pin!(TryJoin::new(board.children::<N>(), wakes, ignore));
        let mut firsts = Vec::new();
        for _ in 0..9 {
            assert!(task.poll(join.as_mut()).is_pending());
            firsts.push(board.polled()[0]);
        }
        assert_eq!(
            firsts[1..],
            [busy, busy]
                .concat()
                .iter()
                .cycle()
                .skip(1)
                .take(8)
                .copied()
                .collect::<Vec<_>>()
        );
    }
    with_own_wakes!(check: 8 64; large: 96 1024 2000);
}
