//! What the store does with connections: how few it needs, and in what state it leaves them.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use postbox::aggregate::Repository;
use postbox::claim::Verdict;
use postbox::store::{ClaimedMessage, HasOutboxStore, OutboxCounts, OutboxOperator, OutboxStore};
use postbox::wakeup::Wakeup;
use postbox_postgres::sqlx::postgres::PgPool;
use postbox_postgres::{PostgresError, PostgresRepository};

use crate::support::*;

#[test]
fn a_pool_of_one_serves_64_tasks_that_do_everything() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place.options().open(place.pool(1).await).await.unwrap();
        let tasks: Vec<_> = (0..64_u64)
            .map(|n| {
                let repository = repository.clone();
                tokio::spawn(async move { everything(&repository, n).await })
            })
            .collect();
        for task in tasks {
            let done = tokio::time::timeout(Duration::from_mins(1), task).await;
            done.expect("somebody waits for a second connection").unwrap();
        }
        assert_eq!(
            repository.outbox_store().counts().await.unwrap(),
            OutboxCounts::default()
        );
    });
}

/// A commit, the user's own transaction, hints, and settlements of both kinds.
async fn everything(repository: &PostgresRepository, n: u64) {
    let store = repository.outbox_store();
    let _hints = store.wakeup();
    let mut both = born(vec![keyed(&format!("c-{n}"), &format!("k-{}", n % 5))], A);
    both.streams.push(write(&n.to_string(), 0, 1));
    let committed = repository.commit(both).await.unwrap();
    let mut own = repository.pool().begin().await.unwrap();
    let messages = [message(&format!("o-{n}"))];
    let enqueued = store.enqueue(&mut own, &messages, Some(birth(A))).await.unwrap();
    own.commit().await.unwrap();
    let held = enqueued.claimed()[0].claim();
    assert_eq!(store.renew(&[held], LEASE).await.unwrap(), 1);
    store
        .settle_soon(&[settlement(held, Verdict::Complete)])
        .await
        .unwrap();
    let mut left: Vec<_> = committed
        .messages
        .into_iter()
        .filter_map(|message| message.claim)
        .collect();
    // Of each key one at a time is free; everybody takes what there is.
    while store.counts().await.unwrap() != OutboxCounts::default() {
        left.extend(claim(&store, A, 5).await.iter().map(ClaimedMessage::claim));
        complete(&store, &left).await;
        left.clear();
    }
}

/// Polls a future so often and drops it. `true` when it was through before that.
async fn cut_short(polls: usize, future: impl Future) -> bool {
    let mut future = pin!(future);
    let mut polled = 0;
    let polling = poll_fn(|cx| {
        if polled == polls {
            return Poll::Ready(false);
        }
        polled += 1;
        future.as_mut().poll(cx).map(|_| true)
    });
    // One that waits for hints is not polled again at all.
    tokio::time::timeout(Duration::from_secs(1), polling)
        .await
        .unwrap_or(false)
}

async fn sessions_in_a_transaction(watch: &PgPool, place: &Place) -> i64 {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity
         WHERE application_name = '{}' AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'",
        place.names.schema()
    );
    number(watch, sql).await
}

#[test]
fn a_future_that_is_dropped_at_any_poll_leaves_no_transaction_and_no_half_of_a_commit() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place.options().open(place.pool(1).await).await.unwrap();
        let (store, watch) = (repository.outbox_store(), place.pool(1).await);
        for polls in 0..12 {
            for verb in 0..8 {
                let (id, key) = (format!("{polls}-{verb}"), format!("k-{}", verb % 2));
                repository
                    .commit(batch(vec![message(&format!("before-{id}"))]))
                    .await
                    .unwrap();
                let held = claim(&store, A, 100).await;
                let claims: Vec<_> = held.iter().map(ClaimedMessage::claim).collect();
                let settlements: Vec<_> = claims.iter().map(|c| settlement(*c, Verdict::Complete)).collect();
                let mut whole = batch(vec![keyed(&id, &key), message(&format!("{id}-too"))]);
                whole.streams.push(write(&id, 0, 2));
                match verb {
                    0 => cut_short(polls, repository.commit(whole)).await,
                    1 => cut_short(polls, store.claim(&due(B, 10))).await,
                    2 => cut_short(polls, store.settle(&settlements)).await,
                    3 => cut_short(polls, store.settle_soon(&settlements)).await,
                    4 => cut_short(polls, store.renew(&claims, LEASE)).await,
                    5 => cut_short(polls, store.purge(10)).await,
                    6 => cut_short(polls, place.options().open(repository.pool().clone())).await,
                    _ => {
                        let mut wakeup = store.wakeup();
                        cut_short(polls.min(1), wakeup.wait()).await
                    }
                };
                // The one connection is in use again, so what was cut short is over.
                let events = repository
                    .load(&stream(&id), 0)
                    .await
                    .unwrap()
                    .map_or(0, |tail| tail.version);
                let found = [
                    store.find(&id).await.unwrap(),
                    store.find(&format!("{id}-too")).await.unwrap(),
                ];
                let found = found.map(|message| message.is_some());
                assert!(
                    (events, found) == (0, [false; 2]) || (events, found) == (2, [true; 2]),
                    "half of a commit after {polls} polls: {events} events, messages {found:?}"
                );
                assert_eq!(
                    sessions_in_a_transaction(&watch, &place).await,
                    0,
                    "verb {verb}, {polls} polls"
                );
            }
        }
        assert!(repository.pool().size() <= 1);
    });
}

