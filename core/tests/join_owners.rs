//! Who owns what in a join: wakers that outlive it, tasks it moves between, children that panic.
#![cfg(feature = "alloc")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod join_support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use join_support::{Board, Child, Order, Outcome, Task};
use postbox::join::{
    Either, JoinVec, MAX_CHILDREN, SharedWakes, TooManyChildren, TryJoin, WakeSet, Wakes, WakesInUse, race,
    yield_now,
};

fn ignore(_: &&'static str) {}

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
fn a_second_join_on_the_same_static_wakes_is_refused() {
    static WAKES: WakeSet<2> = WakeSet::new();
    let board = Board::new(2);
    let join = TryJoin::new(board.children::<2>(), WAKES.claim().unwrap(), ignore);
    assert_eq!(WAKES.claim().unwrap_err(), WakesInUse);
    drop(join);
    drop(WAKES.claim().unwrap());
    assert!(WAKES.claim().is_ok());
}

#[test]
fn a_waker_that_outlives_the_join_is_harmless() {
    fn check<W: Wakes<N>, const N: usize>(wakes: W) {
        let (board, task) = (Board::new(N), Task::new());
        let mut join = Box::pin(TryJoin::new(board.children::<N>(), wakes, ignore));
        assert!(task.poll(join.as_mut()).is_pending());
        assert_eq!(task.wakers_out(), 1);
        drop(join);
        assert_eq!(task.wakers_out(), 0, "the parent is let go with the join");
        (0..N).for_each(|index| board.wake(index));
        assert_eq!(task.woken(), 0);
        board.forget_wakers();
    }
    with_own_wakes!(check: 1 8 64);
}

#[test]
fn a_waker_of_an_earlier_join_polls_once_too_often_and_no_more() {
    static WAKES: WakeSet<64> = WakeSet::new();
    let (board, task) = (Board::new(64), Task::new());
    let mut join = Box::pin(TryJoin::new(
        board.children::<64>(),
        WAKES.claim().unwrap(),
        ignore,
    ));
    assert!(task.poll(join.as_mut()).is_pending());
    let stale = board.waker(40);
    drop(join);
    stale.wake_by_ref();
    let board = Board::new(64);
    let mut join = pin!(TryJoin::new(
        board.children::<64>(),
        WAKES.claim().unwrap(),
        ignore
    ));
    stale.wake_by_ref();
    assert!(task.poll(join.as_mut()).is_pending());
    assert_eq!(board.polled().len(), 64);
    stale.wake();
    assert_eq!(task.woken(), 1);
    assert!(task.poll(join.as_mut()).is_pending());
    assert_eq!(board.polled(), [40]);
}

#[test]
fn a_join_that_moves_wakes_its_new_task_and_lets_the_old_one_go() {
    fn check<W: Wakes<N>, const N: usize>(wakes: W) {
        let (board, old, new) = (Board::new(N), Task::new(), Task::new());
        let mut join = pin!(TryJoin::new(board.children::<N>(), wakes, ignore));
        assert!(old.poll(join.as_mut()).is_pending());
        board.wake(0);
        assert_eq!(old.woken(), 1);
        board.polled();
        assert!(new.poll(join.as_mut()).is_pending());
        assert_eq!(board.polled(), [0]);
        assert_eq!((old.wakers_out(), new.wakers_out()), (0, 1));
        board.wake(N - 1);
        assert_eq!((old.woken(), new.woken()), (0, 1));
    }
    with_own_wakes!(check: 1 8 64);
}

#[test]
fn dropping_the_join_drops_the_children_that_are_left() {
    let (board, task) = (Board::new(4), Task::new());
    let mut join = Box::pin(TryJoin::new(board.children::<4>(), SharedWakes::new(), ignore));
    assert!(task.poll(join.as_mut()).is_pending());
    board.finish(2, Ok(()));
    assert!(task.poll(join.as_mut()).is_pending());
    assert_eq!(board.dropped(), [2]);
    drop(join);
    assert_eq!(board.dropped(), [2, 0, 1, 3]);
}

#[test]
fn a_panic_costs_the_child_that_panicked_and_nobody_else() {
    fn check<W: Wakes<N>, const N: usize>(wakes: W) {
        let (board, task) = (Board::new(N), Task::new());
        let mut join = pin!(TryJoin::new(board.children::<N>(), wakes, ignore));
        assert!(task.poll(join.as_mut()).is_pending());
        board.order_all(Order::End(Ok(())));
        board.order(1, Order::Panic);
        (0..N).for_each(|index| board.wake(index));
        task.woken();
        assert!(catch_unwind(AssertUnwindSafe(|| task.poll(join.as_mut()))).is_err());
        assert_eq!(task.woken(), 1);
        assert!(board.dropped().contains(&1) && board.dropped().len() < N);
        board.wake(N - 1);
        assert_eq!(task.poll(join.as_mut()), Poll::Ready(Ok(())));
        assert_eq!(board.dropped().len(), N);
    }
    with_own_wakes!(check: 3 62; large: 61 200);
}

#[test]
fn a_vec_is_joined_like_an_array() {
    let large = if cfg!(miri) { 100 } else { MAX_CHILDREN };
    for count in [1, 2, 61, 62, 64, large.min(1_000), large] {
        let (board, task) = (Board::new(count), Task::new());
        let mut join = JoinVec::new((0..count).map(|index| board.child(index)), ignore).unwrap();
        assert!(task.poll(pin!(&mut join)).is_pending());
        assert_eq!(board.polled().len(), count);
        board.wake(count - 1);
        assert!(task.poll(pin!(&mut join)).is_pending());
        assert_eq!(board.polled(), [count - 1]);
        board.finish(count / 2, Err("this"));
        assert_eq!(task.poll(pin!(&mut join)).is_ready(), count == 1);
        (0..count)
            .filter(|index| *index != count / 2)
            .for_each(|index| board.finish(index, Ok(())));
        if count > 1 {
            assert_eq!(task.poll(pin!(&mut join)), Poll::Ready(Err("this")));
        }
    }
    let endless = std::iter::repeat_with(|| std::future::ready(Outcome::Ok(())));
    assert_eq!(JoinVec::new(endless, ignore).unwrap_err(), TooManyChildren);
}

#[test]
fn a_join_of_sendable_children_can_be_spawned() {
    fn sendable<T: Send>(value: T) -> T {
        value
    }
    static WAKES: WakeSet<2> = WakeSet::new();
    let board = Board::new(2);
    drop(sendable(TryJoin::new(
        board.children::<2>(),
        WAKES.claim().unwrap(),
        ignore,
    )));
    drop(sendable(TryJoin::new(
        board.children::<2>(),
        SharedWakes::new(),
        ignore,
    )));
    drop(sendable(JoinVec::new(board.children::<2>(), ignore).unwrap()));
    let join = sendable(TryJoin::new(board.children::<2>(), SharedWakes::new(), ignore));
    drop(sendable(async move { join.await.is_ok() }));
    // And children that stay on their thread need not be.
    let here = std::rc::Rc::new(());
    let stays = [async move {
        drop(here);
        yield_now().await;
        Outcome::Ok(())
    }];
    drop(TryJoin::new(stays, SharedWakes::new(), ignore));
}

#[test]
fn a_join_can_be_a_child_of_a_join() {
    let (board, task) = (Board::new(4), Task::new());
    let pair = |from: usize| {
        TryJoin::new(
            [board.child(from), board.child(from + 1)],
            SharedWakes::<2>::new(),
            ignore,
        )
    };
    let mut join = pin!(TryJoin::new([pair(0), pair(2)], SharedWakes::new(), ignore));
    assert!(task.poll(join.as_mut()).is_pending());
    board.polled();
    board.wake(3);
    assert!(task.poll(join.as_mut()).is_pending());
    assert_eq!(board.polled(), [3]);
    board.order_all(Order::End(Ok(())));
    (0..4).for_each(|index| board.wake(index));
    assert_eq!(task.poll(join.as_mut()), Poll::Ready(Ok(())));
}

#[test]
fn the_favoured_racer_wins_a_tie_and_the_loser_is_dropped() {
    let (board, task) = (Board::new(2), Task::new());
    board.order_all(Order::End(Ok(())));
    let mut both = Box::pin(race(board.child(0), board.child(1)));
    assert_eq!(task.poll(both.as_mut()), Poll::Ready(Either::A(Ok(()))));
    assert_eq!(board.polled(), [0]);
    drop(both);
    assert_eq!(board.dropped(), [0, 1]);
}

#[test]
fn a_lent_racer_survives_its_loss() {
    let (board, task) = (Board::new(2), Task::new());
    let mut stop = pin!(board.child(0));
    board.order(1, Order::End(Ok(())));
    let work: Child = board.child(1);
    assert_eq!(
        task.poll(pin!(race(stop.as_mut(), work))),
        Poll::Ready(Either::B(Ok(())))
    );
    assert_eq!(board.dropped(), [1]);
    board.order(0, Order::End(Err("stop")));
    assert_eq!(task.poll(stop.as_mut()), Poll::Ready(Err("stop")));
    let keep = Arc::strong_count(&board);
    assert_eq!(keep, 2);
}
