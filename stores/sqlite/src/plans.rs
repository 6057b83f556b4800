//! Tests only: how SQLite goes about the statements of the hot path, and what they cost beside many parked rows.

use postbox::claim::{Fence, Verdict};
use postbox::id::{Excerpt, WorkerId};
use postbox::store::{ClaimRef, ClaimRequest, SettlementBuf, Which};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, StatementStatus, params};

use crate::claim::{BURY, Claim, FREE, FREE_IDS, LAPSED, TAKE};
use crate::complete::{COMPLETE, COMPLETE_HELD, COMPLETE_ONE, HELD};
use crate::enqueue::INSERT;
use crate::job::Scope;
use crate::outbox::DEAD_ONES;
use crate::schema::migrate;
use crate::settle::{NEXT_DUE, PURGE, RENEW, REQUEUE, SETTLE, settle};
use crate::{SqliteOptions, rows};

/// Dead, published and blocked rows, a third each, on two keys; then one free row and its successor.
fn parked(rows: u32) -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection).unwrap();
    connection
        .execute_batch(&format!(
            "INSERT INTO postbox_outbox (id, name, key, due, payload) VALUES ('head', 'n', 'k', 9e15, x'');
             WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows})
             INSERT INTO postbox_outbox (id, name, key, due, state, holds, settled_at, blocked, payload)
             SELECT 'm' || n, 'n', 'k', 1,
                    iif(n % 3, n % 3 + 1, 0), n % 3 = 0, iif(n % 3, 1, NULL), 1, zeroblob(100) FROM c;
             INSERT INTO postbox_outbox (id, name, key, due, payload) VALUES
               ('free', 'n', 'f', 2, x''), ('next', 'n', 'f', 3, x'');"
        ))
        .unwrap();
    connection
}

/// The plan, those of the triggers included.
fn plan(connection: &Connection, sql: &str) -> Vec<String> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_TRIGGER_EQP, true)
        .unwrap();
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    for index in 1..=statement.parameter_count() {
        statement.raw_bind_parameter(index, 1).unwrap();
    }
    let mut rows = statement.raw_query();
    let mut lines = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        lines.push(row.get(3).unwrap());
    }
    lines
}

fn claim(connection: &Connection, which: Which<'_>) -> Vec<i64> {
    let claim = Claim::new(&ClaimRequest {
        worker: WorkerId::new(1),
        lease: std::time::Duration::from_secs(1),
        limit: 256,
        max_abandoned: 3,
        which,
    });
    let options = SqliteOptions::memory();
    let claimed = claim.unwrap().run(&Scope::new(connection, &options)).unwrap();
    claimed.iter().map(|claimed| claimed.claim.key).collect()
}

/// Virtual machine steps of a statement that was just run from the cache, and sorts and scans.
fn cost(connection: &Connection, sql: &str) -> i32 {
    let statement = connection.prepare_cached(sql).unwrap();
    assert_eq!(statement.get_status(StatementStatus::FullscanStep), 0, "{sql}");
    assert_eq!(statement.get_status(StatementStatus::Sort), 0, "{sql}");
    statement.get_status(StatementStatus::VmStep)
}

#[test]
fn no_statement_of_the_hot_path_scans_or_sorts() {
    let connection = parked(1_000);
    connection.execute_batch("ANALYZE").unwrap();
    for sql in [
        REQUEUE,
        PURGE,
        NEXT_DUE,
        INSERT,
        FREE.as_str(),
        TAKE,
        LAPSED,
        BURY,
        HELD,
        COMPLETE,
        COMPLETE_HELD,
    ] {
        for line in plan(&connection, sql) {
            let constant = line == "SCAN CONSTANT ROW" || line == "SCAN postbox_settings";
            assert!(constant || !line.contains("SCAN"), "{line} in {sql}");
            assert!(!line.contains("TEMP B-TREE"), "{line} in {sql}");
        }
    }
    // Of a list only the list is walked and sorted: at most a batch.
    for (sql, list) in [
        (FREE_IDS.as_str(), "wanted"),
        (SETTLE, "SCAN s "),
        (RENEW, "SCAN s "),
    ] {
        for line in plan(&connection, sql) {
            let bounded = line.contains(list) || line == "SCAN postbox_settings";
            assert!(bounded || !line.contains("SCAN"), "{line} in {sql}");
        }
    }
}

#[test]
fn a_claim_its_settlement_and_a_promotion_cost_the_same_beside_100_000_parked_rows() {
    let steps = |rows: u32| {
        let connection = parked(rows);
        let mut costs = Vec::new();
        let claimed = claim(&connection, Which::Due);
        assert_eq!(claimed.len(), 1);
        costs.push(cost(&connection, &FREE));
        costs.push(cost(&connection, TAKE));
        assert!(claim(&connection, Which::Ids(&["m3", "m1", "next"])).is_empty());
        costs.push(
            connection
                .prepare_cached(&FREE_IDS)
                .unwrap()
                .get_status(StatementStatus::VmStep),
        );
        // The settlement of a head sets the first of its 33,000 successors free.
        connection
            .execute(
                "UPDATE postbox_outbox SET state = 1, attempt = 1 WHERE id = 'head'",
                [],
            )
            .unwrap();
        let before = connection.total_changes();
        let mut complete = connection.prepare_cached(COMPLETE).unwrap();
        assert_eq!(complete.execute([1, 1]).unwrap(), 1);
        drop(complete);
        assert_eq!(connection.total_changes() - before, 2);
        costs.push(cost(&connection, COMPLETE));
        let mut requeue = connection.prepare_cached(REQUEUE).unwrap();
        assert_eq!(requeue.execute(params![1, "m2"]).unwrap(), 1);
        drop(requeue);
        costs.push(cost(&connection, REQUEUE));
        let mut next_due = connection.prepare_cached(NEXT_DUE).unwrap();
        next_due.query_row([], |_| Ok(())).unwrap();
        drop(next_due);
        costs.push(cost(&connection, NEXT_DUE));
        costs
    };
    let (few, many) = (steps(1_000), steps(100_000));
    for (few, many) in few.iter().zip(&many) {
        assert!(*many <= 3 * few, "steps went from {few} to {many}");
    }
}

