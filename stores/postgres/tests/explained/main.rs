//! The plans that the server makes for the hot path beside 100,000 rows, read node by node. `store/plans.rs` counts
//! rows instead, and needs no module of the server for it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "in a test a panic is the report"
)]

mod life;
mod plan;
#[path = "../support/mod.rs"]
mod support;

use std::ops::RangeInclusive;

use postbox_postgres::sqlx::postgres::{PgPool, PgPoolOptions};
use postbox_postgres::sqlx::{self, AssertSqlSafe, Connection, Executor, PgConnection};

use support::*;

/// How often everything is done with empty tables: plans that are made then stay with the session, and from the sixth
/// time on those of statements that are prepared by the client.
const WARM: u32 = 7;

/// What has to be seen, so that a plan which was not heard is not taken for a good one: an index, and who uses it.
const USES: &[(&str, &str)] = &[
    ("claim", "outbox_free"),
    ("claim by ids", "outbox_id"),
    ("claim of what lapsed", "outbox_free"),
    ("claim that tidies up", "outbox_loose"),
    ("renew", "outbox_pkey"),
    ("settle: publish", "outbox_pkey"),
    ("hand over, publish", "outbox_key"),
    ("hand over, keep", "outbox_key"),
    ("settle: publish and keep", "outbox_pkey"),
    ("settle: retry", "outbox_pkey"),
    ("settle: mixed", "outbox_pkey"),
    ("enqueue of one", "outbox_key"),
    ("enqueue of many", "outbox_key"),
    ("commit of one", "events_pkey"),
    ("commit of one", "outbox_key"),
    ("commit of many", "events_pkey"),
    ("commit of many", "outbox_key"),
    ("requeue", "outbox_id"),
    ("purge", "outbox_published"),
    ("next due", "outbox_free"),
    ("load", "events_pkey"),
    ("load", "snapshots_pkey"),
    ("load", "inbox_pkey"),
];

/// One session whose plans are heard; `None` where the server has no `auto_explain` or does not let us load it.
async fn explained(place: &Place) -> Option<PgPool> {
    let mut connection = PgConnection::connect(&place.url).await.unwrap();
    if let Err(error) = connection.execute(plan::EXPLAIN).await {
        eprintln!("skipped: plans are not read without the server's module auto_explain: {error}");
        return None;
    }
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(plan::EXPLAIN).await.map(|_| ()) })
        })
        .connect(&place.url)
        .await;
    Some(pool.unwrap())
}

/// 100,000 free messages, the `keyed` ones of which have a key each and another one behind them, and more that wait,
/// are published or dead; streams of 20 events with a snapshot each, and receipts: 100,000 of each but the snapshots.
async fn fill(place: &Place, keyed: RangeInclusive<u32>) {
    let (first, last) = keyed.into_inner();
    let outbox = |what: &str, numbers: (u32, u32), columns: &str, values: &str| {
        let (first, last) = numbers;
        format!(
            "INSERT INTO {{}}.outbox (id, name, payload, {columns})
             SELECT '{what}-' || n, 'thing.done', '\\x00', {values} FROM generate_series({first}, {last}) AS n;"
        )
    };
    let key = format!("now() - interval '1 hour', CASE WHEN n BETWEEN {first} AND {last} THEN 'f' || n END");
    let sql = [
        // Without triggers: they are what is tested, and would take a minute.
        "SET session_replication_role = replica;".to_owned(),
        outbox("free", (1, 100_000), "due, key", &key),
        outbox("second", (first, last), "key, blocked", "'f' || n, true"),
        outbox("head", (1, 1), "key, due", "'k', 'infinity'"),
        outbox("blocked", (1, 20_000), "key, blocked", "'k', true"),
        outbox("later", (1, 5_000), "due", "now() + interval '1 day'"),
        outbox(
            "published",
            (1, 5_000),
            "outcome, settled_at, holds",
            "'published', now() - interval '1 day', false",
        ),
        outbox(
            "dead",
            (1, 5_000),
            "outcome, settled_at, holds",
            "'dead', now(), false",
        ),
        "INSERT INTO {}.events
           SELECT 'thing', 's-' || n % 5000, 1 + n / 5000, 'Done', 1, 'json', 1, now(), '', '\"Done\"'
           FROM generate_series(0, 99999) AS n;
         INSERT INTO {}.snapshots
           SELECT 'thing', 's-' || n, 10, 'Thing', 1, 'json', 1, now(), '{ }' FROM generate_series(0, 4999) AS n;
         INSERT INTO {}.inbox SELECT 'consumer', 'message-' || n, now() FROM generate_series(1, 100000) AS n;
         RESET session_replication_role"
            .to_owned(),
    ];
    // Empty braces would be read as the schema's name.
    unheard(place, &place.sql(&sql.concat()).replace("{ }", "{}")).await;
}

