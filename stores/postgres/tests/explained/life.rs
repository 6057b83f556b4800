//! Everything that services, engines and operators do with a store, each once, with the plans that it was heard to run.

use std::time::Duration;

use postbox::aggregate::{InboxReceipt, Repository, SnapshotRecord};
use postbox::claim::{Status, Verdict};
use postbox::message::{Codec, OutboxMessage};
use postbox::store::{
    ClaimRef, ClaimRequest, ClaimedMessage, HasOutboxStore, OutboxOperator, OutboxOptions, OutboxStore, Which,
};
use postbox_postgres::sqlx::postgres::PgPool;
use postbox_postgres::{PostgresOutboxStore, PostgresRepository};

use crate::plan::{self, Node};
use crate::support::*;

/// What was done, and the statements that ran for it.
pub(crate) type Heard = Vec<(&'static str, Vec<(String, Vec<Node>)>)>;

const BATCH: usize = 50;
/// The same as the plans count.
pub(crate) const BATCH_ROWS: f64 = 50.0;

/// Does everything once, on streams that are at this version. Whatever it claims it settles.
pub(crate) async fn all(place: &Place, pool: &PgPool, turn: u32, version: u64) -> Heard {
    let open = |outbox| place.options().with_outbox(outbox).open(pool.clone());
    let keeping = OutboxOptions::new().with_retention(Duration::from_hours(1));
    let mut life = Life {
        place,
        pool,
        repository: open(OutboxOptions::new()).await.unwrap(),
        keeping: open(keeping).await.unwrap().outbox_store(),
        turn,
        heard: Vec::new(),
    };
    life.store(version).await;
    life.publish().await;
    life.mend().await;
    life.operate().await;
    life.heard
}

struct Life<'a> {
    place: &'a Place,
    pool: &'a PgPool,
    repository: PostgresRepository,
    /// The same outbox, of a program that keeps what it published.
    keeping: PostgresOutboxStore,
    turn: u32,
    heard: Heard,
}

