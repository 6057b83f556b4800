//! The suite for outboxes and the model over flash in RAM. What the store has not is declared here, each with the
//! reason, and its checks print that they were skipped.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use postbox::aggregate::{
    CommitBatch, Committed, CommittedMessage, InboxReceipt, Repository, RepositoryError, SnapshotRecord,
    StreamIdentity, StreamTail,
};
use postbox::claim::Status;
use postbox::message::{HeaderBuf, MessageRef, OutboxMessage};
use postbox::store::{
    ClaimRef, ClaimRequest, ClaimedMessage, DeadPolicy, HasOutboxStore, OutboxCounts, OutboxOperator,
    OutboxOptions, OutboxStore, Settled, Settlement, StoredMessage, Which,
};
use postbox::testing::VirtualClock;
use postbox_flash::{DeadLetters, FlashClaimed, FlashError, FlashKey, FlashOutbox, FlashWatch, NewMessage};
use postbox_tests::conformance::StoreHarness;

use crate::mock::{Fault, MockFlash};
use crate::now;

/// Large enough for the suites: they claim up to a hundred messages at once, and hold as many.
type Outbox = FlashOutbox<NoopRawMutex, MockFlash<4096>, VirtualClock, 512, 192, 100>;

#[derive(Default)]
struct Flash(VirtualClock);

impl StoreHarness for Flash {
    type Repository = Named;

    fn open(&self, options: OutboxOptions) -> Named {
        Named::open(MockFlash::new(18), self.0.clone(), options, Rc::default())
    }
    fn clock(&self) -> VirtualClock {
        self.0.clone()
    }
    fn is_durable(&self) -> bool {
        true
    }
    fn reopen(&self, repository: Named, options: OutboxOptions) -> Named {
        // The flash is all that is left; what the old outbox knew in RAM is not asked again.
        Named::open(repository.flash, self.0.clone(), options, repository.ids)
    }
    /// Leases, attempts and failures are in RAM: in flash each claim would write, and wear it.
    fn keeps_claims(&self) -> bool {
        false
    }
    /// There is no commit that a claim could be part of, and no immediate path on a device.
    fn births(&self) -> bool {
        false
    }
    /// A device has no clock that goes on over a reset: a due time in flash would mean nothing.
    fn delays(&self) -> bool {
        false
    }
    /// What is published leaves the flash: room is what there is least of.
    fn retention(&self) -> bool {
        false
    }
    /// Ids are the device's name and the sequence number: they cannot be taken twice.
    fn takes_ids(&self) -> bool {
        false
    }
    /// As for delays. An age counts from the first claim since the last reset.
    fn knows_ages(&self) -> bool {
        false
    }
    /// A claim is a pass over the log, oldest first: an index by due time would be RAM for every message.
    fn claims_in_commit_order(&self) -> bool {
        true
    }
    // `rows_visited` stays `None` for the same reason: a claim passes what it does not return.
    fn cases(&self) -> u32 {
        128
    }
}

mod outbox {
    postbox_tests::outbox_conformance!(super::Flash::default());
}

mod model {
    postbox_tests::model_conformance!(super::Flash::default());
}

/// The outbox with ids as the suites choose them: it makes its own, so a table beside it has both.
#[derive(Clone, Debug)]
struct Named {
    flash: MockFlash<4096>,
    outbox: Rc<Outbox>,
    ids: Ids,
    options: OutboxOptions,
}

/// The suite's id by the device's. The latest of the same name is the one that is meant.
type Ids = Rc<RefCell<BTreeMap<u64, String>>>;

impl Named {
    fn open(flash: MockFlash<4096>, clock: VirtualClock, options: OutboxOptions, ids: Ids) -> Self {
        let outbox = Outbox::open(flash.clone(), flash.range(), clock, "d");
        let dead = match options.dead_policy() {
            DeadPolicy::Block => DeadLetters::Block,
            DeadPolicy::Skip => DeadLetters::Keep,
        };
        let outbox = Rc::new(now(outbox).unwrap().with_dead_letters(dead));
        Self {
            flash,
            outbox,
            ids,
            options,
        }
    }

    /// The id that the suite gave to one of the device's.
    fn name(&self, device: &str) -> String {
        let sequence = device.strip_prefix("d-").unwrap().parse().unwrap();
        self.ids.borrow()[&sequence].clone()
    }

    fn device_ids(&self, names: &[&str]) -> Vec<String> {
        let ids = self.ids.borrow();
        let latest = |name: &&str| ids.iter().rev().find(|(_, known)| known == name);
        let id = |name| latest(name).map(|(sequence, _)| format!("d-{sequence}"));
        names.iter().filter_map(id).collect()
    }

    fn renamed(&self, stored: StoredMessage) -> StoredMessage {
        let message = stored.message.as_ref();
        let name = self.name(message.id);
        let message = OutboxMessage::from_stored(
            name,
            message.name.into(),
            message.kind,
            message.key.map(Into::into),
            message.payload.into(),
            String::from(message.content_type).into(),
            HeaderBuf::from(message.headers),
        );
        StoredMessage { message, ..stored }
    }
}

