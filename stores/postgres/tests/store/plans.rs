//! What the statements of the hot path touch beside hundreds of thousands of rows: counted by the server, in rows,
//! for the functions as they run, with and without statistics. A sort over the backlog would have to read it.

use postbox_postgres::sqlx::{self, AssertSqlSafe, Connection, PgConnection, Row};

use crate::support::*;

const MANY: u32 = 100_000;

/// Each many: blocked behind a failing head, free, published, dead.
async fn fill(connection: &mut PgConnection, place: &Place) {
    let rows = |what: &str, columns: &str, values: &str| {
        format!(
            "INSERT INTO {{}}.outbox (id, name, payload, {columns})
             SELECT '{what}-' || n, 'n', '\\x00', {values} FROM generate_series(1, {MANY}) AS n;"
        )
    };
    let sql = [
        // Without triggers: they are what is tested, and would take a minute.
        "SET session_replication_role = replica;".to_owned(),
        "INSERT INTO {}.outbox (id, name, key, payload, due) VALUES ('head', 'n', 'k', '', 'infinity');"
            .to_owned(),
        rows("blocked", "key, blocked", "'k', true"),
        rows(
            "dead",
            "key, outcome, settled_at, holds",
            "'d' || n, 'dead', now(), false",
        ),
        rows(
            "published",
            "outcome, settled_at, holds",
            "'published', now() - interval '1 day', false",
        ),
        rows("free", "key", "'f' || n"),
        "RESET session_replication_role".to_owned(),
    ];
    let sql = place.sql(&sql.concat());
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .unwrap();
}

/// Rows of all the schema's tables that a statement looked at, scans of whole tables, and updates that were not
/// HOT. Nothing of it is kept.
async fn cost(connection: &mut PgConnection, place: &Place, sql: &str) -> [i64; 3] {
    let mut transaction = connection.begin().await.unwrap();
    let before = counters(&mut transaction, place).await;
    let sql = AssertSqlSafe(place.sql(sql));
    sqlx::raw_sql(sql).execute(&mut *transaction).await.unwrap();
    let after = counters(&mut transaction, place).await;
    transaction.rollback().await.unwrap();
    std::array::from_fn(|at| after[at] - before[at])
}

/// What the session has counted so far. The one row of settings is no scan.
async fn counters(connection: &mut PgConnection, place: &Place) -> [i64; 3] {
    let sql = format!(
        "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint,
                coalesce(sum(seq_scan) FILTER (WHERE relname <> 'settings'), 0)::bigint,
                sum(n_tup_upd - n_tup_hot_upd)::bigint
         FROM pg_stat_xact_user_tables WHERE schemaname = '{}'",
        place.names.schema()
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(sql))
        .fetch_all(connection)
        .await
        .unwrap();
    std::array::from_fn(|at| rows[0].get(at))
}

const CLAIM: &str = "SELECT * FROM {}.claim(1, 1000000, 10, 3, NULL, false, NULL)";
const CLAIM_IDS: &str =
    "SELECT * FROM {}.claim(1, 1000000, 10, 3, '{blocked-5,free-7,dead-9,published-3,nothing}', false, NULL)";
/// The head, which is given to somebody first, and so the hand-over to the first of all who wait.
const SETTLE: &str = "UPDATE {}.outbox SET lease_until = 'infinity', attempt = 1 WHERE id = 'head';
    SELECT {}.settle(array_agg(seq), '{0}', '{1}', '{0}', '{0}', '{\"\"}', false, false, NULL)
    FROM {}.outbox WHERE id = 'head'";
const RENEW: &str = "UPDATE {}.outbox SET lease_until = 'infinity', attempt = 1 WHERE id = 'head';
    SELECT {}.renew(array_agg(seq), '{0}', '{1}', 1000, NULL) FROM {}.outbox WHERE id = 'head'";
const ENQUEUE: &str =
    "SELECT {}.enqueue('new-1', 'n', '', key => 'k'); SELECT {}.enqueue('new-2', 'n', '', key => 'g')";
