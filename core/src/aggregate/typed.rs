//! Loads and commits aggregates of one type.

use alloc::vec::Vec;
use core::marker::PhantomData;

use super::{
    Aggregate, Birth, CommitBatch, Committed, InboxReceipt, OutboxCommit, Repository, RepositoryError,
    SnapshotAggregateRepository, Snapshottable, StreamIdentity, StreamWrite, identity, replay,
};
use crate::message::OutboxMessage;
use crate::store::{HasOutboxStore, KeyOf};

/// Aggregates of type `A` in the repository `R`.
///
/// Made by [`Repository::aggregate`]. Over a [`QueuedRepository`](super::QueuedRepository), [`get`](Self::get)
/// waits for the stream's lock, and the loaded aggregate holds it.
#[derive(Debug)]
pub struct AggregateRepository<R, A> {
    repository: R,
    aggregate: PhantomData<fn() -> A>,
}

impl<R: Clone, A> Clone for AggregateRepository<R, A> {
    fn clone(&self) -> Self {
        Self {
            repository: self.repository.clone(),
            aggregate: PhantomData,
        }
    }
}

impl<R, A> AggregateRepository<R, A> {
    /// Over `repository`.
    pub const fn new(repository: R) -> Self {
        Self {
            repository,
            aggregate: PhantomData,
        }
    }

    /// The repository below.
    pub const fn inner(&self) -> &R {
        &self.repository
    }

    /// Takes a snapshot whenever `every` events have been committed since the last one; at least 1.
    ///
    /// # Errors
    /// [`Invalid`](crate::id::Invalid) for 0.
    pub fn with_snapshots(self, every: u64) -> Result<SnapshotAggregateRepository<R, A>, crate::id::Invalid>
    where
        A: Snapshottable,
    {
        SnapshotAggregateRepository::new(self, every)
    }

    /// Commits one message together with an aggregate: `repo.outbox(message).commit(&mut todo).await?`.
    pub const fn outbox(&self, message: OutboxMessage) -> OutboxCommit<'_, Self, A> {
        OutboxCommit::new(self, message)
    }
}

impl<R: Repository, A: Aggregate> AggregateRepository<R, A> {
    /// The aggregate with this id, or `None`.
    ///
    /// # Errors
    /// A bad id, a failing store, or stored events that do not decode. No lock is held afterwards.
    pub async fn get(&self, id: &str) -> Result<Option<A>, RepositoryError> {
        let stream = identity::<A>(id)?;
        let lock = self.repository.lock(&stream).await;
        let mut loaded = self.load(&stream).await?;
        if let Some(aggregate) = &mut loaded {
            aggregate.entity_mut().hold(lock);
        }
        Ok(loaded)
    }

    /// The same without waiting for the lock and without holding it: to look, not to change.
    pub async fn peek(&self, id: &str) -> Result<Option<A>, RepositoryError> {
        self.load(&identity::<A>(id)?).await
    }

    /// Those that exist, in the order of `ids`. Locks are taken in sorted order, so that two callers with
    /// the same ids never wait for each other; an id that occurs twice is loaded once.
    pub async fn get_all(&self, ids: &[&str]) -> Result<Vec<A>, RepositoryError> {
        let mut sorted: Vec<&str> = ids.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut loaded = Vec::with_capacity(sorted.len());
        for id in sorted {
            loaded.extend(self.get(id).await?);
        }
        let place = |a: &A| ids.iter().position(|id| *id == a.entity().id());
        loaded.sort_by_key(place);
        Ok(loaded)
    }

    /// Commits an aggregate's new events. Without any, nothing is written.
    ///
    /// # Errors
    /// [`RepositoryError`]; the aggregate keeps its new events.
    pub async fn commit(&self, aggregate: &mut A) -> Result<(), RepositoryError> {
        self.commit_all(&mut [aggregate]).await
    }

    /// Commits several aggregates in one transaction.
    pub async fn commit_all(&self, aggregates: &mut [&mut A]) -> Result<(), RepositoryError> {
        let mut batch = CommitBatch::new();
        for aggregate in aggregates.iter() {
            batch.streams.extend(stream_write(&**aggregate)?);
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.repository.commit(batch).await?;
        for aggregate in aggregates {
            aggregate.entity_mut().committed();
        }
        Ok(())
    }

    async fn load(&self, stream: &StreamIdentity) -> Result<Option<A>, RepositoryError> {
        let Some(tail) = self.repository.load(stream, 0).await? else {
            return Ok(None);
        };
        let mut aggregate = A::default();
        replay(&mut aggregate, stream, &tail.events)?;
        Ok(Some(aggregate))
    }
}

impl<R: HasOutboxStore, A> HasOutboxStore for AggregateRepository<R, A> {
    type OutboxStore = R::OutboxStore;

    fn outbox_store(&self) -> Self::OutboxStore {
        self.repository.outbox_store()
    }
}

impl<R: Repository, A: Aggregate> super::OutboxCommitting<A> for AggregateRepository<R, A> {
    async fn commit_with(
        &self,
        aggregate: &mut A,
        messages: Vec<OutboxMessage>,
        claim: Option<Birth>,
        receipt: Option<InboxReceipt>,
    ) -> Result<(Committed<KeyOf<Self>>, Vec<OutboxMessage>), RepositoryError> {
        let batch = outbox_batch(aggregate, messages, claim, receipt)?;
        let stored = if claim.is_some() {
            batch.messages.clone()
        } else {
            Vec::new()
        };
        let committed = self.repository.commit(batch).await?;
        aggregate.entity_mut().committed();
        Ok((committed, stored))
    }
}

/// The batch that commits an aggregate with messages: their source and key are stamped.
pub(super) fn outbox_batch<A: Aggregate>(
    aggregate: &A,
    messages: Vec<OutboxMessage>,
    claim: Option<Birth>,
    receipt: Option<InboxReceipt>,
) -> Result<CommitBatch, RepositoryError> {
    let entity = aggregate.entity();
    let stream = identity::<A>(entity.id())?;
    let mut batch = CommitBatch {
        messages,
        claim,
        ..CommitBatch::new()
    };
    for message in &mut batch.messages {
        let key = alloc::format!("{stream}");
        message.stamp_source(stream.kind(), stream.id(), entity.version(), key)?;
    }
    batch.streams.extend(stream_write(aggregate)?);
    batch.receipts.extend(receipt);
    Ok(batch)
}

/// The aggregate's new events; `None` when there are none.
fn stream_write<A: Aggregate>(aggregate: &A) -> Result<Option<StreamWrite>, RepositoryError> {
    let entity = aggregate.entity();
    if entity.new_events().is_empty() {
        return Ok(None);
    }
    Ok(Some(StreamWrite {
        stream: identity::<A>(entity.id())?,
        expected: entity.committed_version(),
        events: entity.new_events().to_vec(),
    }))
}
