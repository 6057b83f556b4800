//! The poll-join: children that register a waker each, of which one or all are woken a round.

use std::cell::Cell;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use postbox::join::{JoinVec, Plain, SharedWakes, StaticWakes, TryJoin, WakeSet, Wakes};

use crate::{Case, Contender, Effort, Failure, Figures, Suite, nanoseconds, side_by_side};

pub(crate) const SUITE: Suite = Suite {
    name: "join",
    measure,
    cases: CASES,
};

/// Which children are woken before each poll of the join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// One, in turn.
    One,
    /// All of them.
    All,
}

impl Round {
    /// Both.
    pub const EACH: [Self; 2] = [Self::One, Self::All];

    /// What a row of a table says.
    pub fn row(self, children: usize) -> String {
        match self {
            Self::One => format!("{children} children, one woken"),
            Self::All => format!("{children} children, all woken"),
        }
    }

    /// How many rounds make about so many wakes.
    pub fn rounds(self, wakes: u64, children: usize) -> u64 {
        match self {
            Self::One => wakes,
            Self::All => wakes.div_ceil(children as u64),
        }
    }
}

/// Where children leave their wakers, as they do with a channel: taken when they are woken, left anew when polled.
#[derive(Debug)]
pub struct Board(Vec<Slot>);

#[derive(Default)]
struct Slot {
    waker: Cell<Option<Waker>>,
    is_woken: Cell<bool>,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot")
            .field("is_woken", &self.is_woken)
            .finish_non_exhaustive()
    }
}

/// Ends after more polls than a measurement makes.
#[derive(Debug)]
pub struct Child<'a> {
    slot: &'a Slot,
    left: u64,
}

impl Board {
    /// For so many children.
    pub fn new(children: usize) -> Self {
        Self((0..children).map(|_| Slot::default()).collect())
    }

    /// One child a slot.
    pub fn children(&self) -> impl Iterator<Item = Child<'_>> {
        let left = black_box(u64::MAX);
        self.0.iter().map(move |slot| Child { slot, left })
    }

    /// The same in an array, if it is as long as the board.
    pub fn array<const N: usize>(&self) -> Option<[Child<'_>; N]> {
        self.children().collect::<Vec<_>>().try_into().ok()
    }

    /// Polls `join` once, then wakes and polls so many rounds; nanoseconds a wake.
    ///
    /// ```
    /// use postbox::join::{Plain, TryJoin};
    /// use postbox_benches::{Board, Round};
    ///
    /// let board = Board::new(2);
    /// let join = TryJoin::new(board.array::<2>().unwrap(), Plain, |&()| ());
    /// assert!(board.drive(join, Round::One, 10) > 0.0);
    /// ```
    #[inline]
    pub fn drive(&self, join: impl Future, round: Round, rounds: u64) -> f64 {
        let mut join = pin!(join);
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        let mut cx = Context::from_waker(&waker);
        if join.as_mut().poll(&mut cx).is_ready() {
            return 0.0;
        }
        let units = match round {
            Round::One => rounds,
            Round::All => rounds * self.0.len() as u64,
        };
        let mut one = self.0.iter().cycle();
        let run = || {
            for _ in 0..rounds {
                match round {
                    Round::One => one.by_ref().take(1).for_each(Slot::wake),
                    Round::All => self.0.iter().for_each(Slot::wake),
                }
                while flag.0.swap(false, Relaxed) {
                    if join.as_mut().poll(&mut cx).is_ready() {
                        return;
                    }
                }
            }
        };
        nanoseconds(units, run).1
    }
}

