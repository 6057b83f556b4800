//! The database of a world: any repository whose operations complete at once, its types erased, so that users'
//! code over it needs no type parameter and its futures are `Send`.

use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use postbox::aggregate::{
    CommitBatch, Committed, CommittedMessage, InboxReceipt, Repository, RepositoryError, SnapshotRecord,
    StreamIdentity, StreamTail,
};
use postbox::message::{HeaderBuf, OutboxMessage};
use postbox::store::{
    ClaimRef, ClaimRequest, ClaimedMessage, KeyOf, OutboxCounts, OutboxOperator, OutboxStore, Settled,
    Settlement,
};
use postbox::wakeup::Wakeup;

use crate::store::{RowKey, SimClaimed, SimError};

/// A repository behind a pointer. [`Inline`] makes one of any that fits.
pub(crate) trait Backing: Send + Sync {
    fn load(&self, stream: &StreamIdentity, after: u64) -> Result<Option<StreamTail>, RepositoryError>;
    fn snapshot(&self, stream: &StreamIdentity) -> Result<Option<SnapshotRecord>, RepositoryError>;
    fn commit(&self, batch: CommitBatch) -> Result<Committed<RowKey>, RepositoryError>;
    fn has_receipt(&self, receipt: &InboxReceipt) -> Result<bool, RepositoryError>;
    fn claim(&self, request: &ClaimRequest<'_>) -> Result<Vec<SimClaimed>, SimError>;
    fn renew(&self, claims: &[ClaimRef<RowKey>], lease: Duration) -> Result<usize, SimError>;
    fn settle(&self, settlements: &[Settlement<'_, RowKey>]) -> Result<Settled, SimError>;
    fn purge(&self, limit: usize) -> Result<usize, SimError>;
    fn next_due(&self) -> Result<Option<Duration>, SimError>;
    fn counts(&self) -> Result<OutboxCounts, SimError>;
    fn is_dead(&self, id: &str) -> bool;
    /// Whether there was a hint since the last call.
    fn was_hinted(&self) -> bool;
}

/// A repository of which every operation completes at its first poll: in RAM, or run inline.
pub(crate) struct Inline<R: Repository> {
    repository: R,
    store: R::OutboxStore,
    wakeup: Mutex<<R::OutboxStore as OutboxStore>::Wakeup>,
    /// The store's own keys, by ours.
    keys: Mutex<Vec<KeyOf<R>>>,
}

impl<R: Repository> Inline<R> {
    pub(crate) fn new(repository: R) -> Self {
        let store = repository.outbox_store();
        Self {
            wakeup: Mutex::new(store.wakeup()),
            store,
            repository,
            keys: Mutex::new(Vec::new()),
        }
    }

    fn key(&self, key: KeyOf<R>) -> RowKey {
        let mut keys = lock(&self.keys);
        let at = keys.iter().rposition(|known| *known == key).unwrap_or_else(|| {
            keys.push(key);
            keys.len() - 1
        });
        RowKey(at)
    }

    fn own(&self, claim: ClaimRef<RowKey>) -> Option<ClaimRef<KeyOf<R>>> {
        let key = lock(&self.keys).get(claim.key.0).copied()?;
        Some(ClaimRef {
            key,
            fence: claim.fence,
        })
    }

    fn claim_ref(&self, claim: ClaimRef<KeyOf<R>>) -> ClaimRef<RowKey> {
        ClaimRef {
            key: self.key(claim.key),
            fence: claim.fence,
        }
    }
}

impl<R> Backing for Inline<R>
where
    R: Repository<OutboxStore: OutboxOperator<Key: Send, Wakeup: Send> + Send + Sync> + Send + Sync,
{
    fn load(&self, stream: &StreamIdentity, after: u64) -> Result<Option<StreamTail>, RepositoryError> {
        at_once(self.repository.load(stream, after))
    }

    fn snapshot(&self, stream: &StreamIdentity) -> Result<Option<SnapshotRecord>, RepositoryError> {
        at_once(self.repository.snapshot(stream))
    }

    fn commit(&self, batch: CommitBatch) -> Result<Committed<RowKey>, RepositoryError> {
        let committed = at_once(self.repository.commit(batch))?;
        let messages = committed.messages.into_iter().map(|message| CommittedMessage {
            id: message.id,
            claim: message.claim.map(|claim| self.claim_ref(claim)),
        });
        Ok(Committed {
            messages: messages.collect(),
        })
    }

    fn has_receipt(&self, receipt: &InboxReceipt) -> Result<bool, RepositoryError> {
        at_once(self.repository.has_receipt(receipt))
    }

    fn claim(&self, request: &ClaimRequest<'_>) -> Result<Vec<SimClaimed>, SimError> {
        let batch = at_once(self.store.claim(request)).map_err(SimError::store)?;
        let claimed = batch.iter().map(|claimed| {
            let message = claimed.message();
            SimClaimed {
                claim: self.claim_ref(claimed.claim()),
                failures: claimed.failures(),
                age: claimed.age(),
                message: OutboxMessage::from_stored(
                    message.id.into(),
                    message.name.into(),
                    message.kind,
                    message.key.map(Into::into),
                    message.payload.into(),
                    message.content_type.to_owned().into(),
                    HeaderBuf::from(message.headers),
                ),
            }
        });
        Ok(claimed.collect())
    }

    fn renew(&self, claims: &[ClaimRef<RowKey>], lease: Duration) -> Result<usize, SimError> {
        let claims: Vec<_> = claims.iter().filter_map(|claim| self.own(*claim)).collect();
        at_once(self.store.renew(&claims, lease)).map_err(SimError::store)
    }

    fn settle(&self, settlements: &[Settlement<'_, RowKey>]) -> Result<Settled, SimError> {
        let own = settlements.iter().filter_map(|settlement| {
            Some(Settlement {
                claim: self.own(settlement.claim)?,
                verdict: settlement.verdict,
                error: settlement.error,
            })
        });
        at_once(self.store.settle(&own.collect::<Vec<_>>())).map_err(SimError::store)
    }

    fn purge(&self, limit: usize) -> Result<usize, SimError> {
        at_once(self.store.purge(limit)).map_err(SimError::store)
    }

    fn next_due(&self) -> Result<Option<Duration>, SimError> {
        at_once(self.store.next_due()).map_err(SimError::store)
    }

    fn counts(&self) -> Result<OutboxCounts, SimError> {
        at_once(self.store.counts()).map_err(SimError::store)
    }

    fn is_dead(&self, id: &str) -> bool {
        let found = at_once(self.store.find(id)).ok().flatten();
        found.is_some_and(|found| found.entry.state().status() == postbox::claim::Status::Dead)
    }

    fn was_hinted(&self) -> bool {
        let mut wakeup = lock(&self.wakeup);
        let mut wait = pin!(wakeup.wait());
        let mut cx = Context::from_waker(Waker::noop());
        wait.as_mut().poll(&mut cx).is_ready()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Polls a future once: for looks into the database when all is over, where nothing waits.
///
/// ```
/// assert_eq!(postbox_testkit::at_once(async { 1 }), 1);
/// ```
///
/// # Panics
/// If the future waits.
#[expect(
    clippy::panic,
    reason = "a store that waits does not fit in here, whatever it is asked"
)]
pub fn at_once<F: Future>(future: F) -> F::Output {
    let mut cx = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut cx) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the store did not answer at its first poll: it cannot be simulated"),
    }
}
