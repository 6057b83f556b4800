//! Migrations, versions, names, and who may do what.

use postbox::store::{DeadPolicy, HasOutboxStore, OutboxOperator, OutboxOptions};
use postbox_postgres::sqlx::postgres::PgPoolOptions;
use postbox_postgres::sqlx::{self, AssertSqlSafe};
use postbox_postgres::{Identifier, Names, PostgresError, PostgresOptions, grants, migrations};

use crate::support::*;

#[test]
fn a_newer_schema_is_refused_with_both_versions_and_nothing_is_touched() {
    on_server(async |url| {
        let place = Place::new(url);
        let repository = place.open().await;
        execute(
            repository.pool(),
            place.sql("INSERT INTO {}.schema_version VALUES (99, 'later')"),
        )
        .await;
        let refused = place.options().open(place.pool(1).await).await;
        let known = u32::try_from(migrations().len()).unwrap();
        let (found, supported) = match refused {
            Err(PostgresError::SchemaTooNew { found, supported }) => (found, supported),
            other => panic!("{other:?}"),
        };
        assert_eq!((found, supported), (99, known));
    });
}

#[test]
fn without_migrating_an_old_or_missing_schema_is_refused() {
    on_server(async |url| {
        let place = Place::new(url);
        let refused = place
            .options()
            .with_migrate(false)
            .open(place.pool(1).await)
            .await;
        assert!(
            matches!(
                refused,
                Err(PostgresError::SchemaTooOld {
                    found: 0,
                    needed: 5..
                })
            ),
            "{refused:?}"
        );
        place.open().await;
        place
            .options()
            .with_migrate(false)
            .open(place.pool(1).await)
            .await
            .unwrap();
    });
}

#[test]
fn many_programs_may_migrate_at_once() {
    on_server(async |url| {
        let place = Place::new(url);
        let opening: Vec<_> = (0..8)
            .map(|_| {
                let (options, url) = (place.options(), place.url.clone());
                tokio::spawn(async move { options.connect(&url).await.map(drop) })
            })
            .collect();
        for opened in opening {
            opened.await.unwrap().unwrap();
        }
    });
}

#[test]
fn several_outboxes_live_side_by_side_in_one_schema() {
    on_server(async |url| {
        let place = Place::new(url);
        let mut stores = Vec::new();
        for prefix in ["orders_", "select_", "a_prefix_of_forty_bytes_is_the_longest_"] {
            let names = place
                .names
                .clone()
                .with_prefix(Identifier::new(prefix).unwrap())
                .unwrap();
            let options = PostgresOptions::new().with_names(names);
            stores.push(place.open_with(options).await);
        }
        for (n, repository) in stores.iter().enumerate() {
            use postbox::aggregate::Repository;
            // The same id and key everywhere: they have nothing to do with each other.
            repository
                .commit(batch(vec![keyed("m", "k"), message(&n.to_string())]))
                .await
                .unwrap();
            let held = claim(&repository.outbox_store(), A, 9).await;
            assert_eq!(ids(&held), ["m", &n.to_string()]);
        }
        let long = Identifier::new("p".repeat(41)).unwrap();
        assert!(place.names.clone().with_prefix(long).is_err());
    });
}

#[test]
fn a_pool_with_old_snapshots_is_refused() {
    on_server(async |url| {
        let place = Place::new(url);
        let connect: sqlx::postgres::PgConnectOptions = place.url.parse().unwrap();
        let connect = connect.options([("default_transaction_isolation", "serializable")]);
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect_with(connect)
            .await
            .unwrap();
        let refused = place.options().open(pool).await;
        assert!(matches!(refused, Err(PostgresError::Isolation { found }) if found == "serializable"));
    });
}

#[test]
fn the_dead_letter_policy_of_the_latest_opening_goes_for_messages_that_are_dead_already() {
    on_server(async |url| {
        use postbox::aggregate::Repository;
        use postbox::claim::Verdict;
        use postbox::store::{ClaimedMessage, OutboxStore};
        let place = Place::new(url);
        let open = async |dead| {
            let outbox = OutboxOptions::new().with_dead_policy(dead);
            place.open_with(place.options().with_outbox(outbox)).await
        };
        let skip = open(DeadPolicy::Skip).await;
        skip.commit(batch(vec![keyed("k1", "k"), keyed("k2", "k"), keyed("k3", "k")]))
            .await
            .unwrap();
        let store = skip.outbox_store();
        let held = claim(&store, A, 1).await;
        store
            .settle(&[settlement(held[0].claim(), Verdict::Bury)])
            .await
            .unwrap();
        let blocking = open(DeadPolicy::Block).await.outbox_store();
        assert!(claim(&blocking, A, 9).await.is_empty(), "k1 is in the way again");
        let store = open(DeadPolicy::Skip).await.outbox_store();
        assert_eq!(ids(&claim(&store, A, 9).await), ["k2"]);
        assert_eq!(store.counts().await.unwrap().dead, 1);
    });
}

