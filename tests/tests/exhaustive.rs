//! The claim protocol in every order of events, and what the same search says to rules that are wrong.
//!
//! `cargo test --release -p postbox-tests --test exhaustive -- --ignored --nocapture` goes through the large
//! worlds as well.
#![allow(clippy::expect_used, clippy::panic)]

#[path = "exhaustive/wrong_rules.rs"]
mod wrong_rules;

use std::time::Instant;

use postbox::store::DeadPolicy;
use postbox_tests::exhaustive::{Core, Faults, Found, Protocol, Setting, Step, World, search};

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
