//! Commits that come while others are under way: gathered, and stored together by one statement and one flush of the
//! disk. Spawns nothing: those who wait drive the statement, theirs or the one before. What a commit stores is not known
//! here.

use std::convert::Infallible;
use std::fmt;
use std::mem;
use std::sync::{Arc, Weak};

use postbox::aggregate::{Birth, CommitBatch};
use postbox::join::yield_now;
use postbox::sync::Mutex;

use super::drive::Drive;
use super::turn::{Help, Line, Turn};
use crate::database::Database;
use crate::enqueue::Born;
use crate::error::PostgresError;

/// So many messages, events, snapshots and receipts are stored together at most: a statement of a few milliseconds.
const MOST_ROWS: usize = 256;
/// So many bytes of them.
const MOST_BYTES: usize = 1 << 20;
/// So often others get a turn before a group closes that is smaller than expected: those whose commits have just come
/// back may be about to send the next. One that comes alone waits for nobody.
const YIELDS: usize = 64;

/// Commits of one database that wait or are under way.
pub(crate) struct Commits {
    /// One statement at a time is the fastest: two would be half as full each, and take as long.
    line: Line<Group>,
    /// The group that commits may still join. Those who wait in it keep it alive.
    open: Mutex<Weak<Group>>,
}

/// Commits with one claim, that are stored together.
struct Group {
    claim: Option<Birth>,
    members: Mutex<Members>,
    outcome: Drive<Outcome>,
}

#[derive(Default)]
struct Members {
    /// `None` for those that were dropped before the statement was sent.
    batches: Vec<Option<CommitBatch>>,
    /// How many have not left.
    here: usize,
    rows: usize,
    bytes: usize,
    closed: bool,
}

/// What came of a group.
struct Outcome {
    stored: Result<Arc<Born>, PostgresError>,
    batches: Mutex<Vec<Option<CommitBatch>>>,
    /// How many were in the statement.
    together: usize,
}

/// What came of one commit.
pub(super) enum Stored {
    /// It is there, and so are those that were stored with it.
    Yes(Arc<Born>),
    /// It is not there, but may be when it comes alone and with patience.
    NotYet(CommitBatch),
    /// It is not there, or that is not known.
    No(CommitBatch, PostgresError),
}

/// Stores a batch, alone or with others that wait.
///
/// # Cancel safety
/// Dropped before the statement is sent, the batch is not stored; later it may be, as with any statement. Others of its
/// group are not concerned. Not polled, as in a branch of a `select!` while another one is busy, it holds up nobody.
pub(super) async fn store(database: &Arc<Database>, batch: CommitBatch) -> Stored {
    let place = join(database, batch);
    let outcome = place.group.outcome.wait().await;
    let error = match &outcome.stored {
        Ok(born) => return Stored::Yes(born.clone()),
        Err(error) => error.clone(),
    };
    let batch = outcome.batches.with(|batches| batches.get_mut(place.at)?.take());
    let batch = batch.unwrap_or_default();
    let undone = matches!(error, PostgresError::Sql { .. });
    if undone && (outcome.together > 1 || error.wants_another_look()) {
        return Stored::NotYet(batch);
    }
    Stored::No(batch, error)
}

/// Joins the open group, or opens one.
fn join(database: &Arc<Database>, batch: CommitBatch) -> Place {
    let mut batch = Some(batch);
    // Not dropped under the lock: it may be the last of its group.
    let mut full = None;
    database.commits.open.with(|open| {
        if let Some(group) = open.upgrade() {
            if let Some(at) = group.join(&mut batch) {
                return Place { group, at };
            }
            full = Some(group);
        }
        let claim = batch.as_ref().and_then(|batch| batch.claim);
        let group = Arc::new_cyclic(|group| Group {
            claim,
            members: Mutex::default(),
            outcome: Drive::new(run(database.clone(), group.clone())),
        });
        *open = Arc::downgrade(&group);
        let at = group.join(&mut batch).unwrap_or_default();
        Place { group, at }
    })
}

