//! `enqueue` in transactions of the user's own, on connections of the user's own.

use postbox::aggregate::Birth;
use postbox::claim::Verdict;
use postbox::id::Invalid;
use postbox::lease::Lease;
use postbox::message::OutboxMessage;
use postbox::store::{
    ClaimedMessage, HasOutboxStore, OutboxCounts, OutboxOperator, OutboxOptions, OutboxStore,
};
use postbox_sqlite::rusqlite::TransactionBehavior::{Deferred, Immediate};
use postbox_sqlite::rusqlite::{Connection, Transaction};
use postbox_sqlite::{EnqueueError, SqliteOptions, SqliteRepository, enqueue, enqueue_claimed, migrate};

use crate::common::*;

struct Shop {
    folder: Folder,
    connection: Connection,
}

impl Shop {
    fn open() -> Self {
        let folder = Folder::new();
        let mut connection = Connection::open(folder.file()).unwrap();
        migrate(&mut connection).unwrap();
        connection.execute_batch("CREATE TABLE orders (id TEXT)").unwrap();
        Self { folder, connection }
    }

    fn begin(&mut self) -> Transaction<'_> {
        let transaction = self.connection.transaction_with_behavior(Immediate).unwrap();
        transaction
            .execute("INSERT INTO orders VALUES ('o')", [])
            .unwrap();
        transaction
    }

    fn orders(&self) -> u32 {
        self.connection
            .query_row("SELECT count(*) FROM orders", [], |row| row.get(0))
            .unwrap()
    }

    fn counts(&self) -> OutboxCounts {
        let repository = SqliteRepository::open(self.folder.file()).unwrap();
        block_on(repository.outbox_store().counts()).unwrap()
    }
}

#[test]
fn a_message_exists_if_and_only_if_the_users_transaction_was_committed() {
    let mut shop = Shop::open();
    let transaction = shop.begin();
    let enqueued = enqueue(&transaction, &[message("m-1"), message("m-2")]).unwrap();
    assert_eq!(enqueued.ids(), ["m-1", "m-2"]);
    transaction.rollback().unwrap();
    assert_eq!((shop.orders(), shop.counts()), (0, OutboxCounts::default()));
    let transaction = shop.begin();
    assert!(
        enqueue(&transaction, &[message("m-1")])
            .unwrap()
            .claimed()
            .is_empty()
    );
    transaction.commit().unwrap();
    assert_eq!((shop.orders(), shop.counts().pending), (1, 1));
}

#[test]
fn what_was_enqueued_claimed_is_settled_by_its_holder_after_the_commit() {
    let mut shop = Shop::open();
    let lease = Lease::new(LEASE).unwrap();
    let transaction = shop.begin();
    let messages = [keyed("a-1", "a"), keyed("a-2", "a"), message("free")];
    let enqueued = enqueue_claimed(&transaction, &messages, A, lease).unwrap();
    transaction.commit().unwrap();
    assert_eq!(ids(enqueued.claimed()), ["a-1", "free"]);
    let store = SqliteRepository::open(shop.folder.file()).unwrap().outbox_store();
    assert!(block_on(store.claim(&due(B, 10))).unwrap().is_empty());
    let settlements: Vec<_> = enqueued
        .into_claimed()
        .iter()
        .map(|claimed| settlement(claimed.claim(), Verdict::Complete))
        .collect();
    assert_eq!(block_on(store.settle(&settlements)).unwrap().applied(), 2);
    assert_eq!(ids(&block_on(store.claim(&due(B, 10))).unwrap()), ["a-2"]);
}

#[test]
fn a_refused_enqueue_leaves_the_rest_of_the_transaction_alone() {
    let mut shop = Shop::open();
    let transaction = shop.begin();
    let refused = enqueue(&transaction, &[message("m-1"), message("m-1")]);
    assert!(matches!(refused, Err(EnqueueError::DuplicateMessage { id }) if id == "m-1"));
    let large = OutboxMessage::create("large", "thing.done", vec![0; 1024 * 1024 + 1]).unwrap();
    let refused = enqueue(&transaction, &[large]);
    assert!(matches!(
        refused,
        Err(EnqueueError::Invalid(Invalid::TooLong { .. }))
    ));
    let _ = enqueue(&transaction, &[message("m-2")]).unwrap();
    transaction.commit().unwrap();
    assert_eq!((shop.orders(), shop.counts().pending), (1, 1));
}

#[test]
fn a_transaction_without_the_write_lock_is_refused() {
    let mut shop = Shop::open();
    let transaction = shop.connection.transaction_with_behavior(Deferred).unwrap();
    let refused = enqueue(&transaction, &[message("m-1")]);
    assert!(matches!(refused, Err(EnqueueError::NotImmediate)));
}

#[test]
fn a_stores_own_enqueue_goes_by_its_clock_and_limits() {
    let mut shop = Shop::open();
    let options = OutboxOptions::new().with_max_payload(20).unwrap();
    let bench = Bench::with(SqliteOptions::file(shop.folder.file()), options);
    let transaction = shop.connection.transaction_with_behavior(Immediate).unwrap();
    let lease = Lease::new(LEASE).unwrap();
    let birth = Some(Birth { worker: A, lease });
    let _ = bench
        .store
        .enqueue(&transaction, &[message("m-1")], birth)
        .unwrap();
    let long = message("a-rather-long-identifier");
    assert!(bench.store.enqueue(&transaction, &[long], birth).is_err());
    transaction.commit().unwrap();
    assert!(bench.claim(B, 10).is_empty());
    bench.clock.advance(LEASE);
    assert_eq!(ids(&bench.claim(B, 10)), ["m-1"]);
}