#[test]
fn a_role_that_enqueues_can_do_nothing_else() {
    on_server(async |url| {
        let place = Place::new(url);
        let owner = place.open().await;
        roles(owner.pool()).await;
        let sql = grants(&place.names, &role("enqueue"), &role("relay"));
        execute(owner.pool(), sql).await;
        let pool = place.pool_as(1, &role("enqueue")).await;
        let run = async |sql: &str| {
            let sql = AssertSqlSafe(place.sql(sql));
            sqlx::raw_sql(sql).execute(&pool).await
        };
        run("SELECT {}.enqueue('f', 'n', '', key => 'k')").await.unwrap();
        run("INSERT INTO {}.outbox (id, name, key, payload) VALUES ('i', 'n', 'k', '')")
            .await
            .unwrap();
        let mut transaction = pool.begin().await.unwrap();
        let _ = owner
            .outbox_store()
            .enqueue(&mut transaction, &[message("m")], None)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        for forbidden in [
            "SELECT * FROM {}.outbox",
            "UPDATE {}.outbox SET due = now()",
            "DELETE FROM {}.outbox",
            "INSERT INTO {}.outbox (id, name, payload, attempt) VALUES ('x', 'n', '', 7)",
            "SELECT * FROM {}.claim(1, 1, 1, 1, NULL, false, NULL)",
            "SELECT {}.set_dead_policy(true)",
            "SELECT * FROM {}.events",
            "CREATE TABLE {}.mine ()",
        ] {
            let refused = run(forbidden).await.expect_err(forbidden);
            assert_eq!(
                state(&refused).as_deref(),
                Some("42501"),
                "{forbidden}: {refused}"
            );
        }
        assert_eq!(owner.outbox_store().counts().await.unwrap().pending, 3);
        assert_eq!(ids(&claim(&owner.outbox_store(), A, 9).await), ["f", "m"]);
    });
}

#[test]
fn a_role_that_relays_stores_no_message_by_itself() {
    on_server(async |url| {
        let place = Place::new(url);
        let owner = place.open().await;
        roles(owner.pool()).await;
        let sql = grants(&place.names, &role("enqueue"), &role("relay"));
        execute(owner.pool(), sql).await;
        let pool = place.pool_as(1, &role("relay")).await;
        for forbidden in [
            "INSERT INTO {}.outbox (id, name, payload) VALUES ('x', 'n', '')",
            "UPDATE {}.outbox SET payload = ''",
            "UPDATE {}.outbox SET key = NULL",
            "TRUNCATE {}.outbox",
            "CREATE TABLE {}.mine ()",
        ] {
            let sql = AssertSqlSafe(place.sql(forbidden));
            let refused = sqlx::raw_sql(sql).execute(&pool).await.expect_err(forbidden);
            assert_eq!(
                state(&refused).as_deref(),
                Some("42501"),
                "{forbidden}: {refused}"
            );
        }
    });
}

#[test]
fn the_database_refuses_a_state_whose_columns_contradict_each_other() {
    on_server(async |url| {
        let place = Place::new(url);
        let owner = place.open().await;
        let run = async |sql: &str| {
            let sql = AssertSqlSafe(place.sql(sql));
            sqlx::raw_sql(sql).execute(owner.pool()).await
        };
        run("INSERT INTO {}.outbox (id, name, payload) VALUES ('m', 'n', '')")
            .await
            .unwrap();
        for wrong in [
            "outcome = 'published'",
            "settled_at = now()",
            "lease_until = now()",
            "holds = false",
            "outcome = 'dead', settled_at = now(), attempt = 1, lease_until = now()",
        ] {
            let refused = run(&format!("UPDATE {{}}.outbox SET {wrong}"))
                .await
                .expect_err(wrong);
            assert_eq!(state(&refused).as_deref(), Some("23514"), "{wrong}: {refused}");
        }
    });
}

#[test]
fn names_that_are_no_identifiers_never_reach_the_database() {
    for bad in [
        "",
        "a-b",
        "A",
        "1a",
        "a b",
        "a\"b",
        "a;b",
        "é",
        "a.b",
        &"a".repeat(64),
    ] {
        assert!(Identifier::new(bad).is_err(), "{bad:?}");
    }
    let names = Names::new(Identifier::new("order").unwrap());
    assert_eq!(names.fill("{schema}.{prefix}outbox"), "\"order\".outbox");
}

/// The `SQLSTATE` of what the database said.
fn state(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error()?.code()
}
