//! The outbox of the repository as the engines and operators see it.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use postbox::claim::Status;
use postbox::store::{
    ClaimRef, ClaimRequest, OutboxCounts, OutboxOperator, OutboxOptions, OutboxStore, Settled, Settlement,
    StoredMessage,
};
use postbox::sync::{Bell, Mutex, Watch};
use postbox::time::{Clock, Instant};

use crate::claim::HashMapClaimed;
use crate::rows::Rows;
use crate::streams::Streams;
use crate::table::HashMapKey;

/// The outbox of a [`HashMapRepository`](crate::HashMapRepository): a handle that shares its state.
///
/// # Cancel safety
/// Every method does its work in one step at its first poll; dropping the future before that does nothing.
///
/// ```
/// use postbox::store::{HasOutboxStore, OutboxOperator};
/// use postbox_hashmap::HashMapRepository;
/// # use postbox::testing::{VirtualClock, run};
///
/// let outbox = HashMapRepository::new().outbox_store();
/// # run(&VirtualClock::new(), async {
/// assert_eq!(outbox.requeue(&["no-such-message"]).await?, 0);
/// # Ok::<(), std::convert::Infallible>(())
/// # })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct HashMapOutboxStore(pub(crate) Arc<Shared>);

/// What all handles share.
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock + Send + Sync>,
    pub(crate) options: OutboxOptions,
    state: Mutex<State>,
    bell: Bell,
}

/// What one commit changes.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) rows: Rows,
    pub(crate) streams: Streams,
}

impl Shared {
    pub(crate) fn new(clock: Arc<dyn Clock + Send + Sync>, options: OutboxOptions) -> Self {
        let state = State {
            rows: Rows::new(options),
            streams: Streams::default(),
        };
        Self {
            clock,
            options,
            state: Mutex::new(state),
            bell: Bell::new(),
        }
    }

    /// One atomic step. The clock is read inside, so that time follows the order of the steps; the bell is
    /// rung outside, since it wakes others.
    pub(crate) fn step<R>(&self, work: impl FnOnce(&mut State, Instant) -> R) -> R {
        let (result, freed) = self.state.with(|state| {
            let result = work(state, self.clock.now());
            (result, std::mem::take(&mut state.rows.freed))
        });
        if freed {
            self.bell.ring();
        }
        result
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl OutboxStore for HashMapOutboxStore {
    type Error = Infallible;
    type Key = HashMapKey;
    type Claimed = HashMapClaimed;
    type Batch = Vec<HashMapClaimed>;
    type Wakeup = Watch;

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Self::Batch, Infallible> {
        Ok(self.0.step(|state, now| state.rows.claim(request, now)))
    }

    async fn renew(&self, claims: &[ClaimRef<HashMapKey>], lease: Duration) -> Result<usize, Infallible> {
        Ok(self.0.step(|state, now| state.rows.renew(claims, lease, now)))
    }

    async fn settle(&self, settlements: &[Settlement<'_, HashMapKey>]) -> Result<Settled, Infallible> {
        Ok(self.0.step(|state, now| state.rows.settle(settlements, now)))
    }

    async fn purge(&self, limit: usize) -> Result<usize, Infallible> {
        Ok(self.0.step(|state, now| state.rows.purge(limit, now)))
    }

    async fn next_due(&self) -> Result<Option<Duration>, Infallible> {
        Ok(self.0.step(|state, now| state.rows.next_due(now)))
    }

    fn wakeup(&self) -> Watch {
        self.0.bell.watch()
    }
}

impl OutboxOperator for HashMapOutboxStore {
    async fn counts(&self) -> Result<OutboxCounts, Infallible> {
        Ok(self.0.step(|state, _| state.rows.counts()))
    }

    async fn messages(&self, status: Status, limit: usize) -> Result<Vec<StoredMessage>, Infallible> {
        Ok(self.0.step(|state, _| state.rows.list(status, limit)))
    }

    async fn find(&self, id: &str) -> Result<Option<StoredMessage>, Infallible> {
        Ok(self.0.step(|state, _| state.rows.find(id)))
    }

    async fn requeue(&self, ids: &[&str]) -> Result<usize, Infallible> {
        Ok(self.0.step(|state, now| state.rows.requeue(ids, now)))
    }
}
