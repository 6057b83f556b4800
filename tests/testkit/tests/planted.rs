//! Every planted bug is found, by the checker whose business it is, within a thousand seeds.
#![allow(clippy::panic, missing_docs, reason = "a panic is the report")]

use postbox_testkit::{Promise, Sabotage, World, world_of};

const SEEDS: u64 = 1_000;

/// The first seed in whose world the bug breaks this promise.
fn found(bug: Sabotage, promise: Promise) -> u64 {
    for seed in 0..SEEDS {
        let outcome = world_of(seed, Some(bug), World::new);
        if outcome
            .violations
            .iter()
            .any(|violation| violation.promise == promise)
        {
            println!("{bug:?} breaks {promise:?}: seed {seed}");
            return seed;
        }
    }
    panic!("{bug:?} breaks {promise:?}, and {SEEDS} seeds did not show it");
}

macro_rules! planted {
    ($($name:ident: $bug:ident breaks $promise:ident)*) => {
        $(
            #[test]
            fn $name() {
                found(Sabotage::$bug, Promise::$promise);
            }
        )*

        #[test]
        fn every_bug_has_a_test_here() {
            let tested = [$(Sabotage::$bug),*];
            for bug in Sabotage::ALL {
                assert!(tested.contains(bug), "{bug:?} is planted nowhere");
            }
        }
    };
}

planted! {
    a_message_that_is_settled_unsent_is_missed: SaysPublishedUnsent breaks Lost
    a_message_that_is_forgotten_by_the_commit_is_missed: CommitsWithoutItsMessage breaks Lost
    a_message_that_is_sent_before_the_commit_is_seen: PublishesBeforeTheCommit breaks NotCommitted
    a_settlement_without_fence_is_seen: SettlesWithoutFence breaks Unfenced
    a_stale_write_is_seen: SettlesWhatNobodyHolds breaks StaleWrite
    a_holder_that_is_refused_is_seen: RefusesTheHolder breaks HolderRefused
    a_live_lease_that_is_stolen_is_seen: CutsLeases breaks Stolen
    a_broken_order_is_seen: IgnoresKeys breaks Order
    a_duplicate_without_a_cause_is_seen: SendsTwice breaks Duplicate
    attempts_burnt_by_an_outage_are_seen: CountsOutages breaks AttemptsBurnt
    a_committed_command_that_is_reported_as_failed_is_seen: ReportsCommitsAsFailed breaks FailedThoughCommitted
    an_effect_that_comes_twice_is_seen: ForgetsReceipts breaks EffectTwice
    an_effect_that_never_comes_is_seen: InventsReceipts breaks NoEffect
    a_message_that_is_never_tried_again_is_waited_for: NeverTriesAgain breaks NotInTime
    a_claim_over_its_limit_is_seen: ClaimsTooMany breaks Limit
    a_message_that_is_tried_for_ever_is_seen: NeverGivesUp breaks Limit
    a_publish_after_the_lease_is_seen: SlowsClocks breaks PastItsLease
    a_lease_that_lapses_without_need_is_seen: ForgetsSettlements breaks LetLapse
    a_node_that_does_not_stop_is_seen: IgnoresStops breaks DidNotStop
}

#[test]
fn without_a_planted_bug_nothing_is_found() {
    for seed in 0..300 {
        let outcome = world_of(seed, None, World::new);
        let timeline = || format!("seed {seed}: {:?}\n{}", outcome.violations, outcome.timeline());
        assert!(outcome.violations.is_empty(), "{}", timeline());
    }
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in 0..50 {
        let outcome = || world_of(seed, None, World::new);
        assert_eq!(outcome().history, outcome().history, "seed {seed}");
    }
}