impl Life<'_> {
    /// Enqueues, commits, loads, and hands over to whoever waits behind what was committed.
    async fn store(&mut self, version: u64) {
        let store = self.repository.outbox_store();
        for (verb, messages) in [
            ("enqueue of one", vec![keyed(&self.id("one", 0), "k")]),
            ("enqueue of many", self.many("pending")),
        ] {
            self.forget();
            let mut own = self.pool.begin().await.unwrap();
            let enqueued = store.enqueue(&mut own, &messages, Some(birth(A))).await.unwrap();
            own.commit().await.unwrap();
            self.note(verb);
            let born: Vec<_> = enqueued.claimed().iter().map(ClaimedMessage::claim).collect();
            settle(&store, &born, |_| Verdict::Complete).await;
        }
        let streams: Vec<String> = (0..=10)
            .map(|n| match version {
                0 => self.id("s", n),
                _ => format!("s-{}", n + 20 * self.turn as usize),
            })
            .collect();
        let mut one = born(vec![keyed(&self.id("committed", 0), "f21")], A);
        one.streams.push(write(&streams[0], version, 1));
        let mut whole = born(self.many("committed-too"), A);
        for (n, id) in streams.iter().enumerate().skip(1) {
            whole.streams.push(write(id, version, 2));
            whole.snapshots.push(SnapshotRecord {
                stream: stream(id),
                version: version + 2,
                state_type: "Thing".into(),
                state_version: 1,
                codec: Codec::JSON,
                payload: b"{}".to_vec(),
            });
            whole.receipts.push(self.receipt(n));
        }
        self.forget();
        self.repository.commit(one).await.unwrap();
        self.note("commit of one");
        let committed = self.repository.commit(whole).await.unwrap();
        self.note("commit of many");
        let read = stream(&streams[1]);
        self.repository.load(&read, version).await.unwrap().unwrap();
        self.repository.snapshot(&read).await.unwrap().unwrap();
        assert!(self.repository.has_receipt(&self.receipt(1)).await.unwrap());
        self.note("load");
        // Among them the heads of new keys, each with one behind it.
        let heads: Vec<_> = committed.messages.iter().filter_map(|one| one.claim).collect();
        let (gone, kept) = heads.split_at(heads.len() / 2);
        settle(&store, gone, |_| Verdict::Complete).await;
        self.note("hand over, publish");
        settle(&self.keeping, kept, |_| Verdict::Complete).await;
        self.note("hand over, keep");
    }

    /// Claims, renews, and settles in all ways.
    async fn publish(&mut self) {
        let store = self.repository.outbox_store();
        let held = claims(&store).await;
        self.note("claim");
        store.renew(&held, LEASE).await.unwrap();
        self.note("renew");
        settle(&store, &held, |_| Verdict::Complete).await;
        self.note("settle: publish");
        let retry = Verdict::Retry { after: LEASE };
        let mixed = |n| match n % 4 {
            0 => Verdict::Complete,
            1 => retry,
            2 => Verdict::Release { after: LEASE },
            _ => Verdict::Bury,
        };
        let held = claims(&store).await;
        self.forget();
        settle(&self.keeping, &held, |_| Verdict::Complete).await;
        self.note("settle: publish and keep");
        let held = claims(&store).await;
        self.forget();
        settle(&store, &held, |_| retry).await;
        self.note("settle: retry");
        let held = claims(&store).await;
        self.forget();
        settle(&store, &held, mixed).await;
        self.note("settle: mixed");
    }

    /// Takes what crashed workers left, and what was enqueued by transactions that could not see who was before.
    async fn mend(&mut self) {
        let store = self.repository.outbox_store();
        claims(&store).await;
        let lapse = "UPDATE {}.outbox SET lease_until = due, abandoned = seq % 3
            WHERE seq IN (SELECT seq FROM {}.outbox WHERE outcome IS NULL AND NOT blocked AND lease_until > now())";
        execute(self.pool, self.place.sql(lapse)).await;
        self.forget();
        let held = claims(&store).await;
        self.note("claim of what lapsed");
        settle(&store, &held, |_| Verdict::Complete).await;
        let old = self.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ");
        let mut own = old.await.unwrap();
        let _ = store.enqueue(&mut own, &self.many("loose"), None).await.unwrap();
        own.commit().await.unwrap();
        self.forget();
        let held = claims(&store).await;
        self.note("claim that tidies up");
        settle(&store, &held, |_| Verdict::Complete).await;
    }

    /// Claims by ids, and what is done by hand and between times.
    async fn operate(&mut self) {
        let store = self.repository.outbox_store();
        let wanted = [
            self.id("loose", 0),
            self.id("pending", 4),
            "free-7000".into(),
            "blocked-9".into(),
        ];
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let request = ClaimRequest {
            which: Which::Ids(&wanted),
            ..due(A, BATCH)
        };
        self.forget();
        let held = store.claim(&request).await.unwrap();
        self.note("claim by ids");
        let held: Vec<_> = held.iter().map(ClaimedMessage::claim).collect();
        settle(&store, &held, |_| Verdict::Release { after: LEASE }).await;
        let dead = store.messages(Status::Dead, 5).await.unwrap();
        let dead: Vec<&str> = dead.iter().map(|one| one.message.id()).collect();
        self.forget();
        store.requeue(&dead).await.unwrap();
        self.note("requeue");
        self.keeping.purge(BATCH).await.unwrap();
        self.note("purge");
        store.next_due().await.unwrap();
        self.note("next due");
    }

    fn id(&self, what: &str, n: usize) -> String {
        format!("{what}-{}-{n}", self.turn)
    }

    /// Without keys, with keys that wait already, and with new ones, two of each.
    fn many(&self, what: &str) -> Vec<OutboxMessage> {
        let each = |n| match n % 3 {
            0 => message(&self.id(what, n)),
            1 => keyed(&self.id(what, n), &format!("f{}", n / 6 % 4 + 20)),
            _ => keyed(&self.id(what, n), &self.id(&format!("{what}-key"), n / 6)),
        };
        (0..BATCH).map(each).collect()
    }

    fn receipt(&self, n: usize) -> InboxReceipt {
        InboxReceipt::new("consumer", &self.id("message", n)).unwrap()
    }

    /// What was heard since the last word was for this.
    fn note(&mut self, verb: &'static str) {
        let heard = plan::heard(self.place.names.schema().as_str());
        self.heard.push((verb, heard));
    }

    /// What was heard since the last word was preparation.
    fn forget(&self) {
        plan::heard(self.place.names.schema().as_str());
    }
}

async fn claims(store: &PostgresOutboxStore) -> Vec<ClaimRef<i64>> {
    let held = claim(store, A, BATCH).await;
    held.iter().map(ClaimedMessage::claim).collect()
}

async fn settle(store: &PostgresOutboxStore, claims: &[ClaimRef<i64>], verdict: impl Fn(usize) -> Verdict) {
    let each = claims.iter().enumerate();
    let settlements: Vec<_> = each.map(|(n, claim)| settlement(*claim, verdict(n))).collect();
    if !settlements.is_empty() {
        store.settle(&settlements).await.unwrap();
    }
}
