//! The user's own transaction, and other programs that write into the public table.

use postbox::claim::Status;
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::WorkerId;
use postbox::store::{ClaimedMessage, HasOutboxStore, OutboxCounts, OutboxOperator, OutboxOptions};
use postbox_postgres::{EnqueueError, sqlx};

use crate::support::*;

#[test]
fn a_message_exists_if_and_only_if_the_users_transaction_commits() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place.open().await;
        let store = repository.outbox_store();
        execute(
            repository.pool(),
            place.sql("CREATE TABLE {}.orders (id text PRIMARY KEY)"),
        )
        .await;
        for (id, commits) in [("kept", true), ("undone", false)] {
            let mut transaction = repository.pool().begin().await.unwrap();
            let insert = place.sql(&format!("INSERT INTO {{}}.orders VALUES ('{id}')"));
            sqlx::raw_sql(sqlx::AssertSqlSafe(insert))
                .execute(&mut *transaction)
                .await
                .unwrap();
            let enqueued = store
                .enqueue(&mut transaction, &[message(id)], None)
                .await
                .unwrap();
            assert_eq!(enqueued.ids(), [id]);
            assert!(enqueued.claimed().is_empty());
            assert!(
                store.find(id).await.unwrap().is_none(),
                "nobody sees it before the commit"
            );
            if commits {
                transaction.commit().await.unwrap();
            } else {
                drop(transaction);
            }
        }
        assert_eq!(ids(&claim(&store, A, 9).await), ["kept"]);
        assert_eq!(
            number(repository.pool(), place.sql("SELECT count(*) FROM {}.orders")).await,
            1
        );
    });
}

#[test]
fn what_is_born_claimed_is_published_by_its_holder_right_after_the_commit() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place.open().await;
        let store = repository.outbox_store();
        let mut transaction = repository.pool().begin().await.unwrap();
        let messages = [keyed("k1", "k"), keyed("k2", "k"), message("free")];
        let enqueued = store
            .enqueue(&mut transaction, &messages, Some(birth(A)))
            .await
            .unwrap();
        assert_eq!(
            ids(enqueued.claimed()),
            ["k1", "free"],
            "k2 is not the head of its key"
        );
        transaction.commit().await.unwrap();
        assert!(claim(&store, B, 9).await.is_empty(), "they are held");
        let publisher = Recorder::default();
        let dispatcher = OutboxDispatcher::new(store.clone(), publisher.clone(), DispatchConfig::new(A));
        let outcome = dispatcher.dispatch_claimed(enqueued.claimed()).await.unwrap();
        assert_eq!(outcome.published, 2);
        assert_eq!(ids(&claim(&store, B, 9).await), ["k2"]);
    });
}

#[test]
fn a_receipt_that_is_dropped_or_rolled_back_publishes_nothing() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place.open().await;
        let store = repository.outbox_store();
        let mut transaction = repository.pool().begin().await.unwrap();
        let enqueued = store
            .enqueue(&mut transaction, &[message("undone")], Some(birth(A)))
            .await
            .unwrap();
        transaction.rollback().await.unwrap();
        let publisher = Recorder::default();
        let dispatcher = OutboxDispatcher::new(store.clone(), publisher.clone(), DispatchConfig::new(A));
        // Even somebody who forgets that it was rolled back: the claims are renewed before anything is published.
        let outcome = dispatcher.dispatch_claimed(enqueued.claimed()).await.unwrap();
        assert_eq!(
            (outcome.published, store.counts().await.unwrap()),
            (0, OutboxCounts::default())
        );
    });
}

