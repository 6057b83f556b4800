//! The stores that can be simulated, by name.

use std::sync::Arc;

use clap::ValueEnum;
use postbox::testing::VirtualClock;
use postbox_sqlite::{Execution, SqliteOptions, SqliteRepository};
use postbox_testkit::{Explorer, Faults, World};

use crate::heapless;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Store {
    /// In RAM.
    Hashmap,
    /// In RAM of a fixed size, streams beside it in a `HashMap`.
    Heapless,
    /// In memory, run inline.
    Sqlite,
}

impl Store {
    pub(crate) fn open(self, seed: u64, faults: Faults) -> World {
        match self {
            Self::Hashmap => World::new(seed, faults),
            Self::Heapless => World::over(seed, faults, heapless::open),
            Self::Sqlite => World::over(seed, faults, sqlite),
        }
    }

    pub(crate) fn explorer(self) -> Explorer {
        match self {
            Self::Hashmap => Explorer::new(),
            Self::Heapless => Explorer::new().over(heapless::open),
            Self::Sqlite => Explorer::new().over(sqlite),
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hashmap => "hashmap",
            Self::Heapless => "heapless",
            Self::Sqlite => "sqlite",
        }
    }
}

#[expect(
    clippy::expect_used,
    reason = "a database in memory opens, or nothing can be simulated"
)]
fn sqlite(clock: VirtualClock) -> SqliteRepository {
    SqliteOptions::memory()
        .with_execution(Execution::Inline)
        .with_clock(Arc::new(clock))
        .open()
        .expect("a database in memory opens")
}
