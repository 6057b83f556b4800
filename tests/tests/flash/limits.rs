//! Full flash, messages that do not fit; and claims over what is in flash.

use std::time::Duration;

use postbox::claim::Verdict;
use postbox::id::{Invalid, WorkerId};
use postbox::store::{ClaimRequest, ClaimedMessage, OutboxStore, Settled, Settlement, Which};
use postbox::testing::VirtualClock;
use postbox_flash::{DeadLetters, FlashClaimed, FlashError, FlashKey, NewMessage};

use crate::mock::MockFlash;
use crate::{Outbox, message, now, open};

const A: WorkerId = WorkerId::new(1);

pub(super) fn request(limit: usize) -> ClaimRequest<'static> {
    ClaimRequest {
        worker: A,
        lease: Duration::from_secs(30),
        limit,
        max_abandoned: 2,
        which: Which::Due,
    }
}

pub(super) fn claim(outbox: &Outbox, limit: usize) -> Vec<FlashClaimed<96>> {
    now(outbox.claim(&request(limit))).unwrap().into_iter().collect()
}

pub(super) fn ids(batch: &[FlashClaimed<96>]) -> Vec<&str> {
    batch.iter().map(|held| held.message().id).collect()
}

pub(super) fn settle(outbox: &Outbox, held: &FlashClaimed<96>, verdict: Verdict) -> Settled {
    let settlement = Settlement {
        claim: held.claim(),
        verdict,
        error: "",
    };
    now(outbox.settle(&[settlement])).unwrap()
}

pub(super) fn with_clock(flash: &MockFlash) -> (Outbox, VirtualClock) {
    let clock = VirtualClock::new();
    let outbox = now(Outbox::open(flash.clone(), flash.range(), clock.clone(), "d")).unwrap();
    (outbox, clock)
}

pub(super) fn enqueue(outbox: &Outbox, message: NewMessage<'_>) -> FlashKey {
    now(outbox.enqueue(message)).unwrap()
}

