//! A store that cannot settle does not make a committed command fail.
#![allow(
    clippy::expect_used,
    clippy::large_futures,
    reason = "a panic is the report, and a test has room"
)]

mod support;

use postbox::aggregate::{
    AggregateRepository, CommitBatch, Committed, InboxReceipt, Repository, RepositoryError, SnapshotRecord,
    StreamIdentity, StreamTail,
};
use postbox::message::OutboxMessage;
use postbox::service::{Context, HandlerResult, Service, Session};
use postbox::store::{HasOutboxStore, KeyOf};
use postbox_hashmap::HashMapRepository;
use serde_json::json;

use support::World;
use support::faulty::{Faults, Faulty};
use support::sample::Tally;
use support::script::ScriptedBus;

/// The repository in RAM, whose outbox cannot settle.
struct Unsettled(HashMapRepository);

impl HasOutboxStore for Unsettled {
    type OutboxStore = Faulty;

    fn outbox_store(&self) -> Faulty {
        let faults = Faults {
            settlements: u32::MAX,
            ..Faults::default()
        };
        Faulty::new(&self.0.outbox_store(), faults)
    }
}

impl Repository for Unsettled {
    async fn load(&self, stream: &StreamIdentity, after: u64) -> Result<Option<StreamTail>, RepositoryError> {
        self.0.load(stream, after).await
    }
    async fn snapshot(&self, stream: &StreamIdentity) -> Result<Option<SnapshotRecord>, RepositoryError> {
        self.0.snapshot(stream).await
    }
    async fn commit(&self, batch: CommitBatch) -> Result<Committed<KeyOf<Self>>, RepositoryError> {
        self.0.commit(batch).await
    }
    async fn has_receipt(&self, receipt: &InboxReceipt) -> Result<bool, RepositoryError> {
        self.0.has_receipt(receipt).await
    }
}

async fn open(ctx: &Context<'_, AggregateRepository<Unsettled, Tally>>) -> HandlerResult {
    let mut tally = Tally::open("t")?;
    let message = OutboxMessage::create("m", "opened", b"{}".to_vec())?;
    let receipt = ctx.commit_outbox(&mut tally, message).await?;
    Ok(json!(receipt.is_published()))
}

#[test]
fn a_commit_whose_settlement_fails_is_still_a_success_and_the_receipt_says_published() {
    let world = World::new();
    let repo = AggregateRepository::new(Unsettled(world.repository.clone()));
    let app = Service::with_repo(repo)
        .command("open")
        .handle(open)
        .with_bus(ScriptedBus::new(&world.clock));
    world.run(async {
        let answer = app
            .service()
            .dispatch("open", json!(null), Session::new())
            .await
            .expect("it was committed");
        assert_eq!(answer, json!(true));
        assert_eq!(
            world.counts().await.in_flight,
            1,
            "the backstop will settle it when the lease ends"
        );
    });
}
