//! The PostgreSQL store passes every suite on a real server, in virtual time: prepared and not.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "in a suite a panic is the report"
)]

mod inline;
mod support;

use std::sync::Arc;

use postbox::store::OutboxOptions;
use postbox::testing::VirtualClock;
use postbox_tests::conformance::StoreHarness;

use inline::Inline;
use postbox_postgres::grants;
use support::{Place, RUNTIME, execute, role, roles};

/// A schema of a real server, and a clock in place of the server's.
struct Server {
    clock: VirtualClock,
    place: Place,
    kind: Kind,
}

/// What is special about it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Prepared,
    /// Values are written into the statements: what works behind any pooler.
    Literal,
    /// As the role that may publish and commit, and nothing else.
    Relay,
}

impl Server {
    /// `None` without a server: the suite says that it was skipped.
    fn find(kind: Kind) -> Option<Self> {
        let Ok(url) = std::env::var("POSTBOX_TEST_POSTGRES_URL") else {
            eprintln!("skipped: no POSTBOX_TEST_POSTGRES_URL; `cargo xtask test` starts a server");
            return None;
        };
        Some(Self {
            clock: VirtualClock::new(),
            place: Place::new(url),
            kind,
        })
    }
}

impl StoreHarness for Server {
    type Repository = Inline;

    fn open(&self, outbox: OutboxOptions) -> Inline {
        let options = self.place.options().with_clock(Arc::new(self.clock.clone()));
        let mut options = options.with_outbox(outbox);
        if self.kind == Kind::Literal {
            options = options.with_prepared(false);
        }
        let opened = RUNTIME.block_on(async {
            // One connection: a refused statement is answered before the server lets go of its locks, and another
            // connection could be there first, and find a message still held on to.
            let pool = self.place.pool(1).await;
            let owner = options.clone().open(pool).await.expect("a store");
            if self.kind != Kind::Relay {
                return owner;
            }
            roles(owner.pool()).await;
            let sql = grants(&self.place.names, &role("enqueue"), &role("relay"));
            execute(owner.pool(), sql).await;
            let pool = self.place.pool_as(1, &role("relay")).await;
            options.with_migrate(false).open(pool).await.expect("a store")
        });
        Inline(opened)
    }
    fn clock(&self) -> VirtualClock {
        self.clock.clone()
    }
    fn is_durable(&self) -> bool {
        true
    }
    fn reopen(&self, repository: Inline, options: OutboxOptions) -> Inline {
        drop(repository);
        self.open(options)
    }
    fn lapsed_keep_their_place(&self) -> bool {
        true
    }
    fn cases(&self) -> u32 {
        24
    }
}

mod outbox {
    postbox_tests::outbox_conformance!(match super::Server::find(super::Kind::Prepared) {
        Some(server) => server,
        None => return,
    });
}
mod repository {
    postbox_tests::repository_conformance!(match super::Server::find(super::Kind::Prepared) {
        Some(server) => server,
        None => return,
    });
}
mod model {
    #[test]
    fn random_histories_agree_with_the_model() {
        if super::Server::find(super::Kind::Prepared).is_some() {
            let make = || super::Server::find(super::Kind::Prepared).expect("it was there");
            postbox_tests::conformance::model::histories_agree(make);
        }
    }
}
/// Without prepared statements: what works behind any pooler.
mod unprepared {
    mod repository {
        postbox_tests::repository_conformance!(
            match super::super::Server::find(super::super::Kind::Literal) {
                Some(server) => server,
                None => return,
            }
        );
    }
    mod model {
        #[test]
        fn random_histories_agree_with_the_model() {
            if super::super::Server::find(super::super::Kind::Literal).is_some() {
                let make = || super::super::Server::find(super::super::Kind::Literal).expect("it was there");
                postbox_tests::conformance::model::histories_agree(make);
            }
        }
    }
}
/// As the role that publishes and commits.
mod relay {
    mod outbox {
        postbox_tests::outbox_conformance!(match super::super::Server::find(super::super::Kind::Relay) {
            Some(server) => server,
            None => return,
        });
    }
    mod repository {
        postbox_tests::repository_conformance!(match super::super::Server::find(super::super::Kind::Relay) {
            Some(server) => server,
            None => return,
        });
    }
}