/// Waits until a statement may be sent, closes the group and sends it.
async fn run(database: Arc<Database>, group: Weak<Group>) -> Outcome {
    let mut turn = database.commits.line.turn(&group).await;
    gather(&group, &turn).await;
    // Somebody drives this, so it is there.
    let (claim, batches) = group.upgrade().map(|group| group.close()).unwrap_or_default();
    let together: Vec<&CommitBatch> = batches.iter().flatten().collect();
    let stored = super::store(&database, turn.connection(), &together, claim)
        .await
        .map(Arc::new);
    turn.end(
        together.len() + database.commits.waiting(),
        database.pool.num_idle() > 0,
    );
    if let Ok(born) = &stored {
        super::announce(&database, &together, born).await;
    }
    let together = together.len();
    Outcome {
        stored,
        batches: Mutex::new(batches),
        together,
    }
}

/// Lets others come who are about to.
async fn gather(group: &Weak<Group>, turn: &Turn<'_, Group>) {
    for _ in 0..YIELDS {
        if group.upgrade().is_none_or(|group| group.len() >= turn.expected) {
            return;
        }
        yield_now().await;
    }
}

impl Commits {
    pub(crate) fn new() -> Self {
        Self {
            line: Line::new(),
            open: Mutex::default(),
        }
    }

    /// Keeps the connection of the last statement for the next, and gives it back when none comes: it is looked after
    /// as often as a `pause` is over. Never ends.
    pub(crate) async fn tend<P: Future<Output = ()>>(&self, pause: impl Fn() -> P) -> Infallible {
        self.line.tend(pause).await
    }

    fn waiting(&self) -> usize {
        let open = self.open.with(|open| open.upgrade());
        open.map_or(0, |group| group.len())
    }
}

impl Group {
    /// Takes the batch in, if there is room and it is not too late; its place.
    fn join(&self, batch: &mut Option<CommitBatch>) -> Option<usize> {
        let this = batch.as_ref()?;
        let holder = |claim: Option<Birth>| claim.map(|claim| (claim.worker, claim.lease));
        let same = holder(this.claim) == holder(self.claim);
        let (rows, bytes) = weight(this);
        self.members.with(|members| {
            let room = members.rows + rows <= MOST_ROWS && members.bytes + bytes <= MOST_BYTES;
            if members.closed || !same || (!room && !members.batches.is_empty()) {
                return None;
            }
            members.here += 1;
            members.rows += rows;
            members.bytes += bytes;
            members.batches.push(batch.take());
            Some(members.batches.len() - 1)
        })
    }

    fn len(&self) -> usize {
        self.members.with(|members| members.batches.len())
    }

    fn close(&self) -> (Option<Birth>, Vec<Option<CommitBatch>>) {
        let batches = self.members.with(|members| {
            members.closed = true;
            mem::take(&mut members.batches)
        });
        (self.claim, batches)
    }
}

impl Help for Group {
    async fn help(&self) {
        self.outcome.wait().await;
    }
}

/// Rows and bytes.
fn weight(batch: &CommitBatch) -> (usize, usize) {
    let events = || batch.streams.iter().flat_map(|write| &write.events);
    let rows = events().count() + batch.messages.len() + batch.snapshots.len() + batch.receipts.len();
    let events = events().map(|event| event.payload.len());
    let messages = batch
        .messages
        .iter()
        .map(|message| message.as_ref().payload.len());
    let snapshots = batch.snapshots.iter().map(|snapshot| snapshot.payload.len());
    (rows, events.chain(messages).chain(snapshots).sum())
}

/// A commit's place in its group: who leaves before the statement is sent takes its batch along.
struct Place {
    group: Arc<Group>,
    at: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        let (batch, here) = self.group.members.with(|members| {
            members.here -= 1;
            members.closed |= members.here == 0;
            let batch = members.batches.get_mut(self.at).and_then(Option::take);
            (batch, members.here)
        });
        drop(batch);
        // Somebody in line may keep it going otherwise, for nobody.
        if here == 0 {
            self.group.outcome.abandon();
        }
    }
}

impl fmt::Debug for Commits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commits").finish_non_exhaustive()
    }
}
