//! Snapshots: state read before the tail, so that long streams load short.

use alloc::string::ToString;
use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::typed::outbox_batch;
use super::{
    Aggregate, AggregateRepository, Birth, CommitBatch, Committed, InboxReceipt, OutboxCommit,
    OutboxCommitting, Repository, RepositoryError, SnapshotRecord, StreamIdentity, identity, replay,
};
use crate::id::{Excerpt, Invalid};
use crate::message::{Codec, OutboxMessage};
use crate::store::{HasOutboxStore, KeyOf};

/// An aggregate whose state can be kept and restored without its events.
///
/// Bump [`STATE_VERSION`](Self::STATE_VERSION) whenever the state's shape changes: older snapshots are then
/// passed over, and the stream is replayed.
pub trait Snapshottable: Aggregate {
    /// What is kept.
    type State: Serialize + DeserializeOwned;
    /// The version of its shape, from 1.
    const STATE_VERSION: u32;

    /// The present state.
    fn state(&self) -> Self::State;
    /// Takes a state over, as [`apply`](Aggregate::apply) would have built it.
    fn restore(&mut self, state: Self::State);
}

/// Aggregates of type `A`, with a snapshot every `n` events.
///
/// Loading reads the snapshot first and then only the events after it. A snapshot of another type, of
/// another shape, newer than the stream, or one that does not decode is passed over: it is a cache.
#[derive(Debug)]
pub struct SnapshotAggregateRepository<R, A> {
    aggregates: AggregateRepository<R, A>,
    every: u64,
}

impl<R: Clone, A> Clone for SnapshotAggregateRepository<R, A> {
    fn clone(&self) -> Self {
        Self {
            aggregates: self.aggregates.clone(),
            every: self.every,
        }
    }
}

impl<R, A> SnapshotAggregateRepository<R, A> {
    pub(super) fn new(aggregates: AggregateRepository<R, A>, every: u64) -> Result<Self, Invalid> {
        if every == 0 {
            return Err(Invalid::OutOfRange {
                field: "snapshot interval (events)",
                value: 0,
                rule: "at least 1",
            });
        }
        Ok(Self { aggregates, every })
    }

    /// The repository without snapshots below.
    pub const fn aggregates(&self) -> &AggregateRepository<R, A> {
        &self.aggregates
    }

    /// Commits one message together with an aggregate: `repo.outbox(message).commit(&mut todo).await?`.
    pub const fn outbox(&self, message: OutboxMessage) -> OutboxCommit<'_, Self, A> {
        OutboxCommit::new(self, message)
    }
}

impl<R: Repository, A: Snapshottable> SnapshotAggregateRepository<R, A> {
    /// The aggregate with this id, or `None`; see [`AggregateRepository::get`].
    pub async fn get(&self, id: &str) -> Result<Option<A>, RepositoryError> {
        let stream = identity::<A>(id)?;
        let lock = self.repository().lock(&stream).await;
        let mut loaded = self.load(&stream).await?;
        if let Some(aggregate) = &mut loaded {
            aggregate.entity_mut().hold(lock);
        }
        Ok(loaded)
    }

    /// The same without the lock: to look, not to change.
    pub async fn peek(&self, id: &str) -> Result<Option<A>, RepositoryError> {
        self.load(&identity::<A>(id)?).await
    }

    /// Commits an aggregate's new events, and a snapshot when one is due, in one transaction.
    pub async fn commit(&self, aggregate: &mut A) -> Result<(), RepositoryError> {
        if aggregate.entity().new_events().is_empty() {
            return Ok(());
        }
        self.commit_with(aggregate, Vec::new(), None, None)
            .await
            .map(|_| ())
    }

    fn repository(&self) -> &R {
        self.aggregates.inner()
    }

    async fn load(&self, stream: &StreamIdentity) -> Result<Option<A>, RepositoryError> {
        let kept = self.repository().snapshot(stream).await?;
        if let Some((mut aggregate, version)) = kept.as_ref().and_then(restored::<A>) {
            if let Some(tail) = self
                .repository()
                .load(stream, version)
                .await?
                .filter(|tail| tail.version >= version)
            {
                replay(&mut aggregate, stream, &tail.events)?;
                return Ok(Some(aggregate));
            }
        }
        self.aggregates.peek(stream.id()).await
    }

    /// A snapshot of the present state, when one is due.
    fn due_snapshot(&self, aggregate: &A) -> Result<Option<SnapshotRecord>, RepositoryError> {
        let entity = aggregate.entity();
        if entity.version().saturating_sub(entity.snapshot_version()) < self.every {
            return Ok(None);
        }
        let encode = |error: serde_json::Error| RepositoryError::Encode {
            what: "the state",
            reason: Excerpt::display(&error),
        };
        Ok(Some(SnapshotRecord {
            stream: identity::<A>(entity.id())?,
            version: entity.version(),
            state_type: A::TYPE.to_string(),
            state_version: A::STATE_VERSION,
            codec: Codec::JSON,
            payload: serde_json::to_vec(&aggregate.state()).map_err(encode)?,
        }))
    }
}

impl<R: HasOutboxStore, A> HasOutboxStore for SnapshotAggregateRepository<R, A> {
    type OutboxStore = R::OutboxStore;

    fn outbox_store(&self) -> Self::OutboxStore {
        self.aggregates.outbox_store()
    }
}

impl<R: Repository, A: Snapshottable> OutboxCommitting<A> for SnapshotAggregateRepository<R, A> {
    async fn commit_with(
        &self,
        aggregate: &mut A,
        messages: Vec<OutboxMessage>,
        claim: Option<Birth>,
        receipt: Option<InboxReceipt>,
    ) -> Result<(Committed<KeyOf<Self>>, Vec<OutboxMessage>), RepositoryError> {
        let mut batch: CommitBatch = outbox_batch(aggregate, messages, claim, receipt)?;
        batch.snapshots.extend(self.due_snapshot(aggregate)?);
        let snapshotted = !batch.snapshots.is_empty();
        let stored = if claim.is_some() {
            batch.messages.clone()
        } else {
            Vec::new()
        };
        let committed = self.repository().commit(batch).await?;
        aggregate.entity_mut().committed();
        if snapshotted {
            aggregate.entity_mut().snapshotted();
        }
        Ok((committed, stored))
    }
}

/// The aggregate as of a snapshot, if the snapshot is one of ours.
fn restored<A: Snapshottable>(record: &SnapshotRecord) -> Option<(A, u64)> {
    let ours = record.state_type == A::TYPE
        && record.state_version == A::STATE_VERSION
        && record.codec == Codec::JSON;
    let state = ours
        .then(|| serde_json::from_slice(&record.payload).ok())
        .flatten()?;
    let mut aggregate = A::default();
    aggregate.restore(state);
    aggregate
        .entity_mut()
        .restored(record.stream.id(), record.version);
    Some((aggregate, record.version))
}
