//! What the checks share: an open store, short words for the usual steps, and workers with names.

use std::time::Duration;

use postbox::aggregate::{Birth, CommitBatch, Repository};
use postbox::claim::{Entry, Status, Verdict};
use postbox::id::WorkerId;
use postbox::lease::Lease;
use postbox::message::OutboxMessage;
use postbox::store::{
    ClaimRef, ClaimRequest, ClaimedMessage, HasOutboxStore, OutboxOperator, OutboxOptions, OutboxStore,
    Settled, Settlement, Which,
};
use postbox::testing::VirtualClock;

use super::{KeyOf, StoreHarness, StoreOf};

pub(crate) const A: WorkerId = WorkerId::new(0xa);
pub(crate) const B: WorkerId = WorkerId::new(0xb);
pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(crate) const RETRY_AT_ONCE: Verdict = Verdict::Retry {
    after: Duration::ZERO,
};

/// A store that was opened for one check.
pub(crate) struct Fixture<H: StoreHarness> {
    pub(crate) repository: H::Repository,
    pub(crate) store: StoreOf<H>,
    pub(crate) clock: VirtualClock,
}

/// One claim as the checks look at it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held<K> {
    pub(crate) id: String,
    pub(crate) claim: ClaimRef<K>,
    pub(crate) failures: u32,
}

impl<H: StoreHarness> Fixture<H> {
    pub(crate) fn new(harness: &H) -> Self {
        Self::with(harness, OutboxOptions::new())
    }

    pub(crate) fn with(harness: &H, options: OutboxOptions) -> Self {
        Self::over(harness, harness.open(options))
    }

    pub(crate) fn over(harness: &H, repository: H::Repository) -> Self {
        let (store, clock) = (repository.outbox_store(), harness.clock());
        Self {
            repository,
            store,
            clock,
        }
    }

    pub(crate) fn advance(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }

    /// Commits messages, pending.
    pub(crate) async fn commit(&self, messages: Vec<OutboxMessage>) {
        let batch = CommitBatch {
            messages,
            ..CommitBatch::new()
        };
        self.repository.commit(batch).await.expect("a good commit");
    }

    /// Commits messages that are to be born claimed by `worker`.
    pub(crate) async fn commit_claimed(
        &self,
        worker: WorkerId,
        messages: Vec<OutboxMessage>,
    ) -> Vec<Option<Held<KeyOf<H>>>> {
        let batch = CommitBatch {
            messages,
            claim: Some(Birth {
                worker,
                lease: Lease::BACKSTOP,
            }),
            ..CommitBatch::new()
        };
        let committed = self.repository.commit(batch).await.expect("a good commit");
        let held = |message: postbox::aggregate::CommittedMessage<_>| {
            message.claim.map(|claim| Held {
                id: message.id,
                claim,
                failures: 0,
            })
        };
        committed.messages.into_iter().map(held).collect()
    }

    /// Commits messages without a key, all at once.
    pub(crate) async fn enqueue(&self, ids: &[&str]) {
        self.commit(ids.iter().map(|id| message(id)).collect()).await;
    }

    /// Commits messages of one key, all at once.
    pub(crate) async fn enqueue_keyed(&self, key: &str, ids: &[&str]) {
        self.commit(ids.iter().map(|id| keyed(id, key)).collect()).await;
    }

    /// Claims what is due.
    pub(crate) async fn claim(&self, worker: WorkerId, limit: usize) -> Vec<Held<KeyOf<H>>> {
        self.claim_with(&request(worker, limit)).await
    }

    /// Claims the one message that is due.
    pub(crate) async fn claim_one(&self, worker: WorkerId) -> Held<KeyOf<H>> {
        let mut batch = self.claim(worker, 1).await;
        batch.pop().expect("one message is free")
    }

