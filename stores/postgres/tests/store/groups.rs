//! Commits that come at the same time: what they share, and what they do not do to each other.

use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::future::{join_all, poll_immediate};
use postbox::aggregate::{CommitBatch, Committed, InboxReceipt, Repository, RepositoryError};
use postbox::store::{HasOutboxStore, OutboxOperator};
use postbox_postgres::{PostgresRepository, sqlx};
use tokio::time::timeout;

use crate::support::*;

type Commit<'a> = Pin<Box<dyn Future<Output = Result<Committed<i64>, RepositoryError>> + 'a>>;

/// One connection, which somebody else has: the first of these commits waits for it, the others for the first.
async fn queued(
    repository: &PostgresRepository,
    batches: Vec<CommitBatch>,
) -> (Vec<Commit<'_>>, sqlx::pool::PoolConnection<sqlx::Postgres>) {
    let busy = repository.pool().acquire().await.unwrap();
    let mut commits: Vec<Commit<'_>> = Vec::new();
    for batch in batches {
        let mut commit: Commit<'_> = Box::pin(repository.commit(batch));
        assert!(poll_immediate(&mut commit).await.is_none());
        commits.push(commit);
    }
    (commits, busy)
}

async fn one_connection(place: &Place) -> PostgresRepository {
    place.options().open(place.pool(1).await).await.unwrap()
}

/// An event of a stream of its own, and a message.
fn order(id: &str) -> CommitBatch {
    let mut batch = born(vec![keyed(&format!("{id}:placed"), id)], A);
    batch.streams.push(write(id, 0, 1));
    batch
}

#[test]
fn those_who_wait_for_one_commit_share_the_next_statement() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = one_connection(&place).await;
        let batches = (0..9).map(|n| order(&format!("o-{n}"))).collect();
        let (commits, busy) = queued(&repository, batches).await;
        drop(busy);
        for (n, committed) in join_all(commits).await.into_iter().enumerate() {
            let committed = committed.unwrap();
            assert_eq!(committed.messages.len(), 1);
            assert_eq!(committed.messages[0].id, format!("o-{n}:placed"));
            assert!(committed.messages[0].claim.is_some());
        }
        let transactions = place.sql("SELECT count(DISTINCT xmin::text) FROM {}.outbox");
        assert_eq!(number(repository.pool(), transactions).await, 2);
    });
}

#[test]
fn a_commit_that_is_refused_says_why_and_takes_no_other_along() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = one_connection(&place).await;
        let receipt = InboxReceipt::new("stock", "m-1").unwrap();
        let mut seen = order("seen");
        seen.receipts.push(receipt.clone());
        repository.commit(seen).await.unwrap();
        let mut again = order("again");
        again.receipts.push(receipt.clone());
        let mut behind = order("behind");
        behind.streams[0] = write("behind", 4, 1);
        let mut taken = order("taken");
        taken.messages.push(message("seen:placed"));
        let batches = vec![
            order("first"),
            order("a"),
            again,
            behind,
            taken,
            order("seen"),
            order("b"),
        ];
        let (commits, busy) = queued(&repository, batches).await;
        drop(busy);
        let results = join_all(commits).await;
        let [first, a, again, behind, taken, seen, b] = &*results else {
            panic!("{results:?}");
        };
        assert!(first.is_ok() && a.is_ok() && b.is_ok(), "{results:?}");
        assert!(
            matches!(again, Err(RepositoryError::DuplicateReceipt { receipt: of }) if *of == receipt),
            "{again:?}"
        );
        assert!(
            matches!(behind, Err(RepositoryError::ConcurrentWrite { stream: of, expected: 4, actual: 0 }) if *of == stream("behind")),
            "{behind:?}"
        );
        assert!(
            matches!(taken, Err(RepositoryError::DuplicateMessage { id }) if id == "seen:placed"),
            "{taken:?}"
        );
        assert!(
            matches!(
                seen,
                Err(RepositoryError::ConcurrentWrite {
                    expected: 0,
                    actual: 1,
                    ..
                })
            ),
            "{seen:?}"
        );
        assert_eq!(repository.outbox_store().counts().await.unwrap().in_flight, 4);
        for refused in ["again", "behind", "taken"] {
            assert!(repository.load(&stream(refused), 0).await.unwrap().is_none());
        }
    });
}

