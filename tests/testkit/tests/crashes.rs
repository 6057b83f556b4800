//! The scenarios of the engines, broken off at every await.
#![allow(clippy::panic, missing_docs, reason = "a panic is the report")]

use postbox_testkit::{Explorer, SCENARIOS};

#[test]
fn every_scenario_survives_a_crash_a_failing_store_and_a_panic_anywhere() {
    for scenario in SCENARIOS {
        match Explorer::new().with_storms(20).explore(scenario.fill) {
            Ok(explored) => println!("{}: {explored}", scenario.name),
            Err(failure) => panic!("{}: {failure}", scenario.name),
        }
    }
}
