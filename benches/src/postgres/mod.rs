//! The PostgreSQL store beside what sqlx does by hand, on one server in one run: commits that publish, a backlog, and
//! the bytes they write to the log.

pub(crate) mod backlog;
mod by_hand;
mod server;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use postbox::aggregate::Birth;
use postbox::backstop::BackstopConfig;
use postbox::bus::BusPublisher;
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::WorkerId;
use postbox::lease::Lease;
use postbox::store::HasOutboxStore;
use postbox_postgres::PostgresRepository;
use postbox_postgres::sqlx;
use postbox_tokio::TokioTimer;
use tokio::runtime::Runtime;

use crate::load::{Request, TaskFailure, clients, failure, request, runtime};
use crate::shop::{self, Broker, Noting, Stamps, message};
use crate::{Contender, Effort, Failure, Figures, Suite, side_by_side};
use by_hand::Write;
pub(crate) use server::Server;

pub(crate) const SUITE: Suite = Suite {
    name: "postgres",
    measure,
    cases: &[],
};

/// Figures are medians of so many.
const ROUNDS: usize = 3;
/// How many clients commit at the same time.
const CLIENTS: [u32; 3] = [1, 8, 32];

fn measure(effort: Effort, figures: &mut Figures) -> Result<(), Failure> {
    let runtime = runtime()?;
    // Connections go back to their pool by a task.
    let _inside = runtime.enter();
    let server = Server::connect(&runtime)?;
    let span = Duration::from_millis(effort.pick(30, 600));
    for count in CLIENTS {
        commits(effort, figures, &runtime, &server, (count, span))?;
    }
    backlog::measure(effort, figures, &runtime, &server)
}

/// Transactions a second, each with one business row or event, and one message but for the first.
fn commits(
    effort: Effort,
    figures: &mut Figures,
    runtime: &Runtime,
    server: &Server,
    (count, span): (u32, Duration),
) -> Result<(), Failure> {
    let row = format!("{count} client{}", if count == 1 { "" } else { "s" });
    let logged = std::cell::RefCell::new(Vec::new());
    let rate = |name: &'static str, open: fn(&Runtime, &Server) -> Result<Shop, Failure>| {
        let logged = &logged;
        Contender::new(name, move || {
            server.empty(runtime)?;
            let shop = open(runtime, server)?;
            // Each connection makes its plans first: emptying the tables has thrown them away.
            clients(runtime, count, span / 4, &shop.place, shop.finish())?;
            let before = server.logged(runtime)?;
            let answers = clients(runtime, count, span, &shop.place, shop.finish())?;
            let bytes = server.logged(runtime)? - before;
            #[allow(clippy::cast_precision_loss, reason = "bytes and commits of a second")]
            logged
                .borrow_mut()
                .push((name, bytes as f64 / answers.waits.len().max(1) as f64));
            shop.stop(runtime)?;
            Ok(answers.per_second)
        })
    };
    let contenders = vec![
        rate("business row alone", |_, server| Ok(business_row(server))),
        rate("by hand, both rows in one statement", |_, server| {
            Ok(Shop::by_hand(server, Write::Both))
        }),
        rate("by hand, both rows in a transaction", |_, server| {
            Ok(Shop::by_hand(server, Write::Transaction))
        }),
        rate("by hand, published and settled", |_, server| {
            Ok(Shop::by_hand(server, Write::WholeLife))
        }),
        rate("Postbox, published and settled", published),
        rate("Postbox, your transaction", |_, server| {
            Ok(transaction(server, false))
        }),
        rate("Postbox, your transaction, published and settled", |_, server| {
            Ok(transaction(server, true))
        }),
    ];
    side_by_side(
        figures,
        "postgres-commits",
        &row,
        ROUNDS.min(effort.rounds()),
        contenders,
    )?;
    if count == 8 {
        let logged = logged.into_inner();
        let mut names: Vec<&str> = logged.iter().map(|(name, _)| *name).collect();
        names.truncate(7);
        for name in names {
            let mut bytes: Vec<f64> = logged
                .iter()
                .filter(|(of, _)| *of == name)
                .map(|(_, bytes)| *bytes)
                .collect();
            figures.add(
                "postgres-log",
                name,
                "bytes a commit",
                crate::quantile(&mut bytes, 0.5),
            )?;
        }
    }
    Ok(())
}

