//! The claim protocol in every order of events, and what the same search says to rules that are wrong.
//!
//! `cargo test --release -p postbox-tests --test exhaustive -- --ignored --nocapture` goes through the large
//! worlds as well.
#![allow(clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use postbox::claim::{Claiming, Entry, Fence, Overtaken, State, Verdict};
use postbox::id::WorkerId;
use postbox::store::DeadPolicy;
use postbox_tests::exhaustive::{Core, Faults, Found, NOW, Protocol, Rules, Setting, Step, World, search};

/// Goes through all states of the protocol of core, and prints how many there were.
fn holds(name: &str, setting: Setting) {
    let (protocol, start) = (Protocol::new(setting, Core), Instant::now());
    match search(&protocol, |_, _, _| None) {
        Ok(explored) => {
            println!("{name}: {explored}, {:.1?}", start.elapsed());
            assert!(explored.states > 100 && explored.transitions > explored.states);
        }
        Err(found) => panic!("{}\n{}", found.what, protocol.tell(&found.history)),
    }
}

/// What a wrong rule leads to first, which is printed.
fn caught(rules: impl Rules) -> String {
    let protocol = Protocol::new(Setting::one_key(2), rules);
    let found = search(&protocol, |_, _, _| None).expect_err("a wrong rule holds");
    println!("{}\n{}", found.what, protocol.tell(&found.history));
    found.what
}

#[test]
fn one_message_with_three_who_believe_to_hold_it() {
    let setting = Setting {
        held: 3,
        late: 2,
        ..Setting::one_key(1)
    };
    holds("1 message, 3 claims", setting);
}

#[test]
fn two_messages_of_one_key_with_late_publishes() {
    holds(
        "2 messages, 1 key",
        Setting {
            held: 1,
            ..Setting::one_key(2)
        },
    );
}

#[test]
fn two_messages_of_a_key_that_the_dead_block() {
    let dead = DeadPolicy::Block;
    let setting = Setting {
        dead,
        max_failures: 1,
        ..Setting::one_key(2)
    };
    holds("2 messages, 1 key, 2 claims, dead block", setting);
}

#[test]
fn two_messages_of_different_keys() {
    let keys = &[Some(1), Some(2)];
    let setting = Setting {
        held: 1,
        late: 0,
        ..Setting::with_keys(keys)
    };
    holds("2 messages, 2 keys", setting);
}

#[test]
fn three_messages_of_one_key() {
    let dead = DeadPolicy::Block;
    let setting = Setting {
        held: 1,
        max_failures: 1,
        dead,
        ..Setting::one_key(3)
    };
    holds("3 messages, 1 key, dead block", setting);
}

#[test]
#[ignore = "minutes, and gigabytes of memory: by hand, with --release"]
fn large_worlds() {
    let dead = DeadPolicy::Block;
    holds("2 messages, 1 key, 2 claims", Setting::one_key(2));
    let setting = Setting {
        dead,
        held: 3,
        late: 2,
        ..Setting::one_key(2)
    };
    holds("2 messages, 1 key, 3 claims, 2 late, dead block", setting);
    let setting = Setting {
        dead,
        max_failures: 1,
        ..Setting::one_key(3)
    };
    holds("3 messages, 1 key, 2 claims, dead block", setting);
    let keys = &[Some(1), None, Some(1)];
    let setting = Setting {
        held: 1,
        late: 0,
        max_failures: 1,
        max_abandoned: 1,
        ..Setting::with_keys(keys)
    };
    holds("3 messages, 1 key and none", setting);
}

/// The broker takes a message again, though it took a later one of its key before. The message was never
/// given up, so that order within the key was promised.
fn late_duplicate(before: &World, step: Step, _: &World) -> Option<String> {
    let (Step::Land { message, .. } | Step::LandLate { message }) = step else {
        return None;
    };
    let landed = |row: &postbox_tests::exhaustive::Row| row.landed > 0;
    let is_duplicate = before.rows[message].is_some_and(|row| landed(&row) && !row.died);
    let newer = before.committed().skip(message + 1).any(|(_, row)| landed(row));
    (is_duplicate && newer).then(|| String::from("a duplicate came behind a newer message of its key"))
}

/// The broker takes any message again.
fn duplicate(before: &World, step: Step, _: &World) -> Option<String> {
    let (Step::Land { message, .. } | Step::LandLate { message }) = step else {
        return None;
    };
    let is_duplicate = before.rows[message].is_some_and(|row| row.landed > 0);
    is_duplicate.then(|| String::from("a duplicate"))
}

/// What the README does not promise, as a fact: no fence stops a publish that is already on its way.
#[test]
fn a_duplicate_can_come_behind_a_newer_message_of_its_key() {
    let protocol = Protocol::new(Setting::one_key(2), Core);
    let Found {
        what,
        history,
        explored,
    } = search(&protocol, late_duplicate).expect_err("it cannot?");
    println!(
        "{what}; the shortest history, after {explored}:\n{}",
        protocol.tell(&history)
    );
    assert_eq!(history.len(), 11);
    assert!(history.contains(&Step::Pass { message: 0 }), "a lease lapsed");
    assert!(
        !history.contains(&Step::Crash { worker: 0 }),
        "it takes no crash, only a worker that is slow"
    );
}

#[test]
fn without_lapses_and_lost_answers_nothing_is_delivered_twice_even_if_workers_crash() {
    let faults = Faults {
        crash: true,
        ..Faults::NONE
    };
    let setting = Setting {
        faults,
        ..Setting::one_key(2)
    };
    let explored = search(&Protocol::new(setting, Core), duplicate).expect("no duplicate");
    println!("no lapse, no lost answer: {explored}");
    assert!(explored.states > 20);
    let setting = Setting {
        faults: Faults {
            lapse: true,
            ..faults
        },
        ..setting
    };
    assert!(
        search(&Protocol::new(setting, Core), duplicate).is_err(),
        "the search can see duplicates"
    );
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
