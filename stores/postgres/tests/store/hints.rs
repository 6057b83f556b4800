//! Hints across processes, and the settlements that are gathered while somebody waits for hints.

use std::sync::Arc;
use std::time::Duration;

use postbox::aggregate::Repository;
use postbox::claim::Verdict;
use postbox::runtime::Timer;
use postbox::store::{ClaimedMessage, HasOutboxStore, OutboxOperator, OutboxStore, Settlement};
use postbox::time::{Clock, Instant};
use postbox::wakeup::Wakeup;
use postbox_postgres::{PostgresOutboxStore, PostgresRepository, sqlx};
use tokio::time::timeout;

use crate::support::*;

const SOON: Duration = Duration::from_secs(10);

struct Tokio(std::time::Instant);

impl Clock for Tokio {
    fn now(&self) -> Instant {
        Instant::ZERO + self.0.elapsed()
    }
}

impl Timer for Tokio {
    async fn sleep_until(&self, deadline: Instant) {
        tokio::time::sleep(deadline.since(self.now())).await;
    }
}

postbox::dyn_timer!(Tokio);

#[test]
fn a_commit_of_one_process_wakes_another_and_a_lost_listener_comes_back() {
    on_server(async |url| {
        let place = Place::new(url);
        let open = async || place.open_with(place.options().with_notify(true)).await;
        let (here, there) = (open().await, open().await);
        let mut hints = there.outbox_store().wakeup();
        // Connecting is a hint of its own: something may have been missed before.
        timeout(SOON, hints.wait()).await.expect("it listens");
        here.commit(batch(vec![message("a")])).await.unwrap();
        timeout(SOON, hints.wait()).await.expect("a notification");
        let listeners = place
            .sql(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND state = 'idle'
             AND application_name = '{}'",
            )
            .replace('"', "");
        assert_eq!(
            number(here.pool(), listeners).await,
            1,
            "one, and not in a transaction"
        );
        let kill = place
            .sql(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'
             AND application_name = '{}'",
            )
            .replace('"', "");
        assert_eq!(number(here.pool(), kill).await, 1);
        timeout(SOON, hints.wait())
            .await
            .expect("the loss of the listener is a hint too");
        let mut n = 0;
        let heard = async {
            // The first may come before it listens again.
            loop {
                here.commit(batch(vec![message(&format!("b-{n}"))]))
                    .await
                    .unwrap();
                n += 1;
                if timeout(Duration::from_millis(200), hints.wait()).await.is_ok() {
                    return;
                }
            }
        };
        timeout(SOON, heard).await.expect("it listens again");
    });
}

#[test]
fn notifications_are_gathered_and_a_process_does_not_wake_itself() {
    on_server(async |url| {
        let place = Place::new(url);
        let options = place
            .options()
            .with_notify(true)
            .with_linger(Duration::from_hours(1));
        let repository = place.open_with(options).await;
        let mut listener = sqlx::postgres::PgListener::connect(&place.url).await.unwrap();
        listener
            .listen(&repository.outbox_store().channel())
            .await
            .unwrap();
        for n in 0..20 {
            repository
                .commit(batch(vec![message(&n.to_string())]))
                .await
                .unwrap();
        }
        listener.recv().await.unwrap();
        let more = timeout(Duration::from_millis(100), listener.recv()).await;
        assert!(more.is_err(), "one for all of the linger time");
        let mut hints = repository.outbox_store().wakeup();
        timeout(SOON, hints.wait()).await.expect("it listens");
        repository.outbox_store().hint().await;
        timeout(SOON, hints.wait())
            .await
            .expect("the bell of the own process");
    });
}

/// Held messages of a store, and what settles them.
async fn held(repository: &PostgresRepository, count: usize) -> Vec<Settlement<'static, i64>> {
    let messages = (0..count).map(|n| message(&format!("m-{n}"))).collect();
    repository.commit(batch(messages)).await.unwrap();
    let batch = claim(&repository.outbox_store(), A, count).await;
    batch
        .iter()
        .map(|held| settlement(held.claim(), Verdict::Complete))
        .collect()
}

async fn in_flight(store: &PostgresOutboxStore) -> u64 {
    store.counts().await.unwrap().in_flight
}

#[test]
fn while_nobody_waits_a_soft_settlement_is_written_at_once() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place.open().await;
        let store = repository.outbox_store();
        let settlements = held(&repository, 2).await;
        let _not_waiting = store.wakeup();
        store.settle_soon(&settlements[..1]).await.unwrap();
        assert_eq!(in_flight(&store).await, 1);
    });
}

#[test]
fn whoever_waits_for_hints_writes_what_is_gathered_in_one_statement() {
    on_server(async |url| {
        let place = Place::new(url);
        let timer = Arc::new(Tokio(std::time::Instant::now()));
        let options = place
            .options()
            .with_timer(timer)
            .with_linger(Duration::from_millis(300));
        let repository = place.open_with(options).await;
        let store = repository.outbox_store();
        let settlements = held(&repository, 20).await;
        let mut hints = store.wakeup();
        let waiting = tokio::spawn(async move { hints.wait().await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        for settlement in &settlements {
            store.settle_soon(std::slice::from_ref(settlement)).await.unwrap();
        }
        assert_eq!(in_flight(&store).await, 20, "nothing is written yet");
        let written = async {
            while in_flight(&store).await > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(SOON, written).await.expect("the one who waits writes it");
        let xids = place.sql("SELECT count(*) FROM {}.outbox");
        assert_eq!(number(repository.pool(), xids).await, 0);
        assert!(!waiting.is_finished(), "writing is no hint");
        waiting.abort();
    });
}

#[test]
fn a_claim_and_a_flush_write_what_is_gathered_first() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place
            .open_with(place.options().with_linger(Duration::from_hours(1)))
            .await;
        let store = repository.outbox_store();
        let settlements = held(&repository, 3).await;
        let (mut hints, mut cut) = (store.wakeup(), store.wakeup());
        for (n, settlement) in settlements.iter().enumerate() {
            {
                // Somebody waits, and goes away before the writing.
                let mut wait = std::pin::pin!(hints.wait());
                let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
                assert!(wait.as_mut().poll(&mut cx).is_pending());
                store.settle_soon(std::slice::from_ref(settlement)).await.unwrap();
            }
            assert_eq!(in_flight(&store).await, 3 - u64::try_from(n).unwrap());
            match n {
                0 => assert!(claim(&store, B, 9).await.is_empty()),
                1 => store.flush().await.unwrap(),
                _ => {
                    // One who begins to write and is cut short writes nothing away.
                    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
                    for _ in 0..3 {
                        assert!(std::pin::pin!(cut.wait()).poll(&mut cx).is_pending());
                    }
                    store.flush().await.unwrap();
                }
            }
            assert_eq!(in_flight(&store).await, 2 - u64::try_from(n).unwrap());
        }
    });
}

/// Any program may insert into the table, at any due time.
#[test]
fn a_message_that_is_never_due_does_not_hide_the_next_one() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place.open().await;
        let store = repository.outbox_store();
        for (due, told) in [("'infinity'", false), ("now() + interval '1 h'", true)] {
            let sql = "INSERT INTO {}.outbox (id, name, payload, due) VALUES ($tag$DUE$tag$, 'n', '', DUE)";
            let sql = place.sql(&sql.replace("DUE", due));
            execute(repository.pool(), sql).await;
            let next = store.next_due().await.unwrap();
            assert_eq!(next.is_some(), told, "{due}: {next:?}");
            assert!(next.is_none_or(|next| next <= 360 * SOON), "{next:?}");
        }
    });
}
