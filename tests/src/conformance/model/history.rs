//! What may happen to an outbox, and how often: the strategy that draws histories.

use std::time::Duration;

use postbox::claim::Verdict;
use postbox::store::DeadPolicy;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Settings of a store, and what happens to it.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) retention: Option<u64>,
    pub(super) dead: DeadPolicy,
    pub(super) max_abandoned: u32,
    pub(super) steps: Vec<Step>,
}

/// One thing that happens. Times are in milliseconds. A pick counts from the latest, around in a circle:
/// small ones mean what happened last.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Messages by key and delay; claimed at birth by this worker for so long.
    Commit {
        messages: Vec<(Option<u8>, u64)>,
        birth: Option<(u64, u64)>,
    },
    /// The id of a message that was committed before, beside a new one.
    Duplicate {
        pick: usize,
    },
    Claim {
        worker: u64,
        limit: usize,
        lease: u64,
    },
    ClaimIds {
        worker: u64,
        picks: Vec<usize>,
        limit: usize,
        lease: u64,
    },
    /// Of any claims that were ever granted, stale ones too.
    Renew {
        picks: Vec<usize>,
        lease: u64,
    },
    Settle {
        picks: Vec<(usize, Verdict)>,
    },
    Advance {
        millis: u64,
    },
    Requeue {
        picks: Vec<usize>,
    },
    Purge {
        limit: usize,
    },
    /// All holders forget their claims; a durable store is opened again.
    Crash,
}

pub(super) fn histories() -> impl Strategy<Value = History> {
    let retention = option::of(select(vec![0, 500, 5_000]));
    let dead = select(vec![DeadPolicy::Skip, DeadPolicy::Block]);
    (retention, dead, 1_u32..4, vec(step(), 20..80)).prop_map(|(retention, dead, max_abandoned, steps)| {
        History {
            retention,
            dead,
            max_abandoned,
            steps,
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let birth = option::weighted(0.4, (worker(), lease()));
    let message = (option::weighted(0.7, 0_u8..3), delay());
    prop_oneof![
        5 => (vec(message, 1..4), birth).prop_map(|(messages, birth)| Step::Commit { messages, birth }),
        1 => pick().prop_map(|pick| Step::Duplicate { pick }),
        6 => (worker(), 1_usize..5, lease()).prop_map(|(worker, limit, lease)| Step::Claim { worker, limit, lease }),
        3 => (worker(), picks(), 1_usize..5, lease())
            .prop_map(|(worker, picks, limit, lease)| Step::ClaimIds { worker, picks, limit, lease }),
        2 => (picks(), lease()).prop_map(|(picks, lease)| Step::Renew { picks, lease }),
        7 => vec((pick(), verdict()), 1..4).prop_map(|picks| Step::Settle { picks }),
        5 => select(vec![1, 299, 300, 899, 900, 2_000, 30_000]).prop_map(|millis| Step::Advance { millis }),
        2 => picks().prop_map(|picks| Step::Requeue { picks }),
        1 => (1_usize..4).prop_map(|limit| Step::Purge { limit }),
        1 => Just(Step::Crash),
    ]
}

fn worker() -> impl Strategy<Value = u64> {
    1_u64..4
}

fn lease() -> impl Strategy<Value = u64> {
    select(vec![300, 900, 30_000])
}

fn delay() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0), 1 => select(vec![1, 300, 2_000])]
}

fn pick() -> impl Strategy<Value = usize> {
    prop_oneof![3 => 0_usize..4, 1 => 0_usize..60]
}

fn picks() -> impl Strategy<Value = Vec<usize>> {
    vec(pick(), 1..5)
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let after = || select(vec![0, 1, 300, 2_000]).prop_map(Duration::from_millis);
    prop_oneof![
        3 => Just(Verdict::Complete),
        2 => after().prop_map(|after| Verdict::Retry { after }),
        1 => after().prop_map(|after| Verdict::Release { after }),
        2 => Just(Verdict::Bury),
    ]
}
