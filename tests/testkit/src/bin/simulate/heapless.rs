//! The outbox of fixed size beside streams in RAM: what a device does that keeps its state elsewhere.

use std::sync::Arc;
use std::time::Duration;

use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use postbox::aggregate::{
    CommitBatch, Committed, CommittedMessage, InboxReceipt, Repository, RepositoryError, SnapshotRecord,
    StreamIdentity, StreamTail,
};
use postbox::claim::Status;
use postbox::message::OutboxMessage;
use postbox::store::{
    ClaimRef, ClaimRequest, HasOutboxStore, OutboxCounts, OutboxOperator, OutboxStore, Settled, Settlement,
    StoredMessage,
};
use postbox::testing::VirtualClock;
use postbox::wakeup::Never;
use postbox_hashmap::HashMapRepository;
use postbox_heapless::{HeaplessKey, HeaplessOutbox, NewMessage};

/// Places for more messages than any simulated world has.
type Table = HeaplessOutbox<CriticalSectionRawMutex, VirtualClock, 64, 224, 128, 32>;

pub(crate) fn open(clock: VirtualClock) -> Device {
    Device {
        streams: HashMapRepository::new().with_clock(clock.clone()),
        outbox: Outbox(Arc::new(Table::new(clock))),
    }
}

/// Streams and receipts in one store, messages in the other; in one step, since nothing waits in between.
pub(crate) struct Device {
    streams: HashMapRepository,
    outbox: Outbox,
}

impl HasOutboxStore for Device {
    type OutboxStore = Outbox;

    fn outbox_store(&self) -> Outbox {
        self.outbox.clone()
    }
}

impl Repository for Device {
    async fn load(&self, stream: &StreamIdentity, after: u64) -> Result<Option<StreamTail>, RepositoryError> {
        self.streams.load(stream, after).await
    }
    async fn snapshot(&self, stream: &StreamIdentity) -> Result<Option<SnapshotRecord>, RepositoryError> {
        self.streams.snapshot(stream).await
    }
    async fn has_receipt(&self, receipt: &InboxReceipt) -> Result<bool, RepositoryError> {
        Repository::has_receipt(&self.streams, receipt).await
    }

    async fn commit(&self, batch: CommitBatch) -> Result<Committed<HeaplessKey>, RepositoryError> {
        let table = &self.outbox.0;
        if let Some(known) = batch.messages.iter().find(|message| table.contains(message.id())) {
            let id = known.id().into();
            return Err(RepositoryError::DuplicateMessage { id });
        }
        let (messages, birth) = (batch.messages, batch.claim);
        let state = CommitBatch {
            messages: Vec::new(),
            ..batch
        };
        self.streams.commit(state).await?;
        let enqueue = |message: &OutboxMessage| {
            let new = NewMessage {
                message: message.as_ref(),
                delay: message.delay(),
                claim: birth.map(|birth| (birth.worker, birth.lease.length())),
            };
            let (_, claim) = table.enqueue_with(&new).map_err(RepositoryError::store)?;
            let id = message.id().into();
            Ok(CommittedMessage { id, claim })
        };
        let messages = messages
            .iter()
            .map(enqueue)
            .collect::<Result<_, RepositoryError>>()?;
        Ok(Committed { messages })
    }
}

/// The table, shared. It gives no hints here: polling alone must do.
#[derive(Clone)]
pub(crate) struct Outbox(Arc<Table>);

impl OutboxStore for Outbox {
    type Error = core::convert::Infallible;
    type Key = HeaplessKey;
    type Claimed = <&'static Table as OutboxStore>::Claimed;
    type Batch = <&'static Table as OutboxStore>::Batch;
    type Wakeup = Never;

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Self::Batch, Self::Error> {
        (&*self.0).claim(request).await
    }
    async fn renew(&self, claims: &[ClaimRef<HeaplessKey>], lease: Duration) -> Result<usize, Self::Error> {
        (&*self.0).renew(claims, lease).await
    }
    async fn settle(&self, settlements: &[Settlement<'_, HeaplessKey>]) -> Result<Settled, Self::Error> {
        (&*self.0).settle(settlements).await
    }
    async fn purge(&self, limit: usize) -> Result<usize, Self::Error> {
        (&*self.0).purge(limit).await
    }
    async fn next_due(&self) -> Result<Option<Duration>, Self::Error> {
        (&*self.0).next_due().await
    }
    fn wakeup(&self) -> Never {
        Never
    }
}

impl OutboxOperator for Outbox {
    async fn counts(&self) -> Result<OutboxCounts, Self::Error> {
        OutboxOperator::counts(&&*self.0).await
    }
    async fn messages(&self, status: Status, limit: usize) -> Result<Vec<StoredMessage>, Self::Error> {
        (&*self.0).messages(status, limit).await
    }
    async fn find(&self, id: &str) -> Result<Option<StoredMessage>, Self::Error> {
        (&*self.0).find(id).await
    }
    async fn requeue(&self, ids: &[&str]) -> Result<usize, Self::Error> {
        OutboxOperator::requeue(&&*self.0, ids).await
    }
}
