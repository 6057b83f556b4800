//! Random histories, run over a store and over a model that is too simple to be wrong; everything is compared
//! after every step.
//!
//! The model is a vector of [`Entry`](postbox::claim::Entry) and linear scans. A failing history shrinks to a
//! short one; its seed is printed, and `POSTBOX_SEED=<seed>` repeats it. `POSTBOX_CASES` sets how many
//! histories are tried.

mod compare;
mod history;
mod reference;
mod walk;

use std::hash::{BuildHasher, RandomState};

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

use super::StoreHarness;
use history::History;

/// Runs random histories over stores that `make` makes. What [`model_conformance!`](crate::model_conformance)
/// calls.
pub fn histories_agree<H: StoreHarness>(make: impl Fn() -> H) {
    let seed = setting("POSTBOX_SEED").unwrap_or_else(|| RandomState::new().hash_one(()));
    let cases = setting("POSTBOX_CASES").and_then(|cases| u32::try_from(cases).ok());
    let config = Config {
        cases: cases.unwrap_or_else(|| make().cases()),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 4_000,
        ..Config::default()
    };
    eprintln!("POSTBOX_SEED={seed} repeats these {} histories", config.cases);
    let outcome = TestRunner::new(config).run(&history::histories(), |history: History| {
        let harness = make();
        let mut result = Ok(());
        super::run(&harness.clock(), async {
            result = walk::walk(&harness, &history).await;
        });
        result.map_err(TestCaseError::fail)
    });
    if let Err(error) = outcome {
        panic!("POSTBOX_SEED={seed} repeats this: {error}");
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
