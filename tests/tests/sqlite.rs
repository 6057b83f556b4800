//! The SQLite store passes every suite: in memory, and on a file that is closed and opened again.
#![allow(clippy::expect_used)] // In a suite a panic is the report.

use std::sync::Arc;

use postbox::store::OutboxOptions;
use postbox::testing::VirtualClock;
use postbox_sqlite::{Execution, SqliteOptions, SqliteRepository, Synchronous};
use postbox_tests::conformance::StoreHarness;
use tempfile::TempDir;

#[derive(Default)]
struct Memory(VirtualClock);

impl StoreHarness for Memory {
    type Repository = SqliteRepository;

    fn open(&self, options: OutboxOptions) -> SqliteRepository {
        open(SqliteOptions::memory(), &self.0, options)
    }
    fn clock(&self) -> VirtualClock {
        self.0.clone()
    }
    fn cases(&self) -> u32 {
        96
    }
}

/// A file, without waiting for the disk: what the disk does is not what these suites are about.
struct File {
    clock: VirtualClock,
    folder: TempDir,
}

impl Default for File {
    fn default() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        Self {
            clock: VirtualClock::default(),
            folder,
        }
    }
}

impl StoreHarness for File {
    type Repository = SqliteRepository;

    fn open(&self, options: OutboxOptions) -> SqliteRepository {
        let file = SqliteOptions::file(self.folder.path().join("test.db"));
        open(file.with_synchronous(Synchronous::Normal), &self.clock, options)
    }
    fn clock(&self) -> VirtualClock {
        self.clock.clone()
    }
    fn is_durable(&self) -> bool {
        true
    }
    fn reopen(&self, repository: SqliteRepository, options: OutboxOptions) -> SqliteRepository {
        drop(repository);
        self.open(options)
    }
    fn cases(&self) -> u32 {
        32
    }
}

fn open(store: SqliteOptions, clock: &VirtualClock, options: OutboxOptions) -> SqliteRepository {
    store
        .with_clock(Arc::new(clock.clone()))
        .with_execution(Execution::Inline)
        .with_outbox(options)
        .open()
        .expect("the store opens")
}

mod memory {
    mod outbox {
        postbox_tests::outbox_conformance!(super::super::Memory::default());
    }
    mod repository {
        postbox_tests::repository_conformance!(super::super::Memory::default());
    }
    mod model {
        postbox_tests::model_conformance!(super::super::Memory::default());
    }
}

mod file {
    mod outbox {
        postbox_tests::outbox_conformance!(super::super::File::default());
    }
    mod repository {
        postbox_tests::repository_conformance!(super::super::File::default());
    }
    mod model {
        postbox_tests::model_conformance!(super::super::File::default());
    }
}
