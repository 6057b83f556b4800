//! One race a test, held still at the moment that matters.

use std::time::Duration;

use postbox::aggregate::Repository;
use postbox::claim::Verdict;
use postbox::store::{ClaimedMessage, HasOutboxStore, OutboxOperator, OutboxStore};
use postbox_postgres::sqlx;
use tokio::time::timeout;

use crate::support::*;

const SOON: Duration = Duration::from_secs(5);

#[test]
fn an_old_snapshot_does_not_let_a_message_overtake() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place.open().await;
        let store = repository.outbox_store();
        for (n, level) in ["REPEATABLE READ", "SERIALIZABLE"].into_iter().enumerate() {
            let (first, second) = (format!("{n}-1"), format!("{n}-2"));
            let mut late = repository.pool().begin().await.unwrap();
            let level = sqlx::AssertSqlSafe(format!("SET TRANSACTION ISOLATION LEVEL {level}; SELECT 1"));
            sqlx::raw_sql(level).execute(&mut *late).await.unwrap();
            repository.commit(batch(vec![keyed(&first, "k")])).await.unwrap();
            // It does not see the first, and must not go beside it; nor is it born claimed.
            let claim = Some(birth(A));
            let enqueued = store
                .enqueue(&mut late, &[keyed(&second, "k")], claim)
                .await
                .unwrap();
            assert!(enqueued.claimed().is_empty());
            late.commit().await.unwrap();
            let held = claim_all(&store).await;
            assert_eq!(ids(&held), [&first]);
            assert_eq!(complete(&store, &[held[0].claim()]).await, 1);
            let held = claim_all(&store).await;
            assert_eq!(ids(&held), [&second]);
            assert_eq!(complete(&store, &[held[0].claim()]).await, 1);
        }
    });
}

#[test]
fn settling_does_not_wait_for_a_transaction_that_comes_behind_and_loses_nothing() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place.open().await;
        let store = repository.outbox_store();
        for commits in [true, false] {
            let names = ["a", "b", "c"].map(|name| format!("{name}-{commits}"));
            repository
                .commit(batch(vec![keyed(&names[0], "k"), message(&names[1])]))
                .await
                .unwrap();
            let held = claim_all(&store).await;
            let mut open = repository.pool().begin().await.unwrap();
            let behind = [keyed(&names[2], "k")];
            let _ = store.enqueue(&mut open, &behind, None).await.unwrap();
            // The enqueue holds on to the head; the settlement goes through all the same.
            let claims = [held[0].claim(), held[1].claim()];
            let settled = timeout(SOON, complete(&store, &claims))
                .await
                .expect("it waits for the enqueue");
            assert_eq!(settled, 2);
            assert!(claim_all(&store).await.is_empty(), "what was settled is settled");
            if commits {
                open.commit().await.unwrap();
                let held = claim_all(&store).await;
                assert_eq!(ids(&held), [&names[2]]);
                assert_eq!(complete(&store, &[held[0].claim()]).await, 1);
            } else {
                open.rollback().await.unwrap();
                let last = format!("last-{commits}");
                repository.commit(batch(vec![keyed(&last, "k")])).await.unwrap();
                assert_eq!(ids(&claim_all(&store).await), [&last]);
            }
        }
    });
}

#[test]
fn a_commit_that_waited_for_its_key_looks_again_before_it_claims() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place.open().await;
        let store = repository.outbox_store();
        let mut open = repository.pool().begin().await.unwrap();
        let _ = store
            .enqueue(&mut open, &[keyed("first", "k")], None)
            .await
            .unwrap();
        let waiting = tokio::spawn({
            let repository = repository.clone();
            async move { repository.commit(born(vec![keyed("second", "k")], A)).await }
        });
        let waits = place.sql(
            "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
             WHERE l.locktype = 'advisory' AND NOT l.granted AND a.query LIKE '%{}%'",
        );
        while number(repository.pool(), waits.clone()).await == 0 {
            tokio::task::yield_now().await;
        }
        open.commit().await.unwrap();
        let committed = timeout(SOON, waiting).await.unwrap().unwrap().unwrap();
        assert_eq!(
            committed.messages[0].claim, None,
            "its key has a head that it could not see at first"
        );
        assert_eq!(ids(&claim_all(&store).await), ["first"]);
    });
}

