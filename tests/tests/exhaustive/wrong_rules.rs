//! Rules that are wrong, each in one way, and what the search finds.

use std::time::Duration;

use postbox::claim::{Claiming, Entry, Fence, Overtaken, State, Verdict};
use postbox::id::WorkerId;
use postbox_tests::exhaustive::{Core, NOW, Protocol, Rules, Setting, World, search};

/// What a wrong rule leads to first, which is printed.
fn caught(rules: impl Rules) -> String {
    let protocol = Protocol::new(Setting::one_key(2), rules);
    let found = search(&protocol, |_, _, _| None).expect_err("a wrong rule holds");
    println!("{}\n{}", found.what, protocol.tell(&found.history));
    found.what
}

/// The same entry with another fence.
fn with_fence(entry: &Entry, fence: Fence) -> Entry {
    let (failures, abandoned) = (entry.failures(), entry.abandoned());
    Entry::restored(entry.state(), fence, failures, abandoned, entry.committed())
}

#[test]
fn a_settle_without_the_fence_is_caught() {
    struct NoFence;
    impl Rules for NoFence {
        fn settle(&self, entry: &mut Entry, _: Fence, verdict: Verdict) -> Result<(), Overtaken> {
            Core.settle(entry, entry.fence(), verdict)
        }
    }
    assert_eq!(caught(NoFence), "a stale settle was accepted");
}

#[test]
fn a_renewal_without_the_fence_is_caught() {
    struct NoFence;
    impl Rules for NoFence {
        fn renew(&self, entry: &mut Entry, _: Fence, lease: Duration) -> Result<(), Overtaken> {
            Core.renew(entry, entry.fence(), lease)
        }
    }
    assert_eq!(caught(NoFence), "a stale renewal was accepted");
}

#[test]
fn a_fence_that_compares_the_worker_alone_is_caught() {
    struct WorkerOnly;
    impl Rules for WorkerOnly {
        fn settle(&self, entry: &mut Entry, fence: Fence, verdict: Verdict) -> Result<(), Overtaken> {
            let attempt = entry.fence().attempt;
            Core.settle(entry, Fence { attempt, ..fence }, verdict)
        }
    }
    assert_eq!(caught(WorkerOnly), "a stale settle was accepted");
}

#[test]
fn a_claim_of_a_live_lease_is_caught() {
    struct Thief;
    impl Rules for Thief {
        fn claim(&self, entry: &mut Entry, worker: WorkerId, max_abandoned: u32) -> Claiming {
            if let State::InFlight { .. } = entry.state() {
                let state = State::InFlight { until: NOW };
                let (failures, abandoned) = (entry.failures(), entry.abandoned());
                *entry = Entry::restored(state, entry.fence(), failures, abandoned, entry.committed());
            }
            Core.claim(entry, worker, max_abandoned)
        }
    }
    assert_eq!(
        caught(Thief),
        "a live lease was stolen: two workers hold the message"
    );
}

#[test]
fn a_claim_of_more_than_the_head_of_a_key_is_caught() {
    struct AnyOfTheKey;
    impl Rules for AnyOfTheKey {
        fn is_next(&self, _: &Setting, world: &World, message: usize) -> bool {
            world.rows[message].is_some_and(|row| row.entry.is_live())
        }
    }
    assert_eq!(
        caught(AnyOfTheKey),
        "a message was delivered before an earlier one of its key"
    );
}

#[test]
fn a_takeover_without_a_new_attempt_is_caught() {
    struct SameAttempt;
    impl Rules for SameAttempt {
        fn claim(&self, entry: &mut Entry, worker: WorkerId, max_abandoned: u32) -> Claiming {
            let (before, attempt) = (entry.state(), entry.fence().attempt);
            match (before, Core.claim(entry, worker, max_abandoned)) {
                (State::InFlight { .. }, Claiming::Granted(_)) => {
                    let fence = Fence { worker, attempt };
                    *entry = with_fence(entry, fence);
                    Claiming::Granted(fence)
                }
                (_, claiming) => claiming,
            }
        }
    }
    assert_eq!(caught(SameAttempt), "the fence did not grow with a claim");
}

#[test]
fn a_requeue_that_resets_the_fence_is_caught() {
    struct Reset;
    impl Rules for Reset {
        fn requeue(&self, entry: &mut Entry) -> bool {
            let requeued = Core.requeue(entry);
            if requeued {
                *entry = with_fence(entry, Fence::default());
            }
            requeued
        }
    }
    assert_eq!(caught(Reset), "a fence shrank");
}

#[test]
fn giving_up_as_if_it_were_published_is_caught() {
    struct Dropped;
    impl Rules for Dropped {
        fn settle(&self, entry: &mut Entry, fence: Fence, verdict: Verdict) -> Result<(), Overtaken> {
            let buried = verdict == Verdict::Bury;
            Core.settle(entry, fence, if buried { Verdict::Complete } else { verdict })
        }
    }
    assert_eq!(
        caught(Dropped),
        "a message counts as published that the broker never took: it is lost"
    );
}

#[test]
fn a_release_that_nobody_may_claim_again_is_caught() {
    struct Stuck;
    impl Rules for Stuck {
        fn is_next(&self, setting: &Setting, world: &World, message: usize) -> bool {
            let tried = world.rows[message].is_some_and(|row| {
                matches!(row.entry.state(), State::Pending { .. }) && row.entry.failures() > 0
            });
            !tried && Core.is_next(setting, world, message)
        }
    }
    assert_eq!(
        caught(Stuck),
        "a message is lost: nothing that may happen delivers it"
    );
}
