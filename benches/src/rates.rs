//! What other crates are compared with: rates of Postbox a second, one figure a call. Nothing new is measured here.

use std::time::Duration;

use tokio::runtime::Runtime;

use crate::load::clients;
use crate::{Failure, postgres, sqlite};

/// Commits on a new SQLite file, each of an event and a message that is published and settled, by so many clients.
///
/// ```
/// let runtime = postbox_benches::runtime()?;
/// let rate = postbox_benches::sqlite_commits(&runtime, 2, std::time::Duration::from_millis(5))?;
/// assert!(rate > 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn sqlite_commits(runtime: &Runtime, count: u32, span: Duration) -> Result<f64, Failure> {
    Ok(sqlite::published(runtime, count, span)?.per_second)
}

/// Messages of a backlog on SQLite, each of a key of its own, in batches of 256; see [`sqlite_commits`].
pub fn sqlite_drain(runtime: &Runtime, rows: u32) -> Result<f64, Failure> {
    sqlite::backlog::drain(runtime, rows, Some(rows), 256)
}

/// The server that `POSTBOX_TEST_POSTGRES_URL` names, with Postbox's tables; used like [`sqlite_commits`].
#[derive(Debug)]
pub struct OnPostgres {
    server: postgres::Server,
    runtime: Runtime,
}

impl OnPostgres {
    /// Makes the tables.
    ///
    /// # Errors
    /// Without the variable, and whatever the server says.
    pub fn connect() -> Result<Self, Failure> {
        let runtime = crate::runtime()?;
        let server = postgres::Server::connect(&runtime)?;
        Ok(Self { server, runtime })
    }

    /// The runtime that all of it runs on.
    pub const fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Transactions of a business row alone: what commits cost on this machine.
    pub fn business_rows(&self, count: u32, span: Duration) -> Result<f64, Failure> {
        self.commits(count, span, |_, server| Ok(postgres::business_row(server)))
    }

    /// Commits of an event and a message that is published and settled.
    pub fn commits_published(&self, count: u32, span: Duration) -> Result<f64, Failure> {
        self.commits(count, span, postgres::published)
    }

    /// Transactions of the caller with a business row and a message that is left to a backstop.
    pub fn transactions(&self, count: u32, span: Duration) -> Result<f64, Failure> {
        self.commits(count, span, |_, server| Ok(postgres::transaction(server, false)))
    }

    /// Messages of a backlog, each of a key of its own or without one, in batches of 1,000. Each worker has a connection, a
    /// new one.
    pub fn drain(&self, workers: u32, rows: u32, keyed: bool) -> Result<f64, Failure> {
        let _inside = self.runtime.enter();
        let server = self.server.with_connections(&self.runtime, workers)?;
        postgres::backlog::drained(&self.runtime, &server, workers, rows, keyed)
    }

    fn commits(
        &self,
        count: u32,
        span: Duration,
        open: fn(&Runtime, &postgres::Server) -> Result<postgres::Shop, Failure>,
    ) -> Result<f64, Failure> {
        let (runtime, _inside) = (&self.runtime, self.runtime.enter());
        self.server.empty(runtime)?;
        let shop = open(runtime, &self.server)?;
        // Each connection makes its plans first.
        clients(runtime, count, span / 4, &shop.place, shop.finish())?;
        let answers = clients(runtime, count, span, &shop.place, shop.finish())?;
        shop.stop(runtime)?;
        Ok(answers.per_second)
    }
}