impl Slot {
    #[inline]
    fn wake(&self) {
        self.is_woken.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Future for Child<'_> {
    type Output = Result<(), ()>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.left -= u64::from(self.slot.is_woken.replace(false));
        if self.left == 0 {
            return Poll::Ready(Ok(()));
        }
        let waker = match self.slot.waker.take() {
            Some(waker) if waker.will_wake(cx.waker()) => waker,
            _ => cx.waker().clone(),
        };
        self.slot.waker.set(Some(waker));
        Poll::Pending
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// Ours, by how the children's wakes are kept: nanoseconds a wake.
#[derive(Clone, Copy, Debug)]
pub struct Ours;

impl Ours {
    /// An array of `N` in a [`TryJoin`] on these wakes.
    ///
    /// # Errors
    /// None but a bug in here.
    pub fn array<const N: usize>(wakes: impl Wakes<N>, round: Round, rounds: u64) -> Result<f64, Failure> {
        let board = Board::new(N);
        let children = board.array::<N>().ok_or("the board has another length")?;
        let join = TryJoin::new(children, wakes, |&()| ());
        Ok(board.drive(join, round, rounds))
    }

    /// Two children without wakes of their own.
    ///
    /// # Errors
    /// None but a bug in here.
    pub fn plain(_: usize, round: Round, rounds: u64) -> Result<f64, Failure> {
        Self::array::<2>(Plain, round, rounds)
    }

    /// So many in a [`JoinVec`].
    ///
    /// # Errors
    /// When they are too many.
    pub fn vec(children: usize, round: Round, rounds: u64) -> Result<f64, Failure> {
        let board = Board::new(children);
        let join = JoinVec::new(board.children(), |&()| ())?;
        Ok(board.drive(join, round, rounds))
    }

    /// An array of so many on static wakes, where the size is one of the measured.
    ///
    /// # Errors
    /// When it is not, or another join is on these wakes.
    pub fn fixed(children: usize, round: Round, rounds: u64) -> Result<f64, Failure> {
        match children {
            2 => Self::array(two()?, round, rounds),
            8 => Self::array(eight()?, round, rounds),
            64 => Self::array(sixty_four()?, round, rounds),
            1024 => Self::array(thousand()?, round, rounds),
            _ => Err("not one of the sizes".into()),
        }
    }

    /// An array of so many on shared wakes, where the size is one of the measured.
    ///
    /// # Errors
    /// When it is not.
    pub fn shared(children: usize, round: Round, rounds: u64) -> Result<f64, Failure> {
        match children {
            2 => Self::array(SharedWakes::<2>::new(), round, rounds),
            8 => Self::array(SharedWakes::<8>::new(), round, rounds),
            64 => Self::array(SharedWakes::<64>::new(), round, rounds),
            1024 => Self::array(SharedWakes::<1024>::new(), round, rounds),
            _ => Err("not one of the sizes".into()),
        }
    }
}

macro_rules! wakes {
    ($($name:ident: $n:literal),*) => {$(
        fn $name() -> Result<StaticWakes<$n>, Failure> {
            static WAKES: WakeSet<$n> = WakeSet::new();
            Ok(WAKES.claim()?)
        }
    )*};
}
wakes!(two: 2, eight: 8, sixty_four: 64, thousand: 1024);

/// How many children a join of the tables has.
pub const SIZES: [usize; 4] = [2, 8, 64, 1024];

fn measure(effort: Effort, figures: &mut Figures) -> Result<(), Failure> {
    for round in Round::EACH {
        for children in SIZES {
            let rounds = round.rounds(effort.pick(100, 1_000_000), children);
            let mut contenders = vec![
                Contender::new("static wakes", move || Ours::fixed(children, round, rounds)),
                Contender::new("shared wakes", move || Ours::shared(children, round, rounds)),
                Contender::new("vec", move || Ours::vec(children, round, rounds)),
            ];
            if children == 2 {
                contenders.push(Contender::new("plain", move || {
                    Ours::plain(children, round, rounds)
                }));
            }
            side_by_side(figures, "join", round.row(children), effort.rounds(), contenders)?;
        }
    }
    Ok(())
}

macro_rules! cases {
    ($($name:literal: $round:ident $children:literal $ours:expr;)*) => {
        /// Some thousand wakes each.
        const CASES: &[Case] = &[$(Case {
            name: concat!("join ", $name, " ", $children),
            steps: match Round::$round {
                Round::One => 2_048,
                Round::All => 8_192 / $children,
            },
            units: match Round::$round {
                Round::One => 1,
                Round::All => $children,
            },
            run: |rounds| {
                let ours: fn(usize, Round, u64) -> Result<f64, Failure> = $ours;
                // A failure counts nothing, which is not a constant and shows.
                let _ = black_box(ours($children, Round::$round, rounds));
            },
        }),*];
    };
}
cases! {
    "static one": One 2 Ours::fixed;
    "static one": One 8 Ours::fixed;
    "static one": One 64 Ours::fixed;
    "static one": One 1024 Ours::fixed;
    "static all": All 2 Ours::fixed;
    "static all": All 8 Ours::fixed;
    "static all": All 64 Ours::fixed;
    "static all": All 1024 Ours::fixed;
    "shared one": One 8 Ours::shared;
    "shared one": One 64 Ours::shared;
    "vec one": One 8 Ours::vec;
    "vec one": One 64 Ours::vec;
    "vec all": All 8 Ours::vec;
    "vec all": All 64 Ours::vec;
    "plain one": One 2 Ours::plain;
    "plain all": All 2 Ours::plain;
}
