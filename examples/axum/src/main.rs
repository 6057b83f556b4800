//! An HTTP server: `POST /orders` stores an order and its event in one transaction, publishes right after the
//! commit, and answers whether that went through. Run it with a `DATABASE_URL`; stop it with Ctrl-C.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use postbox::aggregate::Birth;
use postbox::backstop::{Backstop, BackstopConfig};
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::{Invalid, WorkerId};
use postbox::lease::Lease;
use postbox::message::{MessageRef, OutboxMessage};
use postbox::publisher::{AsyncMessagePublisher, PublishError};
use postbox::store::HasOutboxStore;
use postbox_postgres::{EnqueueError, Identifier, Names, PostgresOptions, PostgresOutboxStore, sqlx};
use postbox_tokio::{TokioTimer, spawn_backstop};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::error::DatabaseError;
use tokio::net::TcpListener;

type Failure = Box<dyn Error + Send + Sync>;

/// The broker: yours will be another.
#[derive(Clone, Debug)]
struct Console;

impl AsyncMessagePublisher for Console {
    type Error = std::convert::Infallible;

    async fn publish(&self, message: MessageRef<'_>) -> Result<(), PublishError<Self::Error>> {
        println!(
            "published {} {}",
            message.name,
            String::from_utf8_lossy(message.payload)
        );
        Ok(())
    }
}

/// What the handlers share.
struct Shop {
    pool: PgPool,
    outbox: PostgresOutboxStore,
    dispatcher: OutboxDispatcher<PostgresOutboxStore, Console, TokioTimer>,
    birth: Birth,
}

#[derive(Debug, Deserialize, Serialize)]
struct Order {
    id: String,
    cents: i64,
}

#[derive(Debug, Serialize)]
struct Placed {
    id: String,
    /// Otherwise the backstop will publish it.
    published: bool,
}

/// What went wrong, as a status: 409 for an order that exists, 422 for one that is none, else 503.
struct Refusal(StatusCode);

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        let database = error.as_database_error();
        Self(if database.is_some_and(DatabaseError::is_unique_violation) {
            StatusCode::CONFLICT
        } else if database.is_some_and(DatabaseError::is_check_violation) {
            StatusCode::UNPROCESSABLE_ENTITY
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        })
    }
}

impl From<Invalid> for Refusal {
    fn from(_: Invalid) -> Self {
        Self(StatusCode::UNPROCESSABLE_ENTITY)
    }
}

impl From<EnqueueError> for Refusal {
    fn from(error: EnqueueError) -> Self {
        Self(match error {
            EnqueueError::DuplicateMessage { .. } => StatusCode::CONFLICT,
            EnqueueError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        })
    }
}

impl axum::response::IntoResponse for Refusal {
    fn into_response(self) -> axum::response::Response {
        self.0.into_response()
    }
}

async fn place(
    State(shop): State<Arc<Shop>>,
    Json(order): Json<Order>,
) -> Result<(StatusCode, Json<Placed>), Refusal> {
    let mut transaction = shop.pool.begin().await?;
    sqlx::query("INSERT INTO web_orders (id, cents) VALUES ($1, $2)")
        .bind(&order.id)
        .bind(order.cents)
        .execute(&mut *transaction)
        .await?;
    let payload = serde_json::to_vec(&order).map_err(|_| Refusal(StatusCode::UNPROCESSABLE_ENTITY))?;
    let message = OutboxMessage::create(format!("{}:placed", order.id), "order.placed", payload)?
        .with_key(format!("order/{}", order.id))?;
    let enqueued = shop
        .outbox
        .enqueue(&mut transaction, &[message], Some(shop.birth))
        .await?;
    transaction.commit().await?;
    // The order is placed. If the client goes away now and drops this, the backstop publishes when the lease ends.
    let published = shop.dispatcher.dispatch_claimed(enqueued.claimed()).await;
    let answer = Placed {
        id: order.id,
        published: published.is_ok_and(|outcome| outcome.published == 1),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Serves until `shutdown`, with a backstop beside it.
async fn serve(
    url: &str,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Failure> {
    let names = Names::new(Identifier::new("web")?);
    let options = PostgresOptions::new()
        .with_names(names)
        .with_timer(Arc::new(TokioTimer));
    let repository = options.connect(url).await?;
    let (pool, outbox) = (repository.pool().clone(), repository.outbox_store());
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS web_orders (id text PRIMARY KEY, cents bigint NOT NULL CHECK (cents > 0))",
    )
    .execute(&pool)
    .await?;
    let (worker, lease) = (WorkerId::random(), Lease::IMMEDIATE);
    let dispatcher = |config| OutboxDispatcher::new(outbox.clone(), Console, config).with_timer(TokioTimer);
    let mut backstop = Backstop::new(
        dispatcher(DispatchConfig::new(WorkerId::random())),
        BackstopConfig::default(),
    );
    let running = spawn_backstop(|stop| async move { Box::pin(backstop.run(stop)).await });
    let shop = Arc::new(Shop {
        pool,
        dispatcher: dispatcher(DispatchConfig::new(worker).with_lease(lease)),
        outbox: outbox.clone(),
        birth: Birth { worker, lease },
    });
    let router = Router::new().route("/orders", post(place)).with_state(shop);
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown)
        .await?;
    running.stop(Duration::from_secs(10)).await?;
    Ok(outbox.flush().await?)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let url = std::env::var("DATABASE_URL")
        .map_err(|_| "set DATABASE_URL, for example postgres://localhost/postgres")?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!(
        "curl -d '{{\"id\":\"order-1\",\"cents\":1999}}' -H 'content-type: application/json' http://127.0.0.1:3000/orders"
    );
    let interrupted = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    serve(&url, listener, interrupted).await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn post_order(address: std::net::SocketAddr, id: &str, cents: i64) -> String {
        let body = serde_json::to_string(&Order { id: id.into(), cents }).unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "POST /orders HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn an_order_and_its_event_are_committed_once_and_published() {
        let Ok(url) = std::env::var("POSTBOX_TEST_POSTGRES_URL") else {
            eprintln!("skipped: no POSTBOX_TEST_POSTGRES_URL; `cargo xtask test` starts a server");
            return;
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            serve(&url, listener, async {
                let _ = stopped.await;
            })
            .await
        });
        let id = format!("axum-{}", std::process::id());
        let answer = post_order(address, &id, 1_999).await;
        assert!(
            answer.starts_with("HTTP/1.1 201") && answer.contains(r#""published":true"#),
            "{answer}"
        );
        let answer = post_order(address, &id, 1_999).await;
        assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");
        let answer = post_order(address, &format!("{id}-free"), 0).await;
        assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
    }
}