    pub(crate) async fn claim_ids(&self, worker: WorkerId, ids: &[&str]) -> Vec<String> {
        let request = ClaimRequest {
            which: Which::Ids(ids),
            ..request(worker, 100)
        };
        names(&self.claim_with(&request).await)
    }

    pub(crate) async fn claim_with(&self, request: &ClaimRequest<'_>) -> Vec<Held<KeyOf<H>>> {
        let batch = self.store.claim(request).await.expect("a claim");
        batch.iter().map(held).collect()
    }

    pub(crate) async fn settle(&self, settlements: &[(&Held<KeyOf<H>>, Verdict)]) -> Settled {
        let settlements: Vec<_> = settlements
            .iter()
            .map(|(held, verdict)| settlement(held, *verdict, ""))
            .collect();
        self.store.settle(&settlements).await.expect("a settlement")
    }

    /// Settles one claim; says whether that was accepted.
    pub(crate) async fn settle_one(&self, held: &Held<KeyOf<H>>, verdict: Verdict, error: &str) -> bool {
        let settlements = [settlement(held, verdict, error)];
        let settled = self.store.settle(&settlements).await.expect("a settlement");
        assert_eq!(settled.applied() + settled.overtaken_count(), 1);
        settled.applied() == 1
    }

    pub(crate) async fn complete(&self, held: &Held<KeyOf<H>>) -> bool {
        self.settle_one(held, Verdict::Complete, "").await
    }

    pub(crate) async fn renew(&self, held: &Held<KeyOf<H>>, lease: Duration) -> bool {
        self.store.renew(&[held.claim], lease).await.expect("a renewal") == 1
    }

    /// Where a message stands; `None` when it is gone.
    pub(crate) async fn entry(&self, id: &str) -> Option<Entry> {
        let found = self.store.find(id).await.expect("a look-up");
        found.map(|stored| stored.entry)
    }

    pub(crate) async fn status(&self, id: &str) -> Option<Status> {
        self.entry(id).await.map(|entry| entry.state().status())
    }

    pub(crate) async fn last_error(&self, id: &str) -> String {
        let found = self.store.find(id).await.expect("a look-up");
        found.expect("the message is kept").last_error.as_str().to_owned()
    }

    pub(crate) async fn requeue(&self, ids: &[&str]) -> usize {
        self.store.requeue(ids).await.expect("a requeue")
    }

    /// Kills the message that is due first.
    pub(crate) async fn bury_next(&self) -> Held<KeyOf<H>> {
        let held = self.claim_one(A).await;
        assert!(self.settle_one(&held, Verdict::Bury, "poison").await);
        held
    }
}

pub(crate) fn request(worker: WorkerId, limit: usize) -> ClaimRequest<'static> {
    ClaimRequest {
        worker,
        lease: LEASE,
        limit,
        max_abandoned: 10,
        which: Which::Due,
    }
}

pub(crate) fn held<C: ClaimedMessage>(claimed: &C) -> Held<C::Key> {
    Held {
        id: claimed.message().id.to_owned(),
        claim: claimed.claim(),
        failures: claimed.failures(),
    }
}

pub(crate) fn settlement<'e, K: Copy>(held: &Held<K>, verdict: Verdict, error: &'e str) -> Settlement<'e, K> {
    Settlement {
        claim: held.claim,
        verdict,
        error,
    }
}

pub(crate) fn message(id: &str) -> OutboxMessage {
    OutboxMessage::create(id, "thing.happened", b"{}".to_vec()).expect("a good message")
}

pub(crate) fn keyed(id: &str, key: &str) -> OutboxMessage {
    message(id).with_key(key).expect("a good key")
}

pub(crate) fn delayed(message: OutboxMessage, millis: u64) -> OutboxMessage {
    message.with_delay(Duration::from_millis(millis))
}

pub(crate) fn names<K>(batch: &[Held<K>]) -> Vec<String> {
    batch.iter().map(|held| held.id.clone()).collect()
}

/// Lets every other future of the check go on once.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if yielded {
            return std::task::Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