#[test]
fn full_flash_refuses_keeps_what_it_has_and_has_room_again() {
    let outbox = now(open(&MockFlash::new(6))).unwrap();
    let mut stored = 0;
    let full = loop {
        match now(outbox.enqueue(message(&[7; 50]))) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(full, FlashError::Full);
    assert_eq!(now(outbox.stored()).unwrap(), stored);
    let mut published = 0;
    loop {
        let batch = claim(&outbox, 3);
        if batch.is_empty() {
            break;
        }
        for held in &batch {
            published += settle(&outbox, held, Verdict::Complete).applied();
        }
    }
    assert_eq!(published, stored);
    enqueue(&outbox, message(&[7; 50]));
}

#[test]
fn what_does_not_fit_is_refused_with_its_length_and_the_limit() {
    let outbox = now(open(&MockFlash::new(6))).unwrap();
    let refused = |message| now(outbox.enqueue(message)).unwrap_err();
    let long = [0; 74];
    let (len, limit) = (16 + 4 + 3 + 74, 96);
    assert_eq!(refused(message(&long)), FlashError::TooLong { len, limit });
    let blank = Invalid::Blank {
        field: "message name",
    };
    assert_eq!(
        refused(NewMessage::event("", b"", "x/y")),
        FlashError::Invalid(blank)
    );
    enqueue(&outbox, message(&long[..73]));
    assert_eq!(now(outbox.stored()).unwrap(), 1);
}

#[test]
fn after_a_reset_what_was_claimed_is_pending_and_ids_are_the_same() {
    let flash = MockFlash::new(6);
    let (outbox, _) = with_clock(&flash);
    enqueue(&outbox, message(b"1"));
    enqueue(&outbox, message(b"2"));
    let batch = claim(&outbox, 3);
    assert_eq!(ids(&batch), ["d-1", "d-2"]);
    assert_eq!(settle(&outbox, &batch[0], Verdict::Complete).applied(), 1);
    drop(outbox);
    let (outbox, _) = with_clock(&flash);
    let batch = claim(&outbox, 3);
    assert_eq!(ids(&batch), ["d-2"]);
    assert_eq!(batch[0].claim().fence.attempt, 1);
    assert!(enqueue(&outbox, message(b"3")).sequence() > 2);
}

#[test]
fn a_lapsed_claim_is_overtaken_and_fenced_off() {
    let flash = MockFlash::new(6);
    let (outbox, clock) = with_clock(&flash);
    enqueue(&outbox, message(b"1"));
    let first = claim(&outbox, 3).remove(0);
    assert!(claim(&outbox, 3).is_empty());
    assert_eq!(
        now((&outbox).renew(&[first.claim()], Duration::from_secs(40))),
        Ok(1)
    );
    clock.advance(Duration::from_secs(30));
    assert!(claim(&outbox, 3).is_empty());
    clock.advance(Duration::from_secs(10));
    let second = claim(&outbox, 3).remove(0);
    assert_eq!(second.claim().fence.attempt, 2);
    assert!(settle(&outbox, &first, Verdict::Complete).is_overtaken(0));
    assert_eq!(settle(&outbox, &second, Verdict::Complete).applied(), 1);
    assert!(settle(&outbox, &second, Verdict::Complete).is_overtaken(0));
    assert_eq!(now(outbox.stored()).unwrap(), 0);
}

#[test]
fn a_failing_head_blocks_its_key_and_no_other() {
    let flash = MockFlash::new(6);
    let (outbox, clock) = with_clock(&flash);
    for (key, payload) in [("k", b"1"), ("k", b"2"), ("l", b"3")] {
        enqueue(&outbox, message(payload).with_key(key));
    }
    enqueue(&outbox, message(b"4"));
    let batch = claim(&outbox, 3);
    assert_eq!(ids(&batch), ["d-1", "d-3", "d-4"]);
    let after = Duration::from_secs(5);
    assert_eq!(settle(&outbox, &batch[0], Verdict::Retry { after }).applied(), 1);
    assert!(claim(&outbox, 3).is_empty());
    clock.advance(after);
    let head = claim(&outbox, 3);
    assert_eq!((ids(&head), head[0].failures()), (vec!["d-1"], 1));
    settle(&outbox, &head[0], Verdict::Complete);
    assert_eq!(ids(&claim(&outbox, 3)), ["d-2"]);
}

#[test]
fn more_messages_than_the_window_all_have_their_turn() {
    let outbox = now(open(&MockFlash::new(12))).unwrap();
    for n in 0..24 {
        enqueue(&outbox, message(&[n]));
    }
    let mut held = Vec::new();
    loop {
        let batch = claim(&outbox, 3);
        if batch.is_empty() {
            break;
        }
        held.extend(batch);
    }
    assert_eq!(held.len(), 8, "as many as the window tracks");
    let mut seen = 0;
    while !held.is_empty() {
        for it in held.drain(..) {
            seen += settle(&outbox, &it, Verdict::Complete).applied();
        }
        held = claim(&outbox, 3);
    }
    assert_eq!(seen, 24);
}

#[test]
fn a_dead_letter_is_kept_put_back_or_removed() {
    let flash = MockFlash::new(6);
    let (outbox, _) = with_clock(&flash);
    let key = enqueue(&outbox, message(b"1"));
    assert!(!now(outbox.remove(key)).unwrap(), "it is not dead");
    settle(&outbox, &claim(&outbox, 1)[0], Verdict::Bury);
    assert!(claim(&outbox, 1).is_empty());
    assert!(now(outbox.requeue(key)));
    let again = claim(&outbox, 1);
    assert_eq!(again[0].claim().fence.attempt, 2);
    settle(&outbox, &again[0], Verdict::Bury);
    assert!(now(outbox.remove(key)).unwrap());
    assert_eq!(now(outbox.stored()).unwrap(), 0);
}

#[test]
fn a_dead_letter_is_dropped_and_counted_if_that_is_asked_for() {
    let outbox = now(open(&MockFlash::new(6))).unwrap();
    let outbox = outbox.with_dead_letters(DeadLetters::Drop);
    enqueue(&outbox, message(b"1"));
    settle(&outbox, &claim(&outbox, 1)[0], Verdict::Bury);
    assert_eq!((now(outbox.stored()).unwrap(), now(outbox.dropped())), (0, 1));
}

/// What a claim gives up is a dead letter like any other: it must not hold its place of the window for ever.
#[test]
fn an_abandoned_message_is_dropped_too_if_that_is_asked_for() {
    let (outbox, clock) = with_clock(&MockFlash::new(6));
    let outbox = outbox.with_dead_letters(DeadLetters::Drop);
    enqueue(&outbox, message(b"1"));
    for _ in 0..2 {
        assert_eq!(claim(&outbox, 1).len(), 1);
        clock.advance(Duration::from_secs(30));
    }
    assert!(claim(&outbox, 1).is_empty());
    enqueue(&outbox, message(b"2"));
    assert_eq!(ids(&claim(&outbox, 1)), ["d-2"]);
    assert_eq!((now(outbox.stored()).unwrap(), now(outbox.dropped())), (1, 1));
}
