//! Streams, snapshots and receipts as a node sees them.

use std::fmt;

use postbox::aggregate::{
    CommitBatch, Committed, InboxReceipt, Repository, RepositoryError, SnapshotRecord, StreamIdentity,
    StreamTail,
};
use postbox::message::{HeaderBuf, OutboxMessage};
use postbox::store::HasOutboxStore;

use super::{RowKey, SimError, SimOutbox};
use crate::history::{Event, NodeId};
use crate::sabotage::Sabotage;
use crate::world::{Operation, Sim};

/// A node's way to the database of its world: [`Node::repository`](crate::Node::repository).
///
/// Every call goes there and comes back; on each way a crash may come in between. While the storm lasts, calls
/// fail, or succeed without an answer.
#[derive(Clone)]
pub struct SimRepository {
    outbox: SimOutbox,
    /// Goes there without a network: for a look when all is over.
    direct: bool,
}

impl SimRepository {
    pub(crate) const fn new(sim: Sim, node: NodeId) -> Self {
        Self {
            outbox: SimOutbox { sim, node },
            direct: false,
        }
    }

    /// Without network and faults.
    pub(crate) const fn direct(sim: Sim) -> Self {
        Self {
            outbox: SimOutbox {
                sim,
                node: NodeId::MAX,
            },
            direct: true,
        }
    }

    /// The ids of the messages that were committed and chosen, sorted.
    pub fn committed(&self, which: impl Fn(&str) -> bool) -> Vec<String> {
        let state = self.outbox.sim.lock();
        let committed = state
            .ledger
            .records
            .iter()
            .filter(|record| record.committed.is_some());
        let mut ids: Vec<String> = committed
            .map(|record| record.id.clone())
            .filter(|id| which(id))
            .collect();
        ids.sort_unstable();
        ids
    }

    async fn hop(&self) {
        if !self.direct {
            self.outbox.sim.hop().await;
        }
    }

    /// A look that changes nothing.
    async fn look<T>(&self, look: impl FnOnce() -> Result<T, RepositoryError>) -> Result<T, RepositoryError> {
        if self.direct {
            return look();
        }
        self.hop().await;
        let operation = self.outbox.sim.lock().operation(self.outbox.node, "looking");
        self.hop().await;
        match operation {
            Operation::Succeeds => look(),
            Operation::Fails | Operation::LosesItsAnswer => Err(RepositoryError::store(SimError::OnPurpose)),
        }
    }

    fn commit_now(&self, batch: CommitBatch) -> Result<Committed<RowKey>, RepositoryError> {
        let SimOutbox { sim, node } = &self.outbox;
        let seen = Seen::of(&batch);
        let operation = if self.direct {
            Operation::Succeeds
        } else {
            sim.lock().operation(*node, "committing")
        };
        if operation == Operation::Fails {
            sim.lock().not_committed(*node, &seen.messages);
            return Err(RepositoryError::store(SimError::OnPurpose));
        }
        let claim = batch.claim;
        let result = sim.backing.commit(self.sabotaged(batch));
        let mut state = sim.lock();
        let committed = match result {
            Ok(committed) => committed,
            Err(error) => {
                state.not_committed(*node, &seen.messages);
                return Err(error);
            }
        };
        for (id, key) in &seen.messages {
            let born = committed.messages.iter().find(|message| message.id == *id);
            let born = born.and_then(|message| message.claim);
            let message = state.ledger.number(id);
            if let Some(born) = born {
                state.ledger.stands_in(born.key, message);
            }
            let lease = claim.map(|claim| claim.lease.length()).unwrap_or_default();
            state.committed(*node, id, key.as_deref(), born.map(|born| (born.fence, lease)));
        }
        for id in &seen.handled {
            if let Some(message) = state.ledger.known(id) {
                state.log(Event::Handled { message, node: *node });
            }
        }
        if operation == Operation::LosesItsAnswer {
            for (id, _) in &seen.messages {
                let message = state.ledger.number(id);
                if let Some(record) = state.ledger.of(message) {
                    record.unknown = true;
                }
                state.log(Event::CommitAnswerLost { message, node: *node });
            }
            let source = SimError::AnswerLost.into();
            return Err(RepositoryError::Unknown { source });
        }
        if state.sabotaged(Sabotage::ReportsCommitsAsFailed) && state.dice.chance(250) {
            return Err(RepositoryError::store(SimError::OnPurpose));
        }
        Ok(committed)
    }

