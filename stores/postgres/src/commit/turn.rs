//! One statement at a time: who waits for it, and the connection that is handed on from one to the next.

use std::convert::Infallible;
use std::mem;
use std::pin::pin;
use std::sync::Weak;

use postbox::join::race;
use postbox::sync::{Bell, Mutex};
use postbox::wakeup::Wakeup;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;

/// So often one connection serves statement after statement before it goes back to the pool, where others may wait for it.
/// To the pool's next connection belongs another process of the server, with caches that are cold: it takes twice as long.
const IN_A_ROW: u32 = 64;
/// The same while the pool has others to give. It goes back some time, because the pool sees to how old it gets.
const BESIDE_OTHERS: u32 = 4096;

/// Those who wait for their turn.
pub(super) struct Line<H> {
    state: Mutex<State<H>>,
    /// Rings when a turn is over.
    over: Bell,
    /// Rings when a connection was kept.
    left: Bell,
}

struct State<H> {
    taken: bool,
    /// Who has the turn.
    holder: Weak<H>,
    waiting: usize,
    expected: usize,
    /// How many see to it that what is kept goes back in time.
    tending: usize,
    /// The connection of the last turn, while somebody waits for the next, or tends it.
    kept: Option<Kept>,
}

/// What can be helped on.
pub(super) trait Help {
    /// Is over when there is nothing left to help with. Whoever polls it does what the holder of the turn would.
    fn help(&self) -> impl Future<Output = ()> + Send;
}

#[derive(Default)]
struct Kept {
    connection: Option<PoolConnection<Postgres>>,
    served: u32,
    /// Whether whoever tends it has seen it since.
    seen: bool,
}

impl<H: Help + Send + Sync> Line<H> {
    pub(super) fn new() -> Self {
        let state = State {
            taken: false,
            holder: Weak::new(),
            waiting: 0,
            expected: 0,
            tending: 0,
            kept: None,
        };
        Self {
            state: Mutex::new(state),
            over: Bell::new(),
            left: Bell::new(),
        }
    }

    /// Waits until nobody else has the turn, and helps whoever has it meanwhile.
    ///
    /// # Cancel safety
    /// Dropped, this one is no longer in line.
    pub(super) async fn turn(&self, this: &Weak<H>) -> Turn<'_, H> {
        let waiting = Waiting::new(self);
        let mut watch = self.over.watch();
        loop {
            let entered = self.state.with(|state| {
                if state.taken {
                    return Err(state.holder.clone());
                }
                state.taken = true;
                state.holder = this.clone();
                Ok((state.kept.take().unwrap_or_default(), state.expected))
            });
            let holder = match entered {
                Ok((kept, expected)) => {
                    drop(waiting);
                    return Turn {
                        line: self,
                        kept,
                        expected,
                        next: 0,
                        others: false,
                    };
                }
                Err(holder) => holder.upgrade(),
            };
            let over = pin!(watch.wait());
            match holder {
                Some(holder) => drop(race(over, pin!(holder.help())).await),
                None => over.await,
            }
        }
    }
}

impl<H> Line<H> {
    /// Gives back what nobody has used between two looks, one of which is due when a `pause` is over. While this runs, a
    /// connection is kept for those who are about to come: from one that had the same turn before they have their answers
    /// sooner.
    ///
    /// # Cancel safety
    /// Dropped, it gives back what is kept.
    pub(super) async fn tend<P: Future<Output = ()>>(&self, pause: impl Fn() -> P) -> Infallible {
        let mut left = self.left.watch();
        let _tending = Tending::new(self);
        loop {
            if self.state.with(|state| state.kept.is_none()) {
                left.wait().await;
            }
            pause().await;
            let unused = self
                .state
                .with(|state| state.kept.take_if(|kept| mem::replace(&mut kept.seen, true)));
            drop(unused);
        }
    }
}

/// Tends what is kept, which goes back when nobody does.
struct Tending<'a, H>(&'a Line<H>);

impl<'a, H> Tending<'a, H> {
    fn new(line: &'a Line<H>) -> Self {
        line.state.with(|state| state.tending += 1);
        Self(line)
    }
}

impl<H> Drop for Tending<'_, H> {
    fn drop(&mut self) {
        let kept = self.0.state.with(|state| {
            state.tending -= 1;
            state.give_back()
        });
        drop(kept);
    }
}

impl<H> State<H> {
    /// What is kept for nobody.
    fn give_back(&mut self) -> Option<Kept> {
        self.kept.take_if(|_| self.waiting == 0 && self.tending == 0)
    }
}

/// In line. The connection that is kept goes back when nobody is, and nobody tends it.
struct Waiting<'a, H>(&'a Line<H>);

impl<'a, H> Waiting<'a, H> {
    fn new(line: &'a Line<H>) -> Self {
        line.state.with(|state| state.waiting += 1);
        Self(line)
    }
}

impl<H> Drop for Waiting<'_, H> {
    fn drop(&mut self) {
        let kept = self.0.state.with(|state| {
            state.waiting -= 1;
            state.give_back()
        });
        drop(kept);
    }
}

/// The right to send a statement, until it is dropped.
pub(super) struct Turn<'a, H> {
    line: &'a Line<H>,
    kept: Kept,
    /// How many commits the turn before expected to see in this one.
    pub(super) expected: usize,
    next: usize,
    others: bool,
}

impl<H> Turn<'_, H> {
    /// A connection if there is one, and the place where one is to be left.
    pub(super) const fn connection(&mut self) -> &mut Option<PoolConnection<Postgres>> {
        &mut self.kept.connection
    }

    /// Ends it, and says how many commits are to be expected in the next, and whether the pool has other connections to
    /// give meanwhile.
    pub(super) fn end(mut self, expected: usize, others: bool) {
        self.next = expected;
        self.others = others;
    }
}

impl<H> Drop for Turn<'_, H> {
    fn drop(&mut self) {
        let mut kept = mem::take(&mut self.kept);
        kept.served += 1;
        kept.seen = false;
        let most = if self.others { BESIDE_OTHERS } else { IN_A_ROW };
        let usable = kept.connection.is_some() && kept.served < most;
        let rest = self.line.state.with(|state| {
            state.taken = false;
            state.holder = Weak::new();
            state.expected = self.next;
            if usable && (state.waiting > 0 || (state.tending > 0 && self.others)) {
                return state.kept.replace(kept);
            }
            Some(kept)
        });
        drop(rest);
        self.line.over.ring();
        self.line.left.ring();
    }
}
