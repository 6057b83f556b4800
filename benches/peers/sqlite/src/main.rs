//! Publish-in-commit and drain on SQLite, `synchronous=FULL`, beside apalis-sqlite; a second, in turn.

mod apalis;

use std::time::Duration;

use postbox_benches::{
    Contender, Effort, Failure, Figures, runtime, side_by_side, sqlite_commits, sqlite_drain,
};

fn main() -> Result<(), Failure> {
    let Some(effort) = Effort::asked_for("sqlite") else {
        return Ok(());
    };
    let mut figures = Figures::printed();
    let runtime = runtime()?;
    let span = Duration::from_millis(effort.pick(50, 1_000));
    for count in [1, 8, 32] {
        let contenders = vec![
            Contender::new("apalis-sqlite, enqueued", || {
                apalis::commits(&runtime, count, span)
            }),
            Contender::new("Postbox, published and settled", || {
                sqlite_commits(&runtime, count, span)
            }),
        ];
        let row = format!("commits, {count} client{}", if count == 1 { "" } else { "s" });
        side_by_side(&mut figures, "sqlite-peers", row, effort.rounds(), contenders)?;
    }
    let rows = effort.pick(500, 20_000);
    let contenders = vec![
        Contender::new("apalis-sqlite, enqueued", || apalis::drain(&runtime, rows)),
        Contender::new("Postbox, published and settled", || sqlite_drain(&runtime, rows)),
    ];
    side_by_side(
        &mut figures,
        "sqlite-peers",
        format!("drain of {rows}"),
        effort.rounds(),
        contenders,
    )?;
    Ok(())
}