#[test]
fn a_renewal_or_a_lost_settlement_in_the_way_of_a_settlement_changes_nothing() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place.open().await;
        let store = repository.outbox_store();
        repository
            .commit(batch(vec![message("m"), keyed("k1", "k"), keyed("k2", "k")]))
            .await
            .unwrap();
        let held = claim_all(&store).await;
        let claims: Vec<_> = held.iter().map(ClaimedMessage::claim).collect();
        for _ in 0..20 {
            let (renewed, again) = tokio::join!(store.renew(&claims, LEASE), store.renew(&claims, LEASE));
            assert_eq!((renewed.unwrap(), again.unwrap()), (2, 2));
        }
        let (renewed, settled) = tokio::join!(store.renew(&claims, LEASE), complete(&store, &claims));
        assert!(renewed.unwrap() <= 2);
        assert_eq!(settled, 2);
        assert_eq!(complete(&store, &claims).await, 0);
        assert_eq!(ids(&claim_all(&store).await), ["k2"]);
        assert_eq!(
            store.counts().await.unwrap().published,
            0,
            "nothing is left behind"
        );
    });
}

#[test]
fn enqueues_of_the_same_keys_in_opposite_orders_do_not_deadlock() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place.options().open(place.pool(8).await).await.unwrap();
        let tasks = (0..8_u64).map(|task| {
            let repository = repository.clone();
            tokio::spawn(async move {
                for round in 0..30 {
                    let keys = ["x", "y", "z"].map(|key| keyed(&format!("{key}-{task}-{round}"), key));
                    let mut messages = keys.to_vec();
                    if task % 2 == 0 {
                        messages.reverse();
                    }
                    // A transaction of the user's is not run again for him.
                    let mut transaction = repository.pool().begin().await.unwrap();
                    let enqueued = repository
                        .outbox_store()
                        .enqueue(&mut transaction, &messages, None)
                        .await;
                    assert!(enqueued.is_ok(), "{enqueued:?}");
                    transaction.commit().await.unwrap();
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

#[test]
fn batches_that_touch_the_same_rows_in_opposite_orders_do_not_deadlock() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place.open().await;
        let commits = (0..40_u64).map(|n| {
            let repository = repository.clone();
            tokio::spawn(async move {
                let mut both = batch(vec![keyed(&format!("x-{n}"), "x"), keyed(&format!("y-{n}"), "y")]);
                both.streams = vec![
                    write(&format!("x-{}", n / 2), 0, 1),
                    write(&format!("y-{}", n / 2), 0, 1),
                ];
                if n % 2 == 0 {
                    both.messages.reverse();
                    both.streams.reverse();
                }
                repository.commit(both).await
            })
        });
        let commits: Vec<_> = commits.collect();
        let mut won = 0;
        for commit in commits {
            match commit.await.unwrap() {
                Ok(_) => won += 1,
                Err(error) => assert!(
                    matches!(error, postbox::aggregate::RepositoryError::ConcurrentWrite { .. }),
                    "{error}"
                ),
            }
        }
        assert_eq!(won, 20, "one of each pair");
    });
}

#[test]
fn a_message_that_comes_back_from_the_dead_while_the_head_goes_away_is_the_only_head() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place.open().await;
        let (store, watch) = (repository.outbox_store(), place.pool(1).await);
        let all = ["dead", "head", "next"].map(|id| keyed(id, "k"));
        repository.commit(batch(all.to_vec())).await.unwrap();
        let first = claim_all(&store).await;
        let bury = [settlement(first[0].claim(), Verdict::Bury)];
        assert_eq!(store.settle(&bury).await.unwrap().applied(), 1);
        let mut open = repository.pool().begin().await.unwrap();
        let delete = sqlx::AssertSqlSafe(place.sql("DELETE FROM {}.outbox WHERE id = 'head'"));
        sqlx::raw_sql(delete).execute(&mut *open).await.unwrap();
        let requeue = tokio::spawn({
            let store = store.clone();
            async move { store.requeue(&["dead"]).await }
        });
        let waits = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = '{}'",
            place.names.schema()
        );
        while number(&watch, waits.clone()).await == 0 {
            tokio::task::yield_now().await;
        }
        open.commit().await.unwrap();
        assert_eq!(requeue.await.unwrap().unwrap(), 1);
        assert_eq!(ids(&claim_all(&store).await), ["dead"]);
    });
}

async fn claim_all(store: &postbox_postgres::PostgresOutboxStore) -> Vec<postbox_postgres::PostgresClaimed> {
    claim(store, B, 100).await
}