const COMMIT: &str =
    "SELECT {}.commit('{t}', '{s}', '{0}', true, '{t}', '{s}', '{1}', '{false}', '{n}', '{1}', '{json}', '{1}',
    '{\"\"}', '{x}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{c}', '{m}',
    '{new}', '{n}', '{event}', '{k}', '{j}', '{\"\"}', '{0}', '{x}', '{true}', '{k}', 1, 1000, NULL)";
const ENQUEUE_ONE: &str = "SELECT {}.enqueue_one('new', 'n', 'event', 'k', 'j', '', 0, 'x', 1, 1000, NULL)";
const COMMIT_ONE: &str = "SELECT {}.commit_one('t', 's', 0, 'n', 1, 'json', 1, '', 'x',
    'new', 'n', 'event', 'k', 'j', '', 0, 'x', 1, 1000, NULL)";
const REQUEUE: &str = "SELECT {}.requeue('{dead-5,dead-6}', NULL)";
/// As the store says it; no row is due at infinity.
const NEXT_DUE: &str =
    "INSERT INTO {}.outbox (id, name, payload, due) VALUES ('later', 'n', '', now() + interval '1 h');
    SELECT {}.next_due(NULL)";
const PURGE: &str = "SELECT {}.purge(0, 10, NULL)";

#[test]
fn no_statement_of_the_hot_path_reads_more_than_it_returns_beside_400_000_rows() {
    on_server(async |url| {
        let place = Place::new(url);
        place.open().await;
        let mut connection = PgConnection::connect(&place.url).await.unwrap();
        // Empty arrays would be read as the schema's name.
        let commit = COMMIT
            .replacen("{}", "#", 1)
            .replace("{}", "{ }")
            .replacen('#', "{}", 1);
        let statements = [
            ("claim", CLAIM, 40),
            ("claim by ids", CLAIM_IDS, 20),
            ("settle", SETTLE, 15),
            ("renew", RENEW, 10),
            ("enqueue", ENQUEUE, 10),
            ("commit", &commit, 20),
            ("enqueue of one", ENQUEUE_ONE, 10),
            ("commit of one", COMMIT_ONE, 10),
            ("requeue", REQUEUE, 30),
            ("purge", PURGE, 60),
            ("next due", NEXT_DUE, 10),
        ];
        // Plans that were made for empty tables stay with the session.
        for _ in 0..7 {
            for (_, sql, _) in &statements {
                cost(&mut connection, &place, sql).await;
            }
        }
        fill(&mut connection, &place).await;
        for statistics in [false, true] {
            if statistics {
                let analyze = AssertSqlSafe(place.sql("ANALYZE {}.outbox, {}.events, {}.inbox"));
                sqlx::raw_sql(analyze).execute(&mut connection).await.unwrap();
            }
            for (name, sql, most) in &statements {
                let [rows, scans, _] = cost(&mut connection, &place, sql).await;
                println!("{name}: {rows} rows, statistics: {statistics}");
                assert!(
                    rows > 0 && rows <= *most,
                    "{name}: {rows} rows, statistics: {statistics}"
                );
                assert_eq!(scans, 0, "{name} scans a table, statistics: {statistics}");
            }
        }
    });
}

#[test]
fn a_claim_changes_no_index() {
    on_server(async |url| {
        let place = Place::new(url);
        place.open().await;
        let mut connection = PgConnection::connect(&place.url).await.unwrap();
        let fill = place.sql(
            "INSERT INTO {}.outbox (id, name, payload) SELECT n, 'n', '' FROM generate_series(1, 500) n",
        );
        sqlx::raw_sql(AssertSqlSafe(fill))
            .execute(&mut connection)
            .await
            .unwrap();
        let claim = "SELECT * FROM {}.claim(1, 1000000, 100, 3, NULL, false, NULL)";
        let [.., cold] = cost(&mut connection, &place, claim).await;
        assert_eq!(cold, 0, "of 100 updates");
    });
}
