//! What makes tests of the checks: a macro a suite. Every check is listed here, which a test sees to.

/// Makes a `#[test]` of each check of [`outbox`](crate::conformance::outbox): put it into a module of its own.
///
/// ```ignore
/// mod outbox {
///     postbox_tests::outbox_conformance!(super::Mine::default());
/// }
/// ```
#[macro_export]
macro_rules! outbox_conformance {
    ($harness:expr) => {
        $crate::__conformance! { $harness, outbox:
            a_claim_has_one_winner_among_many_workers
            the_oldest_are_claimed_first_and_returned_in_commit_order
            what_was_due_first_is_claimed_first
            a_claim_carries_the_message_as_it_was_committed
            the_age_of_a_message_counts_from_its_commit
            claims_by_id_skip_what_is_not_free
            claims_by_id_keep_to_the_limit_and_to_commit_order
            claims_take_no_more_than_their_limit
            leases_of_900_ms_never_overlap
            a_stale_settlement_is_refused_and_named_and_the_rest_is_settled
            a_lapsed_claim_that_nobody_overtook_still_settles
            a_lapsed_claim_that_nobody_overtook_still_renews
            a_renewal_never_shortens_a_lease
            an_overtaken_claim_does_not_renew
            a_worker_is_fenced_off_from_its_own_earlier_claim
            a_claim_settles_once
            an_abandoned_message_ends_dead_with_a_reason
            a_buried_message_uses_up_a_place_of_the_claim
            a_retry_is_honoured_to_the_millisecond
            a_release_counts_no_failure
            a_release_without_a_pause_is_free_at_once
            a_burial_keeps_its_reason
            an_empty_reason_keeps_the_earlier_one
            requeue_raises_a_fence_that_no_earlier_holder_passes
            requeue_leaves_all_but_the_dead_alone
            a_failing_head_blocks_its_key_and_no_other
            a_claim_never_holds_two_messages_of_one_key
            a_delayed_head_blocks_its_key
            a_lapsed_head_still_blocks_its_key
            a_dead_head_lets_its_key_go_on_by_default
            a_dead_head_blocks_its_key_if_told_to
            a_requeued_message_goes_before_the_later_ones_of_its_key
            a_message_overtaken_by_a_requeue_still_settles
            several_workers_keep_the_order_of_every_key
            a_message_is_born_claimed_when_it_is_due_and_the_head
            a_delayed_message_is_born_pending
            of_two_messages_of_one_key_only_the_first_is_born_claimed
            a_message_behind_a_dead_one_is_born_as_the_policy_says
            the_lease_of_a_birth_starts_at_the_commit
            a_birth_is_settled_like_any_claim
            without_a_retention_a_published_message_is_gone
            published_messages_are_purged_in_bounded_bites
            a_purge_takes_nothing_but_what_was_published_long_ago
            an_id_is_taken_as_long_as_its_message_is_kept
            counts_listings_and_look_ups_agree
            a_reopened_store_has_everything_it_had
            a_reopened_store_that_keeps_no_claims_has_every_message_pending
            a_commit_rings
            a_commit_that_is_born_claimed_frees_nothing_to_wait_for
            settling_the_head_rings_for_the_next
            what_becomes_free_again_rings
            what_will_be_free_rings
            the_next_due_time_is_told
            published_messages_do_not_slow_a_claim
            dead_messages_do_not_slow_a_claim
            blocked_messages_do_not_slow_a_claim
            leased_and_delayed_messages_do_not_slow_a_claim
        }
    };
}

/// Makes a `#[test]` of each check of [`repository`](crate::conformance::repository); use as
/// [`outbox_conformance!`].
#[macro_export]
macro_rules! repository_conformance {
    ($harness:expr) => {
        $crate::__conformance! { $harness, repository:
            a_stream_is_loaded_in_order_whole_or_in_part
            a_stream_without_events_does_not_exist
            of_two_writers_on_one_version_one_loses
            a_commit_stores_all_its_parts
            a_concurrent_write_stores_nothing
            a_duplicate_message_stores_nothing
            a_duplicate_receipt_stores_nothing
            a_stream_written_twice_stores_nothing
            a_message_given_twice_stores_nothing
            a_receipt_given_twice_stores_nothing
            a_payload_over_the_limit_stores_nothing
            metadata_is_kept
            any_bytes_are_kept
            unicode_and_long_ids_are_kept_apart
            writers_on_distinct_streams_all_succeed
            a_reopened_repository_has_everything_it_had
            an_aggregate_comes_back_as_it_was_committed
            a_refused_commit_keeps_the_aggregates_new_events
            a_bad_aggregate_id_stores_nothing
            several_aggregates_are_committed_together
            messages_carry_the_aggregate_as_source_and_key
            old_events_are_upcast_in_a_chain
            events_that_do_not_decode_are_typed_errors
            a_snapshot_is_read_first_and_then_only_the_tail
            a_foreign_snapshot_is_ignored
            a_snapshot_of_a_newer_shape_is_ignored
            a_snapshot_newer_than_the_stream_is_ignored
            a_corrupt_snapshot_is_ignored
            a_locked_stream_is_served_first_come_first_served
            locks_of_distinct_streams_do_not_wait
            a_lock_is_freed_when_the_aggregate_is_dropped
            a_lock_is_freed_when_the_aggregate_is_committed
            a_lock_is_freed_when_there_is_nothing_to_load
            a_lock_is_freed_on_an_error
            a_lock_is_freed_on_a_rejected_commit
            a_lock_is_freed_on_a_panic
            a_cancelled_wait_leaves_the_queue
        }
    };
}