#[test]
fn what_the_first_migration_had_done_when_it_was_dropped_is_undone() {
    on_server(async |url| {
        for polls in 1..40 {
            let place = Place::new(url.clone());
            let pool = place.pool(1).await;
            let done = cut_short(polls, place.options().open(pool.clone())).await;
            let watch = place.pool(1).await;
            let tables = format!(
                "SELECT count(*) FROM pg_tables WHERE schemaname = '{}'",
                place.names.schema()
            );
            place.options().open(pool).await.unwrap();
            assert_eq!(number(&watch, tables).await, 6, "{polls} polls, done: {done}");
            assert_eq!(sessions_in_a_transaction(&watch, &place).await, 0);
            if done {
                return;
            }
        }
    });
}

#[test]
fn an_exhausted_pool_a_refused_statement_and_a_killed_session_are_told_apart() {
    on_server(async |url| {
        let place = Place::new(url);
        let pool = postbox_postgres::sqlx::postgres::PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_millis(50))
            .connect_with(place.url.parse().unwrap())
            .await
            .unwrap();
        let repository = place.options().open(pool.clone()).await.unwrap();
        let store = repository.outbox_store();
        let held = pool.acquire().await.unwrap();
        assert!(matches!(store.counts().await, Err(PostgresError::Connect { .. })));
        drop(held);
        let watch = place.pool(2).await;
        // A session that dies in the middle of a statement: nobody knows.
        let mut lock = watch.begin().await.unwrap();
        let lock_it = place.sql("LOCK TABLE {}.outbox");
        postbox_postgres::sqlx::raw_sql(postbox_postgres::sqlx::AssertSqlSafe(lock_it))
            .execute(&mut *lock)
            .await
            .unwrap();
        let waiting = tokio::spawn({
            let repository = repository.clone();
            async move { repository.commit(batch(vec![message("m")])).await }
        });
        let kill = place.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE wait_event_type = 'Lock' AND query LIKE '%{}%'",
        );
        while number(&watch, kill.clone()).await == 0 {
            tokio::task::yield_now().await;
        }
        let outcome = waiting.await.unwrap();
        assert!(
            matches!(outcome, Err(postbox::aggregate::RepositoryError::Unknown { .. })),
            "{outcome:?}"
        );
        lock.rollback().await.unwrap();
        execute(&watch, place.sql("ALTER TABLE {}.outbox RENAME TO elsewhere")).await;
        let refused = store.counts().await;
        assert!(matches!(&refused, Err(PostgresError::Sql { .. })), "{refused:?}");
        assert_eq!(refused.unwrap_err().sqlstate().as_deref(), Some("42P01"));
    });
}

#[test]
fn a_statement_that_lost_a_race_is_run_again_but_not_for_ever() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place.open().await;
        let store = repository.outbox_store();
        for (state, losses, tries) in [
            ("40001", 2, 3),
            ("40P01", 3, 4),
            ("40P01", 1_000, 4),
            ("22000", 1_000, 1),
        ] {
            let plant = format!(
                "DROP SEQUENCE IF EXISTS {{}}.tries; CREATE SEQUENCE {{}}.tries;
                 CREATE OR REPLACE FUNCTION {{}}.purge(retention bigint, max_rows bigint, at_us bigint)
                 RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
                   IF nextval('{{}}.tries') <= {losses} THEN RAISE EXCEPTION 'lost' USING ERRCODE = '{state}'; END IF;
                   RETURN 7;
                 END $$"
            );
            execute(repository.pool(), place.sql(&plant)).await;
            let purged = store.purge(1).await;
            if losses < tries {
                assert_eq!(purged.unwrap(), 7);
            } else {
                assert_eq!(purged.unwrap_err().sqlstate().as_deref(), Some(state));
            }
            let tried = number(repository.pool(), place.sql("SELECT last_value FROM {}.tries")).await;
            assert_eq!(tried, tries, "{state}");
        }
    });
}