#[test]
fn dead_letters_are_listed_by_their_index() {
    let connection = parked(10);
    let sql = format!(
        "SELECT {} FROM postbox_outbox WHERE {DEAD_ONES} ORDER BY seq LIMIT ?2",
        rows::STORED
    );
    let lines = plan(&connection, &sql);
    assert!(
        lines
            .iter()
            .any(|line| line.contains("COVERING INDEX postbox_outbox_settled")),
        "{lines:?}"
    );
}

/// Settles four messages of which the last is held by another, and then one of them again.
fn settled(verdicts: [Verdict; 4]) -> (Connection, Vec<usize>) {
    let connection = parked(3);
    let held = "UPDATE postbox_outbox SET state = 1, worker = 7, attempt = 2, blocked = 0 WHERE seq <= 4;
        UPDATE postbox_outbox SET worker = 8 WHERE seq = 4";
    connection
        .execute_batch(&format!(
            "UPDATE postbox_outbox SET state = 0, holds = 1, settled_at = NULL; {held}"
        ))
        .unwrap();
    let fence = Fence {
        worker: WorkerId::new(7),
        attempt: 2,
    };
    let one = |(key, verdict)| SettlementBuf {
        claim: ClaimRef { key, fence },
        verdict,
        error: Excerpt::new("it's \"odd\" \\ text"),
    };
    let mut list: Vec<_> = (1..).zip(verdicts).map(one).collect();
    list.push(one((1, verdicts[3])));
    let options = SqliteOptions::memory();
    let settled = settle(&Scope::new(&connection, &options), &list).unwrap();
    assert_eq!(settled.applied(), 3);
    (connection, settled.overtaken().collect())
}

/// How often a statement ran from the cache. SQLite counts the triggers' programs too.
fn runs(connection: &Connection, sql: &str) -> i32 {
    let statement = connection.prepare_cached(sql).unwrap();
    statement.get_status(StatementStatus::Run)
}

#[test]
fn a_run_without_a_gap_is_deleted_by_one_statement_and_spares_what_is_not_in_the_list() {
    let connection = parked(6);
    connection
        .execute_batch(
            "UPDATE postbox_outbox SET state = 1, worker = 7, attempt = 2, holds = 1, settled_at = NULL",
        )
        .unwrap();
    let fence = Fence {
        worker: WorkerId::new(7),
        attempt: 2,
    };
    let list: Vec<_> = [6, 1, 2, 4, 3]
        .map(|key| SettlementBuf {
            claim: ClaimRef { key, fence },
            verdict: Verdict::Complete,
            error: Excerpt::new(""),
        })
        .into();
    let options = SqliteOptions::memory();
    let settled = settle(&Scope::new(&connection, &options), &list).unwrap();
    assert_eq!((settled.applied(), settled.overtaken().count()), (5, 0));
    let left: String = connection
        .query_row(
            "SELECT group_concat(seq ORDER BY seq) FROM postbox_outbox",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(left, "5,7,8,9");
    for sql in [HELD, COMPLETE, COMPLETE_ONE] {
        assert!(runs(&connection, sql) > 0, "{sql}");
    }
}

#[test]
fn a_batch_is_settled_by_one_statement_whatever_the_verdicts_and_by_deletions_when_all_was_published() {
    let after = std::time::Duration::from_secs(1);
    let mixed = [
        Verdict::Complete,
        Verdict::Retry { after },
        Verdict::Bury,
        Verdict::Release { after },
    ];
    for (verdicts, run, idle) in [
        (mixed, SETTLE, COMPLETE_ONE),
        ([Verdict::Complete; 4], COMPLETE_ONE, SETTLE),
    ] {
        let (connection, overtaken) = settled(verdicts);
        assert_eq!(overtaken, [3, 4]);
        assert!(
            runs(&connection, run) > 0 && runs(&connection, idle) == 0,
            "{run}"
        );
    }
    let (connection, _) = settled(mixed);
    let mut rows = connection
        .prepare("SELECT state, failures, last_error FROM postbox_outbox WHERE seq <= 4 ORDER BY seq")
        .unwrap();
    let rows = rows
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap();
    let rows: Vec<(i64, i64, String)> = rows.map(Result::unwrap).collect();
    let error = || "it's \"odd\" \\ text".to_owned();
    assert_eq!(rows, [(0, 1, error()), (3, 0, error()), (1, 0, String::new())]);
}
