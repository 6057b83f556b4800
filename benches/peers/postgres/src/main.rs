//! Enqueue in a transaction and drain on PostgreSQL, `fsync` on, beside pgmq; a second, in turn. The server is the one
//! that `POSTBOX_TEST_POSTGRES_URL` names.

mod pgmq;

use std::time::Duration;

use postbox_benches::{Contender, Effort, Failure, Figures, OnPostgres, side_by_side};

fn main() -> Result<(), Failure> {
    let Some(effort) = Effort::asked_for("postgres") else {
        return Ok(());
    };
    let mut figures = Figures::printed();
    let url = std::env::var("POSTBOX_TEST_POSTGRES_URL")?;
    let server = OnPostgres::connect()?;
    let span = Duration::from_millis(effort.pick(50, 800));
    let rounds = effort.pick(1, 3);
    for count in [1, 8, 32] {
        let contenders = vec![
            Contender::new("pgmq, enqueued", || {
                pgmq::commits(server.runtime(), &url, count, span)
            }),
            Contender::new("business row alone", || server.business_rows(count, span)),
            Contender::new("Postbox, enqueued", || server.transactions(count, span)),
            Contender::new("Postbox, published and settled", || {
                server.commits_published(count, span)
            }),
        ];
        let row = format!("{count} client{}", if count == 1 { "" } else { "s" });
        side_by_side(&mut figures, "postgres-peers", row, rounds, contenders)?;
    }
    let rows = effort.pick(2_000, 20_000);
    for workers in [1, 4] {
        let contenders = vec![
            Contender::new("pgmq", || {
                pgmq::drain(server.runtime(), &url, workers, rows as usize)
            }),
            Contender::new("Postbox, no keys", || server.drain(workers, rows, false)),
            Contender::new("Postbox, a key each", || server.drain(workers, rows, true)),
        ];
        let row = format!("{workers} worker{}", if workers == 1 { "" } else { "s" });
        side_by_side(&mut figures, "postgres-peers-backlog", row, rounds, contenders)?;
    }
    Ok(())
}
