//! One suite for all executors: the same timers, backstops, handles and services on tokio, smol, async-std and
//! embassy (on its std platform).
//!
//! Tokio runs it in its own paused time, embassy in that of its mock driver: there nothing may be late either. Smol and
//! async-std have real clocks only: both sleep by async-io, whose reactor asks the operating system for the time and for
//! its waits, and has no clock to put in its place. There every wait is bounded below by what was promised, and above by
//! patience alone, ten minutes, so that a slow machine makes the suite slower and not wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)] // In a suite a panic is the report.

#[path = "adapters/engine.rs"]
mod engine;
#[path = "adapters/hosts.rs"]
mod hosts;
#[path = "adapters/parts.rs"]
mod parts;
#[path = "adapters/service.rs"]
mod service;

macro_rules! suite {
    ($($executor:ident: $host:ty;)*) => { $(
        mod $executor {
            postbox_tests::timer_conformance!(<$host>::default());

            suite! { @checks $host, engine:
                an_idle_backstop_sleeps_between_its_polls
                a_full_batch_loops_at_once
                store_errors_back_off_and_reset
                a_hint_wakes_long_before_the_poll
                stop_finishes_what_is_in_hand_and_takes_nothing_new
                a_stop_that_takes_too_long_drops_the_task_and_loses_nothing
                a_dropped_handle_stops_gracefully_and_leaves_no_task
                a_stop_that_is_given_up_still_stops
                a_refused_setting_is_what_stop_returns
            }
            suite! { @checks $host, service:
                a_service_commits_publishes_and_handles_over_hashmap
                a_service_commits_publishes_and_handles_over_sqlite
            }
        }
    )* };
    (@checks $host:ty, $module:ident: $($check:ident)*) => { $(
        #[test]
        fn $check() {
            <$host as crate::hosts::Host>::run(crate::$module::$check::<$host>);
        }
    )* };
}

suite! {
    tokio: crate::hosts::Tokio;
    smol: crate::hosts::Smol;
    async_std: crate::hosts::AsyncStd;
    embassy: crate::hosts::Embassy;
}