impl HasOutboxStore for Named {
    type OutboxStore = Self;

    fn outbox_store(&self) -> Self {
        self.clone()
    }
}

impl Repository for Named {
    async fn load(&self, _: &StreamIdentity, _: u64) -> Result<Option<StreamTail>, RepositoryError> {
        Ok(None)
    }
    async fn snapshot(&self, _: &StreamIdentity) -> Result<Option<SnapshotRecord>, RepositoryError> {
        Ok(None)
    }
    async fn has_receipt(&self, _: &InboxReceipt) -> Result<bool, RepositoryError> {
        Ok(false)
    }

    async fn commit(&self, batch: CommitBatch) -> Result<Committed<FlashKey>, RepositoryError> {
        batch.check(&self.options)?;
        assert!(batch.streams.is_empty() && batch.receipts.is_empty() && batch.claim.is_none());
        let mut messages = Vec::new();
        for message in &batch.messages {
            assert!(message.delay().is_zero());
            let id = message.id().to_owned();
            let message = message.as_ref();
            let new = NewMessage {
                name: message.name,
                kind: message.kind,
                key: message.key,
                payload: message.payload,
                content_type: message.content_type,
                headers: message.headers,
            };
            let key = self.outbox.enqueue(new).await.unwrap();
            self.ids.borrow_mut().insert(key.sequence(), id.clone());
            messages.push(CommittedMessage { id, claim: None });
        }
        Ok(Committed { messages })
    }
}

/// A claimed message under the suite's id.
#[derive(Debug)]
struct NamedClaimed {
    claimed: FlashClaimed<512>,
    name: String,
}

impl ClaimedMessage for NamedClaimed {
    type Key = FlashKey;

    fn message(&self) -> MessageRef<'_> {
        MessageRef {
            id: &self.name,
            ..self.claimed.message()
        }
    }
    fn claim(&self) -> ClaimRef<FlashKey> {
        self.claimed.claim()
    }
    fn failures(&self) -> u32 {
        self.claimed.failures()
    }
    fn age(&self) -> Duration {
        self.claimed.age()
    }
}

impl OutboxStore for Named {
    type Error = FlashError<Fault>;
    type Key = FlashKey;
    type Claimed = NamedClaimed;
    type Batch = Vec<NamedClaimed>;
    type Wakeup = FlashWatch<'static, NoopRawMutex>;

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Self::Batch, Self::Error> {
        let ids = match request.which {
            Which::Due => Vec::new(),
            Which::Ids(names) => self.device_ids(names),
        };
        let ids: Vec<&str> = ids.iter().map(Deref::deref).collect();
        let which = match request.which {
            Which::Due => Which::Due,
            Which::Ids(_) => Which::Ids(&ids),
        };
        let request = ClaimRequest { which, ..*request };
        let batch = Box::pin((&*self.outbox).claim(&request)).await?;
        let named = |claimed: FlashClaimed<512>| NamedClaimed {
            name: self.name(claimed.message().id),
            claimed,
        };
        Ok(batch.into_iter().map(named).collect())
    }
    async fn renew(&self, claims: &[ClaimRef<FlashKey>], lease: Duration) -> Result<usize, Self::Error> {
        (&*self.outbox).renew(claims, lease).await
    }
    async fn settle(&self, settlements: &[Settlement<'_, FlashKey>]) -> Result<Settled, Self::Error> {
        (&*self.outbox).settle(settlements).await
    }
    async fn next_due(&self) -> Result<Option<Duration>, Self::Error> {
        (&*self.outbox).next_due().await
    }
    async fn purge(&self, limit: usize) -> Result<usize, Self::Error> {
        (&*self.outbox).purge(limit).await
    }
    fn wakeup(&self) -> Self::Wakeup {
        // A watch outlives the outbox that it is of: one for each check, never given back.
        let outbox: &'static Rc<Outbox> = Box::leak(Box::new(self.outbox.clone()));
        (&**outbox).wakeup()
    }
}

impl OutboxOperator for Named {
    async fn counts(&self) -> Result<OutboxCounts, Self::Error> {
        (&*self.outbox).counts().await
    }
    async fn messages(&self, status: Status, limit: usize) -> Result<Vec<StoredMessage>, Self::Error> {
        let listed = (&*self.outbox).messages(status, limit).await?;
        Ok(listed.into_iter().map(|stored| self.renamed(stored)).collect())
    }
    async fn find(&self, id: &str) -> Result<Option<StoredMessage>, Self::Error> {
        let Some(id) = self.device_ids(&[id]).pop() else {
            return Ok(None);
        };
        let found = (&*self.outbox).find(&id).await?;
        Ok(found.map(|stored| self.renamed(stored)))
    }
    async fn requeue(&self, ids: &[&str]) -> Result<usize, Self::Error> {
        let ids = self.device_ids(ids);
        let ids: Vec<&str> = ids.iter().map(Deref::deref).collect();
        OutboxOperator::requeue(&&*self.outbox, &ids).await
    }
}
