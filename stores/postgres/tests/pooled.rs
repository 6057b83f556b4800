//! More clients than the server has sessions for them: behind a pooler that gives each transaction whichever is free.
//! Runs without one too, where each client has a session of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "in a test a panic is the report"
)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use postbox::aggregate::Repository;
use postbox::claim::Verdict;
use postbox::id::WorkerId;
use postbox::store::{ClaimedMessage, HasOutboxStore, OutboxCounts, OutboxOperator, OutboxStore};
use postbox_postgres::PostgresRepository;
use postbox_postgres::sqlx::{self, AssertSqlSafe, Row};

use support::*;

const CLIENTS: u64 = 24;
const ROUNDS: u64 = 10;

/// Commits, enqueues in a transaction of its own, claims and settles in all ways. Returns the server's sessions that
/// it met.
async fn client(place: &Place, repository: &PostgresRepository, n: u64) -> BTreeSet<i32> {
    let (store, worker) = (repository.outbox_store(), WorkerId::new(n + 1));
    let mut sessions = BTreeSet::new();
    for round in 0..ROUNDS {
        let id = format!("{n}-{round}");
        let mut both = born(vec![keyed(&format!("c-{id}"), &format!("k-{}", n % 5))], worker);
        both.streams.push(write(&n.to_string(), round * 2, 2));
        let committed = repository.commit(both).await.unwrap();
        let mut own = repository.pool().begin().await.unwrap();
        let order = place.sql(&format!(
            "INSERT INTO {{}}.orders VALUES ('{id}', pg_backend_pid()) RETURNING session"
        ));
        let rows = sqlx::raw_sql(AssertSqlSafe(order))
            .fetch_all(&mut *own)
            .await
            .unwrap();
        sessions.insert(rows[0].get(0));
        let messages = [message(&format!("o-{id}")), keyed(&format!("p-{id}"), &id)];
        let enqueued = store
            .enqueue(&mut own, &messages, Some(birth(worker)))
            .await
            .unwrap();
        // What is not committed is nobody's.
        if round % 3 == 2 {
            own.rollback().await.unwrap();
        } else {
            own.commit().await.unwrap();
            let held: Vec<_> = enqueued.claimed().iter().map(ClaimedMessage::claim).collect();
            assert_eq!(held.len(), 2);
            assert_eq!(store.renew(&held, LEASE).await.unwrap(), 2);
            let back = Verdict::Retry {
                after: Duration::ZERO,
            };
            let settlements = [settlement(held[0], Verdict::Complete), settlement(held[1], back)];
            assert_eq!(store.settle(&settlements).await.unwrap().applied(), 2);
        }
        let held = committed.messages.iter().filter_map(|one| one.claim);
        let held: Vec<_> = held.map(|claim| settlement(claim, Verdict::Complete)).collect();
        if !held.is_empty() {
            store.settle_soon(&held).await.unwrap();
        }
        let held = claim(&store, worker, 4).await;
        if !held.is_empty() {
            let held: Vec<_> = held.iter().map(ClaimedMessage::claim).collect();
            assert_eq!(complete(&store, &held).await, held.len());
        }
    }
    sessions
}

#[test]
fn many_clients_of_a_few_shared_sessions_publish_all_that_was_committed_and_nothing_else() {
    on_server(async |url| {
        let place = std::sync::Arc::new(Place::new(url));
        let first = place.open().await;
        execute(
            first.pool(),
            place.sql("CREATE TABLE {}.orders (id text PRIMARY KEY, session int)"),
        )
        .await;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                let place = place.clone();
                tokio::spawn(async move {
                    let repository = place.options().open(place.pool(2).await).await.unwrap();
                    client(&place, &repository, n).await
                })
            })
            .collect();
        let mut sessions = BTreeSet::new();
        for client in clients {
            let done = tokio::time::timeout(Duration::from_mins(1), client).await;
            sessions.extend(done.expect("somebody waits for ever").unwrap());
        }
        eprintln!("{CLIENTS} clients met {} sessions", sessions.len());
        if std::env::var("POSTBOX_TEST_POSTGRES_PREPARED").is_ok_and(|it| it == "no") {
            assert!(
                sessions.len() < 4,
                "{} sessions: nothing was shared",
                sessions.len()
            );
        }
        let store = first.outbox_store();
        // Soft settlements may still be under way; what they leave is in flight, and not free.
        while store.counts().await.unwrap() != OutboxCounts::default() {
            let left: Vec<_> = claim(&store, A, 100)
                .await
                .iter()
                .map(ClaimedMessage::claim)
                .collect();
            if !left.is_empty() {
                complete(&store, &left).await;
            }
        }
        let count = |table: &str| place.sql(&format!("SELECT count(*) FROM {{}}.{table}"));
        let (events, orders) = (CLIENTS * ROUNDS * 2, CLIENTS * (ROUNDS - ROUNDS / 3));
        assert_eq!(
            number(first.pool(), count("events")).await,
            i64::try_from(events).unwrap()
        );
        assert_eq!(
            number(first.pool(), count("orders")).await,
            i64::try_from(orders).unwrap()
        );
        // In the order in which they were stored, although another session did it each time.
        for n in 0..CLIENTS {
            let tail = first.load(&stream(&n.to_string()), 0).await.unwrap().unwrap();
            assert!(tail.events.iter().map(|event| event.sequence).eq(1..=ROUNDS * 2));
        }
    });
}
