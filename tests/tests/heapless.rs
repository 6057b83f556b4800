//! The outbox of fixed size passes the suite for outboxes and agrees with the model; and what only it can do wrong:
//! being full, and messages that do not fit.
#![allow(clippy::unwrap_used)] // In a suite a panic is the report.

use std::time::Duration;

use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use postbox::aggregate::{
    CommitBatch, Committed, CommittedMessage, InboxReceipt, Repository, RepositoryError, SnapshotRecord,
    StreamIdentity, StreamTail,
};
use postbox::claim::Verdict;
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::{Excerpt, Invalid, WorkerId};
use postbox::message::{Headers, MessageKind, MessageRef};
use postbox::publisher::{AsyncMessagePublisher, PublishError};
use postbox::store::{
    ClaimRequest, ClaimedMessage, HasOutboxStore, OutboxOptions, OutboxStore, Settlement, Which,
};
use postbox::testing::VirtualClock;
use postbox_heapless::{EnqueueError, HeaplessKey, HeaplessOptions, HeaplessOutbox, NewMessage, Overflow};
use postbox_tests::conformance::StoreHarness;

/// Large enough for the suites: they claim up to a hundred messages at once.
type Outbox = HeaplessOutbox<CriticalSectionRawMutex, VirtualClock, 192, 96, 256, 100>;

/// A repository that keeps no streams: its commits are for messages alone.
#[derive(Clone, Debug)]
struct Messages {
    outbox: &'static Outbox,
    options: OutboxOptions,
}

impl HasOutboxStore for Messages {
    type OutboxStore = &'static Outbox;

    fn outbox_store(&self) -> &'static Outbox {
        self.outbox
    }
}

impl Repository for Messages {
    async fn load(&self, _: &StreamIdentity, _: u64) -> Result<Option<StreamTail>, RepositoryError> {
        Ok(None)
    }
    async fn snapshot(&self, _: &StreamIdentity) -> Result<Option<SnapshotRecord>, RepositoryError> {
        Ok(None)
    }
    async fn has_receipt(&self, _: &InboxReceipt) -> Result<bool, RepositoryError> {
        Ok(false)
    }

    async fn commit(&self, batch: CommitBatch) -> Result<Committed<HeaplessKey>, RepositoryError> {
        batch.check(&self.options)?;
        assert!(batch.streams.is_empty() && batch.receipts.is_empty());
        if let Some(known) = batch
            .messages
            .iter()
            .find(|message| self.outbox.contains(message.id()))
        {
            return Err(RepositoryError::DuplicateMessage {
                id: known.id().into(),
            });
        }
        let enqueue = |message: &postbox::message::OutboxMessage| {
            let new = NewMessage {
                message: message.as_ref(),
                delay: message.delay(),
                claim: batch.claim.map(|birth| (birth.worker, birth.lease.length())),
            };
            let (_, claim) = self.outbox.enqueue_with(&new).unwrap();
            CommittedMessage {
                id: message.id().into(),
                claim,
            }
        };
        Ok(Committed {
            messages: batch.messages.iter().map(enqueue).collect(),
        })
    }
}

#[derive(Default)]
struct Ram(VirtualClock);

impl StoreHarness for Ram {
    type Repository = Messages;

    fn open(&self, options: OutboxOptions) -> Messages {
        let settings = HeaplessOptions {
            dead: options.dead_policy(),
            retention: options.retention(),
            ..HeaplessOptions::DEFAULT
        };
        let outbox = Box::new(HeaplessOutbox::with_options(self.0.clone(), settings));
        Messages {
            outbox: Box::leak(outbox),
            options,
        }
    }
    fn clock(&self) -> VirtualClock {
        self.0.clone()
    }
}

mod outbox {
    postbox_tests::outbox_conformance!(super::Ram::default());
}

mod model {
    postbox_tests::model_conformance!(super::Ram::default());
}

/// Two places for small messages, and the smallest batch.
type Small = HeaplessOutbox<CriticalSectionRawMutex, VirtualClock, 2, 40, 4, 1>;

fn reading<'a>(id: &'a str, payload: &'a [u8]) -> MessageRef<'a> {
    MessageRef {
        id,
        name: "read",
        kind: MessageKind::Event,
        key: None,
        payload,
        content_type: "x/y",
        headers: Headers::EMPTY,
    }
}

fn dispatcher<P: AsyncMessagePublisher, S: OutboxStore>(store: S, publisher: P) -> OutboxDispatcher<S, P> {
    OutboxDispatcher::new(store, publisher, DispatchConfig::new(WorkerId::new(1)))
}

/// Takes what it is given, or refuses all.
struct Broker {
    refuses: bool,
    attempts: std::cell::Cell<usize>,
}

impl Broker {
    fn new(refuses: bool) -> Self {
        let attempts = std::cell::Cell::new(0);
        Self { refuses, attempts }
    }
}

impl AsyncMessagePublisher for Broker {
    type Error = &'static str;

