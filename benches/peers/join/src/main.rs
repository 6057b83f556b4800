//! Joins of other crates beside ours: children of which one or all are woken a round; nanoseconds and allocations a
//! wake, in turn.

use std::alloc::System;
use std::pin::Pin;
use std::task::Poll;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use futures_concurrency::future::TryJoin;
use postbox_benches::{Board, Contender, Effort, Failure, Figures, Ours, Round, SIZES, side_by_side};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// So many children, so many rounds: nanoseconds a wake.
type Run = fn(usize, Round, u64) -> Result<f64, Failure>;

const CONTENDERS: [(&str, Run); 10] = [
    ("static wakes", Ours::fixed),
    ("vec", Ours::vec),
    ("plain", Ours::plain),
    ("try_join!", try_join),
    ("try_join_all", |children, round, rounds| {
        let board = Board::new(children);
        Ok(board.drive(futures::future::try_join_all(board.children()), round, rounds))
    }),
    ("FuturesUnordered", unordered),
    ("futures-buffered", |children, round, rounds| {
        let board = Board::new(children);
        let join = futures_buffered::try_join_all(board.children());
        Ok(board.drive(join, round, rounds))
    }),
    ("futures-concurrency, array", arrays),
    ("futures-concurrency, vec", |children, round, rounds| {
        let board = Board::new(children);
        let children: Vec<_> = board.children().collect();
        Ok(board.drive(children.try_join(), round, rounds))
    }),
    ("polling all", polling_all),
];

const FOR_TWO: [&str; 2] = ["plain", "try_join!"];

fn main() -> Result<(), Failure> {
    let Some(effort) = Effort::asked_for("join") else {
        return Ok(());
    };
    let mut figures = Figures::printed();
    for round in Round::EACH {
        for children in SIZES {
            let wakes = match (children, round) {
                (1024, Round::One) => 20_000,
                _ => 400_000,
            };
            let rounds = round.rounds(effort.pick(100, wakes), children);
            let here = CONTENDERS
                .iter()
                .filter(|(name, _)| children == 2 || !FOR_TWO.contains(name));
            let contenders = here
                .clone()
                .map(|(name, run)| Contender::new(*name, move || run(children, round, rounds)));
            let row = round.row(children);
            side_by_side(
                &mut figures,
                "join-peers",
                &row,
                effort.rounds(),
                contenders.collect(),
            )?;
            for (name, run) in here {
                let each = allocations(*run, children, round)?;
                figures.add("join-peers-allocations", &row, name, each)?;
            }
        }
    }
    Ok(())
}

/// Allocations a thousand wakes, without those of starting up.
fn allocations(run: Run, children: usize, round: Round) -> Result<f64, Failure> {
    let count = |wakes: u64| -> Result<f64, Failure> {
        let region = Region::new(ALLOCATOR);
        run(children, round, round.rounds(wakes, children))?;
        let change = region.change();
        #[allow(clippy::cast_precision_loss, reason = "some thousands")]
        Ok((change.allocations + change.reallocations) as f64)
    };
    Ok((count(4_096)? - count(2_048)?) / 2.048)
}

fn try_join(children: usize, round: Round, rounds: u64) -> Result<f64, Failure> {
    let board = Board::new(children);
    let [a, b] = board.array::<2>().ok_or("a join of two")?;
    let join = async { futures::try_join!(a, b) };
    Ok(board.drive(join, round, rounds))
}

fn unordered(children: usize, round: Round, rounds: u64) -> Result<f64, Failure> {
    let board = Board::new(children);
    let mut set: FuturesUnordered<_> = board.children().collect();
    let join = async {
        while let Some(result) = set.next().await {
            result?;
        }
        Ok::<(), ()>(())
    };
    Ok(board.drive(join, round, rounds))
}

fn arrays(children: usize, round: Round, rounds: u64) -> Result<f64, Failure> {
    match children {
        2 => array::<2>(round, rounds),
        8 => array::<8>(round, rounds),
        64 => array::<64>(round, rounds),
        1024 => array::<1024>(round, rounds),
        _ => Err("not one of the sizes".into()),
    }
}

fn array<const N: usize>(round: Round, rounds: u64) -> Result<f64, Failure> {
    let board = Board::new(N);
    let children = board.array::<N>().ok_or("the board has another length")?;
    Ok(board.drive(children.try_join(), round, rounds))
}

/// What is often written by hand: every child in a box, polled at every wake of any, with the waker of the task.
fn polling_all(children: usize, round: Round, rounds: u64) -> Result<f64, Failure> {
    type Boxed<'a> = Pin<Box<dyn Future<Output = Result<(), ()>> + 'a>>;
    let board = Board::new(children);
    let mut left: Vec<Boxed<'_>> = board.children().map(|child| Box::pin(child) as _).collect();
    let join = std::future::poll_fn(move |cx| {
        let mut failed = None;
        left.retain_mut(|child| match child.as_mut().poll(cx) {
            Poll::Ready(Err(error)) => {
                failed = Some(error);
                false
            }
            Poll::Ready(Ok(())) => false,
            Poll::Pending => true,
        });
        match failed {
            Some(error) => Poll::Ready(Err(error)),
            None if left.is_empty() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    });
    Ok(board.drive(join, round, rounds))
}