/// Makes a `#[test]` of the [`model`](crate::conformance::model) comparison; use as
/// [`outbox_conformance!`]. The harness is made anew for every history.
#[macro_export]
macro_rules! model_conformance {
    ($harness:expr) => {
        #[test]
        fn random_histories_agree_with_the_model() {
            $crate::conformance::model::histories_agree(|| $harness);
        }
    };
}

/// Makes a `#[test]` of each check of [`timer`](crate::conformance::timer); the harness is a
/// [`TimerHarness`](crate::conformance::timer::TimerHarness).
#[macro_export]
macro_rules! timer_conformance {
    ($harness:expr) => {
        $crate::__timer_conformance! { $harness;
            a_sleep_never_ends_early
            a_deadline_in_the_past_resolves_at_once
            sleeps_end_in_the_order_of_their_deadlines
            a_dropped_sleep_is_gone
            a_sleep_that_is_polled_again_keeps_its_deadline
            time_does_not_go_back
            the_latest_deadline_does_not_overflow
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance {
    ($harness:expr, $suite:ident: $($check:ident)*) => { $(
        #[test]
        fn $check() {
            let harness = $harness;
            let clock = $crate::conformance::StoreHarness::clock(&harness);
            $crate::conformance::run(&clock, $crate::conformance::$suite::$check(&harness));
        }
    )* };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __timer_conformance {
    ($harness:expr; $($check:ident)*) => { $(
        #[test]
        fn $check() {
            let harness = $harness;
            $crate::conformance::timer::TimerHarness::run(&harness, $crate::conformance::timer::$check(&harness));
        }
    )* };
}

/// Makes a `#[test]` of each check of [`bus`](crate::conformance::bus): put it into a module of its own.
#[macro_export]
macro_rules! bus_conformance {
    ($harness:expr) => {
        $crate::bus_conformance!(@checks $harness;
            a_command_goes_to_exactly_one_listener
            a_command_waits_for_a_listener
            an_event_comes_once_to_every_group
            nothing_is_replayed_to_a_group_that_returns
            what_is_not_settled_comes_again_with_a_count
            dead_letters_and_parked_messages_do_not_come_again
            a_waiting_consumer_is_woken
            a_message_arrives_as_it_was_sent
        );
    };
    (@checks $harness:expr; $($check:ident)*) => { $(
        #[test]
        fn $check() {
            let harness = $harness;
            let bus = $crate::conformance::bus::BusHarness::bus(&harness);
            $crate::conformance::bus::BusHarness::run(&harness, $crate::conformance::bus::$check(&bus));
        }
    )* };
}

#[cfg(test)]
mod tests {
    /// Every file with checks.
    const SUITES: &[&str] = &[
        include_str!("bus.rs"),
        include_str!("outbox/births.rs"),
        include_str!("outbox/claiming.rs"),
        include_str!("outbox/failures.rs"),
        include_str!("outbox/hints.rs"),
        include_str!("outbox/keeping.rs"),
        include_str!("outbox/leases.rs"),
        include_str!("outbox/order.rs"),
        include_str!("outbox/scale.rs"),
        include_str!("repository/aggregates.rs"),
        include_str!("repository/commits.rs"),
        include_str!("repository/locks.rs"),
        include_str!("repository/refusals.rs"),
        include_str!("repository/snapshots.rs"),
        include_str!("repository/values.rs"),
        include_str!("timer.rs"),
    ];

    #[test]
    fn no_check_is_missing_from_the_macros() {
        let listed: Vec<&str> = include_str!("macros.rs").lines().map(str::trim).collect();
        let names = SUITES
            .iter()
            .flat_map(|suite| suite.lines())
            .filter_map(|line| line.strip_prefix("pub async fn ")?.split(['<', '(']).next());
        let missing: Vec<&str> = names.filter(|name| !listed.contains(name)).collect();
        assert!(missing.is_empty(), "not run by any macro: {missing:?}");
    }
}