    async fn publish(&self, _: MessageRef<'_>) -> Result<(), PublishError<&'static str>> {
        self.attempts.set(self.attempts.get() + 1);
        if self.refuses {
            return Err(PublishError::Retryable("not now"));
        }
        Ok(())
    }
}

fn now<F: Future>(future: F) -> F::Output {
    postbox::testing::run(&VirtualClock::new(), future).unwrap()
}

#[test]
fn a_full_outbox_refuses_and_keeps_what_it_has() {
    let outbox = Small::new(VirtualClock::new());
    outbox.enqueue(reading("a", b"1")).unwrap();
    outbox.enqueue(reading("b", b"2")).unwrap();
    assert_eq!(
        outbox.enqueue(reading("c", b"3")),
        Err(EnqueueError::Full { capacity: 2 })
    );
    assert!(outbox.contains("a") && outbox.contains("b") && !outbox.contains("c"));
    let broker = Broker::new(false);
    assert_eq!(
        now(dispatcher(&outbox, &broker).dispatch_batch(9))
            .unwrap()
            .published,
        2
    );
    outbox.enqueue(reading("c", b"3")).unwrap();
}

#[test]
fn the_oldest_waiting_message_makes_room_only_if_that_is_asked_for() {
    let options = HeaplessOptions {
        overflow: Overflow::DropOldest,
        ..HeaplessOptions::DEFAULT
    };
    let outbox = Small::with_options(VirtualClock::new(), options);
    let claimed = NewMessage {
        claim: Some((WorkerId::new(1), Duration::from_secs(1))),
        ..reading("held", b"").into()
    };
    let (_, claim) = outbox.enqueue_with(&claimed).unwrap();
    outbox.enqueue(reading("old", b"")).unwrap();
    outbox.enqueue(reading("new", b"")).unwrap();
    assert!(outbox.contains("held") && !outbox.contains("old") && outbox.contains("new"));
    assert_eq!(outbox.counts().dropped, 1);
    // Dead letters and messages in flight are not given up.
    let settlement = Settlement {
        claim: claim.unwrap(),
        verdict: Verdict::Bury,
        error: "poison",
    };
    assert_eq!(now((&outbox).settle(&[settlement])).unwrap().applied(), 1);
    now((&outbox).claim(&request(1))).unwrap();
    assert_eq!(
        outbox.enqueue(reading("newer", b"")),
        Err(EnqueueError::Full { capacity: 2 })
    );
    assert!(!outbox.remove("new"), "somebody holds it");
    assert!(outbox.remove("held"));
    outbox.enqueue(reading("newer", b"")).unwrap();
}

#[test]
fn dropping_the_head_of_a_key_frees_the_next() {
    let options = HeaplessOptions {
        overflow: Overflow::DropOldest,
        ..HeaplessOptions::DEFAULT
    };
    let outbox = Small::with_options(VirtualClock::new(), options);
    let keyed = |id| MessageRef {
        key: Some("k"),
        ..reading(id, b"")
    };
    for id in ["k1", "k2", "k3"] {
        outbox.enqueue(keyed(id)).unwrap();
    }
    let ids = || {
        let batch = now((&outbox).claim(&request(1))).unwrap();
        batch
            .iter()
            .map(|held| held.message().id.to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(), ["k2"]);
}

#[test]
fn what_does_not_fit_is_refused_with_its_length_and_the_limit() {
    let outbox = Small::new(VirtualClock::new());
    let refused = |message| outbox.enqueue(message).unwrap_err();
    let (len, limit) = (5, 4);
    assert_eq!(
        refused(reading("a", b"12345")),
        EnqueueError::PayloadTooLong { len, limit }
    );
    let long = "x".repeat(34);
    let (len, limit) = (34 + 4 + 3, 40);
    assert_eq!(
        refused(reading(&long, b"")),
        EnqueueError::TextTooLong { len, limit }
    );
    let blank = Invalid::Blank { field: "message id" };
    assert_eq!(refused(reading(" ", b"")), EnqueueError::Invalid(blank));
    assert!(matches!(
        refused(reading("a\nb", b"")),
        EnqueueError::Invalid(Invalid::Control { .. })
    ));
    outbox.enqueue(reading("a", b"1234")).unwrap();
    let id = Excerpt::new("a");
    assert_eq!(refused(reading("a", b"")), EnqueueError::Duplicate { id });
    assert_eq!(outbox.counts().pending, 1);
}

/// A batch of the store is smaller than what the dispatcher is asked for: it claims again, even if nothing of the
/// first batch was published.
#[test]
fn a_small_batch_does_not_end_a_pass_early() {
    let outbox = Small::new(VirtualClock::new());
    outbox.enqueue(reading("a", b"1")).unwrap();
    outbox.enqueue(reading("b", b"2")).unwrap();
    let broker = Broker::new(true);
    let outcome = now(dispatcher(&outbox, &broker).dispatch_batch(9)).unwrap();
    assert_eq!((outcome.claimed, broker.attempts.get()), (2, 2));
}

#[test]
fn more_listeners_than_places_all_hear_a_hint() {
    use postbox::wakeup::Wakeup;
    let outbox = Small::new(VirtualClock::new());
    let mut watches: Vec<_> = (0..5).map(|_| (&outbox).wakeup()).collect();
    let heard = futures_util::future::join_all(watches.iter_mut().map(Wakeup::wait));
    let ring = async {
        postbox::join::yield_now().await;
        outbox.enqueue(reading("a", b"")).unwrap();
    };
    now(futures_util::future::join(heard, ring));
}

fn request(limit: usize) -> ClaimRequest<'static> {
    ClaimRequest {
        worker: WorkerId::new(2),
        lease: Duration::from_secs(30),
        limit,
        max_abandoned: 10,
        which: Which::Due,
    }
}
