//! Soft settlements: gathered, and written together with whatever waits at the same time. Spawns nothing: a
//! backstop that waits for hints does the writing, or else whoever settles.

use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use postbox::store::{MAX_BATCH, Settlement, SettlementBuf};
use postbox::sync::{Bell, Mutex, Watch};

use crate::database::Database;
use crate::error::PostgresError;
use crate::settle;

/// So many are not kept waiting for more.
const ENOUGH: usize = 256;
/// So many are kept while the database is away; of more, the oldest are forgotten, and published again.
const MOST: usize = 8 * MAX_BATCH;

/// What waits to be written.
#[derive(Debug)]
pub(crate) struct Gathering {
    linger: Duration,
    queue: Mutex<Queue>,
    /// Rings for whoever waits to do the writing.
    bell: Bell,
    /// How many do.
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct Queue {
    settlements: Vec<SettlementBuf<i64>>,
    /// When the oldest came.
    since: Option<Instant>,
}

impl Gathering {
    pub(crate) fn new(linger: Duration) -> Self {
        Self {
            linger,
            queue: Mutex::default(),
            bell: Bell::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Takes settlements in. `true` when the caller is to write what there is: nobody else will, or it was
    /// waited for long enough.
    pub(crate) fn add(&self, settlements: &[Settlement<'_, i64>]) -> bool {
        let (full, late) = self.queue.with(|queue| {
            for settlement in settlements {
                // One that is tried again is here already.
                if !queue
                    .settlements
                    .iter()
                    .any(|known| known.claim == settlement.claim)
                {
                    queue.settlements.push(SettlementBuf::from(*settlement));
                }
            }
            let since = *queue.since.get_or_insert_with(Instant::now);
            (queue.settlements.len() >= ENOUGH, since.elapsed() > self.linger)
        });
        if full || late || self.waiting.load(Ordering::SeqCst) == 0 {
            return true;
        }
        self.bell.ring();
        false
    }

    /// A listener for somebody who will do the writing.
    pub(crate) fn watch(&self) -> Watch {
        self.bell.watch()
    }

    /// Wakes whoever waits to do the writing, for another chore.
    pub(crate) fn nudge(&self) {
        self.bell.ring();
    }

    /// Says that somebody waits to do the writing, as long as the guard lives.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(self)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.with(|queue| queue.settlements.is_empty())
    }

    fn take(&self) -> Taken<'_> {
        let settlements = self.queue.with(|queue| {
            queue.since = None;
            if queue.settlements.len() <= MAX_BATCH {
                return mem::take(&mut queue.settlements);
            }
            let rest = queue.settlements.split_off(MAX_BATCH);
            mem::replace(&mut queue.settlements, rest)
        });
        Taken {
            gathering: self,
            settlements,
        }
    }
}

/// Writes everything that waits, a batch a statement.
///
/// # Cancel safety
/// What was under way goes back and is written again: the fence makes the second time do nothing.
pub(crate) async fn flush(database: &Database) -> Result<(), PostgresError> {
    loop {
        let mut taken = database.gathering.take();
        if taken.settlements.is_empty() {
            return Ok(());
        }
        let settlements = taken.settlements.iter().map(SettlementBuf::as_settlement);
        settle::run(database, &settlements.collect::<Vec<_>>(), true).await?;
        taken.settlements.clear();
    }
}

/// Settlements on their way: back in the queue when that was cut short.
struct Taken<'a> {
    gathering: &'a Gathering,
    settlements: Vec<SettlementBuf<i64>>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.settlements.is_empty() {
            return;
        }
        let mut back = mem::take(&mut self.settlements);
        self.gathering.queue.with(|queue| {
            back.append(&mut queue.settlements);
            let forgotten = back.len().saturating_sub(MOST);
            back.drain(..forgotten);
            queue.settlements = back;
            queue.since.get_or_insert_with(Instant::now);
        });
    }
}

/// Somebody waits to do the writing.
pub(crate) struct Waiting<'a>(&'a Gathering);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