/// Statistics of what was filled in, without the keys that came and went since.
async fn analyze(place: &Place) {
    let forget = "SET session_replication_role = replica; DELETE FROM {}.outbox WHERE id LIKE '%-%-%'";
    unheard(place, &place.sql(forget)).await;
    for table in ["outbox", "events", "inbox", "snapshots"] {
        unheard(place, &place.sql(&format!("VACUUM ANALYZE {{}}.{table}"))).await;
    }
}

/// By a session that is not listened to.
async fn unheard(place: &Place, sql: &str) {
    let mut connection = PgConnection::connect(&place.url).await.unwrap();
    let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    sql.execute(&mut connection).await.unwrap();
}

/// What is wrong with the plans of one turn, and what is not there that should be.
fn judge(heard: &life::Heard) -> Vec<String> {
    let mut wrong = Vec::new();
    for (verb, plans) in heard {
        let nodes = || plans.iter().flat_map(|(_, nodes)| nodes);
        let most = |of: fn(&plan::Node) -> f64| nodes().map(of).fold(0.0, f64::max);
        eprintln!(
            "{verb}: {} statements, a node reads at most {} rows",
            plans.len(),
            most(|node| node.read)
        );
        for (text, nodes) in plans {
            let bad = nodes.iter().filter(|node| node.is_bad(life::BATCH_ROWS));
            wrong.extend(bad.map(|node| format!("{verb}: {node:?} in {text}")));
        }
    }
    for (verb, index) in USES {
        let mut plans = heard.iter().filter(|(name, _)| name == verb);
        let used = plans.any(|(_, plans)| {
            let mut nodes = plans.iter().flat_map(|(_, nodes)| nodes);
            nodes.any(|node| node.index == *index && node.read > 0.0)
        });
        if !used {
            wrong.push(format!("{verb}: nothing found by {index}"));
        }
    }
    wrong
}

/// With plans that were made while the tables were empty, and with those that statistics suggest.
fn nothing_scans_or_sorts_beside(keyed: RangeInclusive<u32>) {
    on_server(async |url| {
        let place = Place::new(url);
        place.open().await;
        plan::listen();
        let Some(pool) = explained(&place).await else {
            return;
        };
        for turn in 0..WARM {
            life::all(&place, &pool, turn, 0).await;
        }
        fill(&place, keyed).await;
        let stale = judge(&life::all(&place, &pool, WARM, 20).await);
        assert!(
            stale.is_empty(),
            "plans made while the tables were empty: {stale:#?}"
        );
        analyze(&place).await;
        let fresh = judge(&life::all(&place, &pool, WARM + 1, 20).await);
        assert!(fresh.is_empty(), "plans made with statistics: {fresh:#?}");
    });
}

#[test]
fn no_plan_of_the_hot_path_scans_or_sorts_100_000_rows_of_as_many_keys() {
    nothing_scans_or_sorts_beside(1..=50_000);
}

/// The planner then thinks that any walk meets a key soon.
#[test]
fn no_plan_of_the_hot_path_scans_or_sorts_100_000_rows_of_a_few_keys() {
    nothing_scans_or_sorts_beside(20..=23);
}