    /// The batch as a planted bug sends it.
    fn sabotaged(&self, mut batch: CommitBatch) -> CommitBatch {
        let sim = &self.outbox.sim;
        match sim.lock().sabotage {
            Some(Sabotage::CommitsWithoutItsMessage) => batch.messages.clear(),
            Some(Sabotage::ForgetsReceipts) => batch.receipts.clear(),
            Some(Sabotage::IgnoresKeys) => {
                batch.messages = batch.messages.iter().map(without_key).collect();
            }
            _ => {}
        }
        batch
    }

    /// A planted bug: the broker has the messages before the database has.
    fn publish_early(&self, batch: &CommitBatch) {
        let sim = &self.outbox.sim;
        if sim.lock().sabotaged(Sabotage::PublishesBeforeTheCommit) {
            for message in &batch.messages {
                sim.deliver(message.as_ref().into());
            }
        }
    }
}

impl HasOutboxStore for SimRepository {
    type OutboxStore = SimOutbox;

    fn outbox_store(&self) -> SimOutbox {
        self.outbox.clone()
    }
}

impl Repository for SimRepository {
    async fn load(&self, stream: &StreamIdentity, after: u64) -> Result<Option<StreamTail>, RepositoryError> {
        self.look(|| self.outbox.sim.backing.load(stream, after)).await
    }

    async fn snapshot(&self, stream: &StreamIdentity) -> Result<Option<SnapshotRecord>, RepositoryError> {
        self.look(|| self.outbox.sim.backing.snapshot(stream)).await
    }

    async fn commit(&self, batch: CommitBatch) -> Result<Committed<RowKey>, RepositoryError> {
        self.publish_early(&batch);
        self.hop().await;
        let result = self.commit_now(batch);
        self.outbox.pass_hints_on();
        self.hop().await;
        result
    }

    async fn has_receipt(&self, receipt: &InboxReceipt) -> Result<bool, RepositoryError> {
        let sabotage = self.outbox.sim.lock().sabotage;
        match sabotage {
            Some(Sabotage::ForgetsReceipts) => Ok(false),
            Some(Sabotage::InventsReceipts) => Ok(true),
            _ => self.look(|| self.outbox.sim.backing.has_receipt(receipt)).await,
        }
    }
}

impl fmt::Debug for SimRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimRepository")
            .field("outbox", &self.outbox)
            .finish_non_exhaustive()
    }
}

/// What is kept of a batch that the store takes away.
struct Seen {
    messages: Vec<(String, Option<String>)>,
    handled: Vec<String>,
}

impl Seen {
    fn of(batch: &CommitBatch) -> Self {
        let messages = batch.messages.iter().map(|message| {
            let key = message.as_ref().key.map(str::to_owned);
            (message.id().to_owned(), key)
        });
        let handled = batch
            .receipts
            .iter()
            .map(|receipt| receipt.message_id().to_owned());
        Self {
            messages: messages.collect(),
            handled: handled.collect(),
        }
    }
}

fn without_key(message: &OutboxMessage) -> OutboxMessage {
    let delay = message.delay();
    let message = message.as_ref();
    OutboxMessage::from_stored(
        message.id.into(),
        message.name.into(),
        message.kind,
        None,
        message.payload.into(),
        message.content_type.to_owned().into(),
        HeaderBuf::from(message.headers),
    )
    .with_delay(delay)
}
