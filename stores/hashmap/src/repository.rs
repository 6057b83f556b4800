//! The repository: one commit over streams, snapshots, receipts and messages.

use std::sync::Arc;

use postbox::aggregate::{
    CommitBatch, Committed, InboxReceipt, Repository, RepositoryError, SnapshotRecord, StreamIdentity,
    StreamTail,
};
use postbox::store::{HasOutboxStore, OutboxOptions};
use postbox::time::{Clock, SystemClock};

use crate::store::{HashMapOutboxStore, Shared, State};
use crate::table::HashMapKey;

/// Keeps streams, snapshots, receipts and the outbox in RAM. Clones share the state; it goes with the last
/// of them, and of their outbox handles.
///
/// # Cancel safety
/// A commit takes effect whole, at the first poll of its future, or not at all.
///
/// # Errors
/// Only refusals: a commit checks everything first (the batch itself, stream versions, message ids,
/// receipts, in this order), then stores; the storing cannot fail.
///
/// ```
/// use std::time::Duration;
/// use postbox::{store::OutboxOptions, testing::VirtualClock};
/// use postbox_hashmap::HashMapRepository;
///
/// let clock = VirtualClock::new();
/// let repository = HashMapRepository::new()
///     .with_clock(clock.clone())
///     .with_options(OutboxOptions::new().with_retention(Duration::from_secs(3600)));
/// # let _ = repository;
/// ```
#[derive(Clone, Debug)]
pub struct HashMapRepository(Arc<Shared>);

impl HashMapRepository {
    /// An empty repository that lives by the system's clock, with the default options.
    pub fn new() -> Self {
        Self(Arc::new(Shared::new(Arc::new(SystemClock), OutboxOptions::new())))
    }

    /// An empty repository with the same options that judges delays, leases and retention by `clock`.
    pub fn with_clock(self, clock: impl Clock + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared::new(Arc::new(clock), self.0.options)))
    }

    /// An empty repository with the same clock and these options.
    pub fn with_options(self, options: OutboxOptions) -> Self {
        Self(Arc::new(Shared::new(self.0.clock.clone(), options)))
    }

    /// How many rows all claims together have looked at: what tests count instead of time.
    #[doc(hidden)]
    pub fn rows_visited(&self) -> u64 {
        self.0.step(|state, _| state.rows.visited)
    }
}

impl Default for HashMapRepository {
    fn default() -> Self {
        Self::new()
    }
}

impl HasOutboxStore for HashMapRepository {
    type OutboxStore = HashMapOutboxStore;

    fn outbox_store(&self) -> HashMapOutboxStore {
        HashMapOutboxStore(self.0.clone())
    }
}

impl Repository for HashMapRepository {
    async fn load(&self, stream: &StreamIdentity, after: u64) -> Result<Option<StreamTail>, RepositoryError> {
        Ok(self.0.step(|state, _| state.streams.tail(stream, after)))
    }

    async fn snapshot(&self, stream: &StreamIdentity) -> Result<Option<SnapshotRecord>, RepositoryError> {
        Ok(self.0.step(|state, _| state.streams.snapshot(stream)))
    }

    async fn commit(&self, batch: CommitBatch) -> Result<Committed<HashMapKey>, RepositoryError> {
        batch.check(&self.0.options)?;
        self.0.step(|State { rows, streams }, now| {
            streams.check_versions(&batch.streams)?;
            rows.check(&batch.messages)?;
            streams.check_receipts(&batch.receipts)?;
            for write in batch.streams {
                streams.append(write, now);
            }
            for snapshot in batch.snapshots {
                streams.keep(snapshot);
            }
            for receipt in batch.receipts {
                streams.receive(receipt);
            }
            let enqueue = |message| rows.enqueue(message, batch.claim, now);
            Ok(Committed {
                messages: batch.messages.iter().map(enqueue).collect(),
            })
        })
    }

    async fn has_receipt(&self, receipt: &InboxReceipt) -> Result<bool, RepositoryError> {
        Ok(self.0.step(|state, _| state.streams.has_receipt(receipt)))
    }
}