#[test]
fn of_two_commits_of_one_version_in_one_statement_one_is_stored() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = one_connection(&place).await;
        let mut twice = order("x");
        twice.messages = vec![keyed("x:other", "x")];
        let (commits, busy) = queued(&repository, vec![order("first"), order("x"), twice]).await;
        drop(busy);
        let results = join_all(commits).await;
        let stored = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(stored, 2, "{results:?}");
        assert!(results.iter().any(|result| matches!(
            result,
            Err(RepositoryError::ConcurrentWrite {
                expected: 0,
                actual: 1,
                ..
            })
        )));
    });
}

#[test]
fn who_leaves_before_the_statement_is_sent_stores_nothing_and_leaves_the_others_a_driver() {
    on_server(async |url| {
        let place = Place::new(url);
        for leaves in 0..4 {
            let repository = one_connection(&place).await;
            let ids: Vec<String> = (0..4).map(|n| format!("{leaves}-{n}")).collect();
            let batches = ids.iter().map(|id| order(id)).collect();
            let (mut commits, busy) = queued(&repository, batches).await;
            drop(commits.remove(leaves));
            drop(busy);
            let stored = timeout(Duration::from_secs(10), join_all(commits))
                .await
                .expect("nobody drives");
            assert!(stored.iter().all(Result::is_ok), "{stored:?}");
            for (n, id) in ids.iter().enumerate() {
                let there = repository.load(&stream(id), 0).await.unwrap().is_some();
                assert_eq!(there, n != leaves, "{id}");
            }
        }
    });
}

#[test]
fn a_commit_that_nobody_polls_holds_up_nobody() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place.open().await;
        let mut still = pin!(repository.commit(order("still")));
        assert!(poll_immediate(&mut still).await.is_none());
        // As in a branch of a `select!`: what it waits for is behind the other one.
        for n in 0..3 {
            let other = repository.commit(order(&format!("other-{n}")));
            timeout(Duration::from_secs(10), other)
                .await
                .expect("it waits for the one that nobody polls")
                .unwrap();
        }
        still.await.unwrap();
    });
}

#[test]
fn a_key_that_a_transaction_holds_delays_no_other_key() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place.open().await;
        let outbox = repository.outbox_store();
        let mut own = repository.pool().begin().await.unwrap();
        let _ = outbox
            .enqueue(&mut own, &[keyed("own", "held")], None)
            .await
            .unwrap();
        let held: Vec<CommitBatch> = (0..3)
            .map(|n| born(vec![keyed(&format!("h-{n}"), "held")], A))
            .collect();
        // Half of the pool waits for the key, in whatever groups; the rest comes through.
        let mut waiting = Vec::new();
        for batch in held.into_iter().take(2) {
            let repository = repository.clone();
            waiting.push(tokio::spawn(async move { repository.commit(batch).await }));
        }
        for n in 0..20 {
            let free = repository.commit(order(&format!("free-{n}")));
            let committed = timeout(Duration::from_secs(10), free)
                .await
                .expect("it waits for the key");
            assert!(committed.unwrap().messages[0].claim.is_some());
        }
        assert!(waiting.iter().all(|commit| !commit.is_finished()));
        own.commit().await.unwrap();
        for commit in waiting {
            let committed = commit.await.unwrap().unwrap();
            assert!(committed.messages[0].claim.is_none(), "it is behind another");
        }
    });
}

#[test]
fn commits_of_two_workers_are_claimed_by_the_one_who_commits() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = one_connection(&place).await;
        let batches = vec![
            order("first"),
            born(vec![message("a")], A),
            born(vec![message("b")], B),
            batch(vec![message("pending")]),
        ];
        let (commits, busy) = queued(&repository, batches).await;
        drop(busy);
        let workers: Vec<_> = join_all(commits)
            .await
            .into_iter()
            .map(|committed| {
                committed.unwrap().messages[0]
                    .claim
                    .map(|claim| claim.fence.worker)
            })
            .collect();
        assert_eq!(workers, [Some(A), Some(A), Some(B), None]);
    });
}