#[test]
fn a_duplicate_or_an_oversized_message_is_a_typed_error() {
    on_server(async |url| {
        let place = Place::new(url);
        let options = OutboxOptions::new().with_max_payload(100).unwrap();
        let repository = place.open_with(place.options().with_outbox(options)).await;
        let store = repository.outbox_store();
        let mut transaction = repository.pool().begin().await.unwrap();
        let _ = store
            .enqueue(&mut transaction, &[message("taken")], None)
            .await
            .unwrap();
        let twice = store
            .enqueue(&mut transaction, &[message("x"), message("x")], None)
            .await;
        assert!(matches!(twice, Err(EnqueueError::DuplicateMessage { id }) if id == "x"));
        let large = postbox::message::OutboxMessage::create("large", "n", vec![0; 101]).unwrap();
        let large = store.enqueue(&mut transaction, &[large], None).await;
        assert!(matches!(large, Err(EnqueueError::Invalid(_))));
        // Neither was sent, so the transaction goes on.
        transaction.commit().await.unwrap();
        let mut transaction = repository.pool().begin().await.unwrap();
        let taken = store
            .enqueue(&mut transaction, &[message("new"), message("taken")], None)
            .await;
        assert!(matches!(taken, Err(EnqueueError::DuplicateMessage { id }) if id == "taken"));
        transaction.rollback().await.unwrap();
        assert_eq!(store.messages(Status::Pending, 9).await.unwrap().len(), 1);
        // Also one that this transaction stored itself, and after a savepoint.
        let mut transaction = repository.pool().begin().await.unwrap();
        let _ = store
            .enqueue(&mut transaction, &[message("mine")], None)
            .await
            .unwrap();
        sqlx::raw_sql("SAVEPOINT s")
            .execute(&mut *transaction)
            .await
            .unwrap();
        let mine = [message("new"), message("mine")];
        let mine = store.enqueue(&mut transaction, &mine, None).await;
        assert!(matches!(mine, Err(EnqueueError::DuplicateMessage { id }) if id == "mine"));
        sqlx::raw_sql("ROLLBACK TO SAVEPOINT s")
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(store.messages(Status::Pending, 9).await.unwrap().len(), 2);
    });
}

#[test]
fn other_languages_enqueue_by_the_function_or_by_a_plain_insert() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place.open().await;
        let store = repository.outbox_store();
        execute(
            repository.pool(),
            place.sql(
                "BEGIN;
                 SELECT {}.enqueue('f-1', 'order.placed', '{\"id\":1}', key => 'order/1');
                 INSERT INTO {}.outbox (id, name, key, payload) VALUES
                   ('i-1', 'order.paid', 'order/1', '[]'), ('i-2', 'order.sent', 'order/2', '\\x7b7d');
                 SELECT {}.enqueue('f-2', 'order.do', '[]', kind => 'command', headers => E'tenant: acme\n',
                                   delay => '1 hour');
                 COMMIT",
            ),
        )
        .await;
        let held = claim(&store, A, 9).await;
        assert_eq!(ids(&held), ["f-1", "i-2"]);
        assert_eq!(held[0].message().payload, br#"{"id":1}"#);
        assert_eq!(complete(&store, &[held[0].claim()]).await, 1);
        assert_eq!(ids(&claim(&store, A, 9).await), ["i-1"]);
        let delayed = store.find("f-2").await.unwrap().unwrap();
        assert_eq!(delayed.message.as_ref().headers.get("tenant"), Some("acme"));
        // An operator's DELETE frees the key as a settlement would.
        execute(
            repository.pool(),
            place.sql("SELECT {}.enqueue('f-3', 'n', '', key => 'order/2')"),
        )
        .await;
        assert!(claim(&store, WorkerId::new(7), 9).await.is_empty());
        execute(
            repository.pool(),
            place.sql("DELETE FROM {}.outbox WHERE id = 'i-2'"),
        )
        .await;
        assert_eq!(ids(&claim(&store, A, 9).await), ["f-3"]);
    });
}

#[test]
fn rows_that_contradict_themselves_are_refused_by_the_table() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place.open().await;
        let insert = async |columns: &str, values: &str| {
            let sql = place.sql(&format!(
                "INSERT INTO {{}}.outbox (name, payload, {columns}) VALUES ('n', '', {values})"
            ));
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
                .execute(repository.pool())
                .await
        };
        assert!(insert("id", "'fine'").await.is_ok());
        assert!(insert("id", "'fine'").await.is_err(), "taken");
        assert!(insert("id", "''").await.is_err(), "no id");
        assert!(insert("id, kind", "'m', 'rumour'").await.is_err());
        assert!(
            insert("id, lease_until", "'m', now()").await.is_err(),
            "in flight without an attempt"
        );
        assert!(
            insert("id, outcome", "'m', 'dead'").await.is_err(),
            "dead without a time"
        );
        assert!(
            insert("id, settled_at", "'m', now()").await.is_err(),
            "settled, but how"
        );
        assert!(
            insert("id, holds", "'m', false").await.is_err(),
            "live messages hold"
        );
    });
}