/// Something that takes orders, and what is to be done at its end.
pub(crate) struct Shop {
    pub(crate) place: Request,
    store: Option<PostgresRepository>,
    backstop: Option<postbox_tokio::BackstopHandle<postbox::backstop::BackstopReport, postbox::id::Invalid>>,
    settled: Option<by_hand::Settled>,
}

impl Shop {
    fn by_hand(server: &Server, write: Write) -> Self {
        let (place, settled) = by_hand::request(server, write);
        Self {
            place,
            store: None,
            backstop: None,
            settled,
        }
    }

    /// What was put off is done within the measured time.
    pub(crate) async fn finish(&self) -> Result<(), TaskFailure> {
        if let Some(settled) = &self.settled {
            settled.wait().await;
        }
        if let Some(store) = &self.store {
            store.outbox_store().flush().await?;
        }
        Ok(())
    }

    pub(crate) fn stop(self, runtime: &Runtime) -> Result<(), Failure> {
        if let Some(backstop) = self.backstop {
            runtime.block_on(backstop.stop(Duration::from_secs(5)))?;
        }
        Ok(())
    }
}

/// What every program pays.
pub(crate) fn business_row(server: &Server) -> Shop {
    Shop::by_hand(server, Write::Business)
}

/// `commit_outbox` in a handler, with the bus attached and a backstop beside it, as services run.
pub(crate) fn published(runtime: &Runtime, server: &Server) -> Result<Shop, Failure> {
    let repository = Noting {
        repository: server.repository.clone(),
        stamps: Arc::new(Stamps::new(0)),
    };
    let broker = Broker::noting(0);
    let place = shop::postgres::open(repository.clone(), Some(broker.clone()))?;
    let _inside = runtime.enter();
    let backstop = shop::postgres::backstop(&repository, broker, BackstopConfig::default(), true);
    Ok(Shop {
        place,
        store: Some(server.repository.clone()),
        backstop: Some(backstop),
        settled: None,
    })
}

/// A program without event sourcing: its own row and a message in its own transaction.
pub(crate) fn transaction(server: &Server, publish: bool) -> Shop {
    let (worker, lease) = (WorkerId::random(), Lease::IMMEDIATE);
    let outbox = server.repository.outbox_store();
    let broker = Broker::noting(0);
    let config = DispatchConfig::new(worker).with_lease(lease);
    let dispatcher = OutboxDispatcher::new(outbox.clone(), BusPublisher::new(broker.clone()), config)
        .with_timer(TokioTimer);
    let shared = Arc::new((server.pool.clone(), outbox, dispatcher, broker));
    let place = request(move |number| {
        let shared = shared.clone();
        async move {
            let (pool, outbox, dispatcher, broker) = &*shared;
            let mut transaction = pool.begin().await?;
            sqlx::query(by_hand::BUSINESS)
                .bind("b".repeat(shop::BODY))
                .execute(&mut *transaction)
                .await?;
            let birth = publish.then_some(Birth { worker, lease });
            let enqueued = outbox
                .enqueue(&mut transaction, &[message(number)?], birth)
                .await?;
            transaction.commit().await?;
            if publish {
                Box::pin(dispatcher.dispatch_claimed(enqueued.claimed())).await?;
                debug_assert!(broker.taken.load(Relaxed) > 0);
            }
            Ok(())
        }
    });
    Shop {
        place,
        store: Some(server.repository.clone()),
        backstop: None,
        settled: None,
    }
}

/// The answer of work on the server.
fn block<T>(runtime: &Runtime, work: impl Future<Output = Result<T, TaskFailure>>) -> Result<T, Failure> {
    runtime.block_on(work).map_err(failure)
}
