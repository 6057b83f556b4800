//! A plain sqlx program, without event sourcing: it stores an order and enqueues a message in one transaction, and
//! publishes right after the commit. A backstop publishes what that did not. Run it with a `DATABASE_URL`.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postbox::aggregate::Birth;
use postbox::backstop::{Backstop, BackstopConfig};
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::WorkerId;
use postbox::lease::Lease;
use postbox::message::{MessageRef, OutboxMessage};
use postbox::publisher::{AsyncMessagePublisher, PublishError};
use postbox::store::{HasOutboxStore, OutboxOperator};
use postbox_postgres::{PostgresOutboxStore, PostgresRepository, sqlx};
use postbox_tokio::TokioTimer;
use sqlx::PgPool;

type Failure = Box<dyn Error + Send + Sync>;

/// The broker: yours will be another.
#[derive(Clone, Default)]
struct Console(Arc<Mutex<Vec<String>>>);

impl AsyncMessagePublisher for Console {
    type Error = std::convert::Infallible;

    async fn publish(&self, message: MessageRef<'_>) -> Result<(), PublishError<Self::Error>> {
        println!(
            "published {} {}",
            message.name,
            String::from_utf8_lossy(message.payload)
        );
        if let Ok(mut published) = self.0.lock() {
            published.push(message.id.to_owned());
        }
        Ok(())
    }
}

struct Shop {
    pool: PgPool,
    outbox: PostgresOutboxStore,
    dispatcher: OutboxDispatcher<PostgresOutboxStore, Console, TokioTimer>,
    birth: Birth,
}

impl Shop {
    async fn open(url: &str, console: Console) -> Result<Self, Failure> {
        let repository = PostgresRepository::connect(url).await?;
        let pool = repository.pool().clone();
        sqlx::raw_sql("CREATE TABLE IF NOT EXISTS orders (id text PRIMARY KEY, cents bigint NOT NULL CHECK (cents > 0))")
            .execute(&pool)
            .await?;
        let (worker, lease) = (WorkerId::random(), Lease::IMMEDIATE);
        let config = DispatchConfig::new(worker).with_lease(lease);
        let outbox = repository.outbox_store();
        Ok(Self {
            pool,
            dispatcher: OutboxDispatcher::new(outbox.clone(), console, config).with_timer(TokioTimer),
            outbox,
            birth: Birth { worker, lease },
        })
    }

    /// The order and its message, or neither.
    async fn place(&self, id: &str, cents: i64) -> Result<(), Failure> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("INSERT INTO orders (id, cents) VALUES ($1, $2)")
            .bind(id)
            .bind(cents)
            .execute(&mut *transaction)
            .await?;
        let payload = format!(r#"{{"id":"{id}","cents":{cents}}}"#);
        let message = OutboxMessage::create(format!("{id}:placed"), "order.placed", payload)?
            .with_key(format!("order/{id}"))?;
        let enqueued = self
            .outbox
            .enqueue(&mut transaction, &[message], Some(self.birth))
            .await?;
        transaction.commit().await?;
        // From here on the order is placed, whatever becomes of this: the backstop would do it later.
        let _ = self.dispatcher.dispatch_claimed(enqueued.claimed()).await;
        Ok(())
    }

    /// Publishes what nobody has, until `shutdown`.
    async fn backstop(&self, console: Console, shutdown: impl Future<Output = ()>) -> Result<(), Failure> {
        let config = DispatchConfig::new(WorkerId::random());
        let dispatcher = OutboxDispatcher::new(self.outbox.clone(), console, config).with_timer(TokioTimer);
        Backstop::new(dispatcher, BackstopConfig::default())
            .run(shutdown)
            .await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let url = std::env::var("DATABASE_URL")
        .map_err(|_| "set DATABASE_URL, for example postgres://localhost/postgres")?;
    Box::pin(run(&url)).await.map(drop)
}

/// Three orders, of which one is refused; returns what was published.
async fn run(url: &str) -> Result<Vec<String>, Failure> {
    let console = Console::default();
    let shop = Shop::open(url, console.clone()).await?;
    let day = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
    shop.place(&format!("{day}-1"), 1_999).await?;
    let refused = shop.place(&format!("{day}-2"), 0).await;
    println!("refused, and so not published: {}", refused.is_err());
    // Another program commits a message and says nothing to us: the backstop finds it.
    sqlx::query("SELECT postbox.enqueue($1, 'order.imported', '{}')")
        .bind(format!("{day}-3:imported"))
        .execute(&shop.pool)
        .await?;
    let drained = async {
        while shop
            .outbox
            .counts()
            .await
            .is_ok_and(|counts| counts.pending + counts.in_flight > 0)
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    Box::pin(shop.backstop(console.clone(), drained)).await?;
    let published = console.0.lock().map_err(|_| "a publisher panicked")?;
    Ok(published
        .iter()
        .filter(|id| id.starts_with(&day.to_string()))
        .cloned()
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_committed_is_published_and_what_was_refused_is_not() {
        let Ok(url) = std::env::var("POSTBOX_TEST_POSTGRES_URL") else {
            eprintln!("skipped: no POSTBOX_TEST_POSTGRES_URL; `cargo xtask test` starts a server");
            return;
        };
        let published = Box::pin(run(&url)).await.unwrap();
        assert_eq!(published.len(), 2);
        assert!(published[0].ends_with("-1:placed") && published[1].ends_with("-3:imported"));
    }
}
