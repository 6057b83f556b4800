//! The connection that commits hand on while somebody waits for hints: they have their answers sooner, and nobody misses it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::poll_immediate;
use postbox::aggregate::Repository;
use postbox::store::{HasOutboxStore, OutboxStore};
use postbox::testing::VirtualClock;
use postbox::wakeup::Wakeup;
use postbox_postgres::PostgresRepository;
use postbox_postgres::sqlx::{PgPool, Postgres, pool::PoolConnection};
use tokio::time::timeout;

use crate::support::*;

/// Longer than anything may take.
const EVER: Duration = Duration::from_mins(1);
/// Longer than the pause between two looks at what is kept.
const PAUSE: Duration = Duration::from_secs(1);
const CONNECTIONS: u32 = 3;

/// A store whose pool has all of its connections, and which notes what served its commits.
async fn open(place: &Place, clock: &VirtualClock) -> PostgresRepository {
    let pool = place.pool(CONNECTIONS).await;
    let options = place.options().with_timer(Arc::new(clock.clone()));
    let repository = options.open(pool.clone()).await.unwrap();
    let notes = "CREATE TABLE {}.served (pid int);
        CREATE FUNCTION {}.note() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN INSERT INTO {}.served VALUES (pg_backend_pid()); RETURN NULL; END $$;
        CREATE TRIGGER note AFTER INSERT ON {}.outbox FOR EACH ROW EXECUTE FUNCTION {}.note()";
    execute(&pool, place.sql(notes)).await;
    drop(all_of(&pool, CONNECTIONS).await);
    settle_down(&pool, CONNECTIONS).await;
    repository
}

async fn all_of(pool: &PgPool, count: u32) -> Vec<PoolConnection<Postgres>> {
    let mut held = Vec::new();
    for _ in 0..count {
        let connection = timeout(EVER, pool.acquire()).await;
        held.push(connection.expect("somebody keeps a connection").unwrap());
    }
    held
}

/// Connections go back to their pool by a task.
async fn settle_down(pool: &PgPool, idle: u32) {
    let settled = async {
        while pool.num_idle() < idle as usize {
            tokio::task::yield_now().await;
        }
    };
    timeout(EVER, settled).await.expect("somebody keeps a connection");
}

/// A message that is born in flight, so that nobody is hinted.
async fn commit(repository: &PostgresRepository, id: &str) {
    repository.commit(born(vec![message(id)], A)).await.unwrap();
}

type Waiting = Pin<Box<dyn Future<Output = ()>>>;

/// Somebody who waits for hints.
async fn waiting(repository: &PostgresRepository) -> Waiting {
    let mut hints = repository.outbox_store().wakeup();
    let mut waiting: Waiting = Box::pin(async move { hints.wait().await });
    assert!(poll_immediate(&mut waiting).await.is_none());
    waiting
}

#[test]
fn while_somebody_waits_for_hints_one_connection_serves_commit_after_commit() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = open(&place, &VirtualClock::new()).await;
        let served = place.sql("SELECT count(DISTINCT pid) FROM {}.served");
        let waiting = waiting(&repository).await;
        for n in 0..6 {
            commit(&repository, &format!("one-{n}")).await;
        }
        assert_eq!(number(repository.pool(), served.clone()).await, 1);
        drop(waiting);
        for n in 0..6 {
            settle_down(repository.pool(), CONNECTIONS).await;
            commit(&repository, &format!("in-turn-{n}")).await;
        }
        assert_eq!(
            number(repository.pool(), served).await,
            i64::from(CONNECTIONS),
            "nobody keeps one"
        );
    });
}

#[test]
fn it_goes_back_when_no_commit_comes_any_more() {
    on_server(async |url| {
        let place = Place::new(url);
        let clock = VirtualClock::new();
        let repository = open(&place, &clock).await;
        let mut waiting = waiting(&repository).await;
        commit(&repository, "a").await;
        let others = all_of(repository.pool(), CONNECTIONS - 1).await;
        for _ in 0..2 {
            assert_eq!(repository.pool().num_idle(), 0, "kept for the next commit");
            assert!(poll_immediate(&mut waiting).await.is_none());
            clock.advance(PAUSE);
            assert!(poll_immediate(&mut waiting).await.is_none());
        }
        drop(all_of(repository.pool(), 1).await);
        drop(others);
    });
}

#[test]
fn it_goes_back_when_nobody_waits_for_hints_any_more() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = open(&place, &VirtualClock::new()).await;
        let waiting = waiting(&repository).await;
        commit(&repository, "a").await;
        let others = all_of(repository.pool(), CONNECTIONS - 1).await;
        assert_eq!(repository.pool().num_idle(), 0, "kept for the next commit");
        drop(waiting);
        drop(all_of(repository.pool(), 1).await);
        drop(others);
    });
}

#[test]
fn the_last_connection_of_a_pool_is_kept_by_nobody() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = open(&place, &VirtualClock::new()).await;
        let _waiting = waiting(&repository).await;
        let others = all_of(repository.pool(), CONNECTIONS - 1).await;
        commit(&repository, "a").await;
        drop(all_of(repository.pool(), 1).await);
        drop(others);
    });
}
