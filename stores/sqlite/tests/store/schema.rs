//! Migrations, versions, and rows that other programs write.

use postbox::aggregate::Repository;
use postbox::claim::Status;
use postbox::store::{ClaimedMessage, HasOutboxStore, OutboxOperator, OutboxOptions, OutboxStore};
use postbox_sqlite::rusqlite::Connection;
use postbox_sqlite::{SqliteError, SqliteOptions, SqliteRepository, migrate, migrations};

use crate::common::*;

#[test]
fn a_newer_schema_is_refused_with_both_versions_and_nothing_is_touched() {
    let folder = Folder::new();
    drop(SqliteRepository::open(folder.file()).unwrap());
    let file = Connection::open(folder.file()).unwrap();
    file.execute(
        "INSERT INTO postbox_schema (version, name) VALUES (77, 'tomorrow')",
        [],
    )
    .unwrap();
    let error = SqliteRepository::open(folder.file()).unwrap_err();
    let SqliteError::SchemaTooNew { found: 77, supported } = error else {
        panic!("{error}");
    };
    assert_eq!(supported, migrations().last().unwrap().version);
    let text = error.to_string();
    assert!(
        text.contains("77") && text.contains(&supported.to_string()),
        "{text}"
    );
    file.execute("DELETE FROM postbox_schema WHERE version = 77", [])
        .unwrap();
    SqliteRepository::open(folder.file()).unwrap();
}

#[test]
fn an_older_schema_is_brought_forward() {
    let folder = Folder::new();
    let file = Connection::open(folder.file()).unwrap();
    file.execute_batch("CREATE TABLE postbox_schema (version INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        .unwrap();
    file.execute_batch(migrations()[0].sql).unwrap();
    file.execute("INSERT INTO postbox_schema VALUES (1, 'outbox')", [])
        .unwrap();
    file.execute(
        "INSERT INTO postbox_outbox (id, name, payload) VALUES ('m-1', 'old', x'00')",
        [],
    )
    .unwrap();
    let bench = Bench::with(SqliteOptions::file(folder.file()), OutboxOptions::new());
    assert!(block_on(bench.store.find("m-1")).unwrap().is_some());
    assert_eq!(version(&bench.repository, "s").unwrap(), 0);
}

#[test]
fn many_may_open_a_new_file_at_once() {
    let folder = Folder::new();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let file = folder.file();
            scope.spawn(move || {
                let repository = SqliteRepository::open(file).unwrap();
                let id = format!("s{n}");
                block_on(repository.commit(step(&id, 0))).unwrap();
            });
        }
    });
    let repository = SqliteRepository::open(folder.file()).unwrap();
    for n in 0..8 {
        assert_eq!(version(&repository, &format!("s{n}")).unwrap(), 1);
    }
}

#[test]
fn migrations_are_numbered_without_gaps_and_can_be_run_on_any_connection() {
    for (step, version) in migrations().iter().zip(1..) {
        assert_eq!(step.version, version);
        assert!(step.sql.contains("CREATE TABLE"));
    }
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection).unwrap();
    migrate(&mut connection).unwrap();
}

#[test]
fn rows_that_another_program_inserts_are_claimed_in_order() {
    let folder = Folder::new();
    let store = SqliteRepository::open(folder.file()).unwrap().outbox_store();
    let other = Connection::open(folder.file()).unwrap();
    other
        .execute_batch(
            "INSERT INTO postbox_outbox (id, name, key, payload) VALUES
               ('a-1', 'thing.done', 'a', CAST('{}' AS BLOB)), ('a-2', 'thing.done', 'a', x'7b7d');
             INSERT INTO postbox_outbox (id, name, kind, payload) VALUES ('c', 'thing.do', 'command', x'');",
        )
        .unwrap();
    let request = due(A, 10);
    let batch = block_on(store.claim(&request)).unwrap();
    assert_eq!(ids(&batch), ["a-1", "c"]);
    assert_eq!(batch[0].message().payload, b"{}");
    // An operator's DELETE frees the key as a settlement would.
    other
        .execute("DELETE FROM postbox_outbox WHERE id = 'a-1'", [])
        .unwrap();
    let batch = block_on(store.claim(&request)).unwrap();
    assert_eq!(ids(&batch), ["a-2"]);
    assert_eq!(block_on(store.messages(Status::InFlight, 10)).unwrap().len(), 2);
}

#[test]
fn rows_that_contradict_themselves_are_refused_by_the_table() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection).unwrap();
    let insert = |columns: &str, values: &str| {
        let sql =
            format!("INSERT INTO postbox_outbox (name, payload, {columns}) VALUES ('n', x'', {values})");
        connection.execute(&sql, [])
    };
    assert!(insert("id", "'fine'").is_ok());
    assert!(insert("id", "'fine'").is_err(), "taken");
    assert!(insert("id", "''").is_err(), "no id");
    assert!(insert("id, kind", "'m', 'rumour'").is_err());
    assert!(
        insert("id, state", "'m', 1").is_err(),
        "in flight without an attempt"
    );
    assert!(insert("id, state", "'m', 3").is_err(), "dead without a time");
    assert!(insert("id, due", "'m', 'soon'").is_err(), "text for a time");
}
