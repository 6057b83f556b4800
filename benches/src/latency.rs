//! The latency of the promise that nobody publishes: from the commit's return to the broker's acknowledgement, by the
//! immediate path, by a backstop that is hinted, and by one that only polls; at a steady rate, per store.

use std::sync::Arc;
use std::time::Duration;

use postbox::backstop::BackstopConfig;
use postbox_hashmap::HashMapRepository;
use postbox_sqlite::SqliteOptions;
use tokio::runtime::Runtime;

use crate::load::{failure, runtime, steadily};
use crate::postgres::Server;
use crate::shop::{self, Broker, Noting, Stamps};
use crate::{Effort, Failure, Figures, Suite, quantile};

pub(crate) const SUITE: Suite = Suite {
    name: "latency",
    measure,
    cases: &[],
};

/// How a message gets from its commit to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// Whoever committed publishes; a backstop runs beside.
    Immediate,
    /// A backstop that the store hints.
    Hinted,
    /// A backstop that looks every so often, as outboxes without hints do.
    Polled,
}

const PATHS: [(Path, &str); 3] = [
    (Path::Immediate, "immediate"),
    (Path::Hinted, "backstop, hinted"),
    (Path::Polled, "backstop, polling every 100 ms"),
];
/// The interval of the path that only polls.
const POLL: Duration = Duration::from_millis(100);
/// Messages a second.
const RATES: [u32; 2] = [200, 2_000];

/// One measurement: its row, and where its figures come from.
struct Run<'a> {
    runtime: &'a Runtime,
    rate: u32,
    span: Duration,
    path: Path,
}

fn measure(effort: Effort, figures: &mut Figures) -> Result<(), Failure> {
    let runtime = runtime()?;
    let server = Server::connect(&runtime)?;
    for store in ["HashMap", "SQLite", "PostgreSQL"] {
        for rate in RATES {
            for (path, name) in PATHS {
                let run = Run {
                    runtime: &runtime,
                    rate,
                    span: Duration::from_millis(effort.pick(100, 3_000)),
                    path,
                };
                let mut waits = run.store(store, &server)?;
                let row = format!("{store}, {rate}/s, {name}");
                for (column, share) in [("p50 (µs)", 0.5), ("p99 (µs)", 0.99), ("p99.9 (µs)", 0.999)] {
                    figures.add("latency", &row, column, quantile(&mut waits, share))?;
                }
            }
        }
    }
    server.empty(&runtime)
}

/// The same for each kind of repository, which are types of their own.
macro_rules! run {
    ($run:expr, $module:ident, $repository:expr) => {{
        let run: &Run<'_> = $run;
        #[allow(clippy::cast_possible_truncation, reason = "some thousands")]
        let most = (u128::from(run.rate) * run.span.as_millis() / 1_000) as usize * 2 + 100;
        let noting = Noting {
            repository: $repository,
            stamps: Arc::new(Stamps::new(most)),
        };
        let broker = Broker::noting(most);
        let immediate = run.path == Path::Immediate;
        let place = shop::$module::open(noting.clone(), immediate.then(|| broker.clone()))?;
        let config = BackstopConfig::new().with_batch(256)?;
        let config = if run.path == Path::Polled {
            config.with_poll(POLL)?
        } else {
            config
        };
        let backstop = {
            let _inside = run.runtime.enter();
            shop::$module::backstop(&noting, broker.clone(), config, run.path != Path::Polled)
        };
        let asked = steadily(run.runtime, run.rate, run.span, &place)?;
        run.runtime.block_on(async {
            for _ in 0..3_000 {
                if broker.taken.load(std::sync::atomic::Ordering::Relaxed) >= asked {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            backstop.stop(Duration::from_secs(5)).await
        })?;
        let mut waits = noting.stamps.until(broker.stamps());
        if waits.len() as u64 != asked {
            return Err(format!("{} of {asked} messages were published", waits.len()).into());
        }
        // Connections, caches and plans are made by the first ones.
        waits.drain(..waits.len() / 10);
        Ok(waits)
    }};
}

impl Run<'_> {
    fn store(&self, store: &str, server: &Server) -> Result<Vec<f64>, Failure> {
        match store {
            "HashMap" => run!(self, hashmap, HashMapRepository::new()),
            "SQLite" => {
                let directory = tempfile::tempdir()?;
                let repository = SqliteOptions::file(directory.path().join("shop.db")).open()?;
                let waits = self.sqlite(&repository);
                self.runtime
                    .block_on(async { Ok(repository.flush().await?) })
                    .map_err(failure)?;
                waits
            }
            _ => {
                server.empty(self.runtime)?;
                run!(self, postgres, server.repository.clone())
            }
        }
    }

    fn sqlite(&self, repository: &postbox_sqlite::SqliteRepository) -> Result<Vec<f64>, Failure> {
        run!(self, sqlite, repository.clone())
    }
}
