//! Bad regions, full flash, messages that do not fit; and claims over what is in flash.

use std::time::Duration;

use postbox::claim::Verdict;
use postbox::id::{Invalid, WorkerId};
use postbox::store::{ClaimRequest, ClaimedMessage, OutboxStore, Settled, Settlement, Which};
use postbox::testing::VirtualClock;
use postbox_flash::{DeadLetters, FlashClaimed, FlashError, FlashKey, NewMessage};

use crate::mock::{MockFlash, PAGE, Torn};
use crate::{Outbox, message, now, open};

const A: WorkerId = WorkerId::new(1);

fn request(limit: usize) -> ClaimRequest<'static> {
    ClaimRequest {
        worker: A,
        lease: Duration::from_secs(30),
        limit,
        max_abandoned: 2,
        which: Which::Due,
    }
}

fn claim(outbox: &Outbox, limit: usize) -> Vec<FlashClaimed<96>> {
    now(outbox.claim(&request(limit))).unwrap().into_iter().collect()
}

fn ids(batch: &[FlashClaimed<96>]) -> Vec<&str> {
    batch.iter().map(|held| held.message().id).collect()
}

fn settle(outbox: &Outbox, held: &FlashClaimed<96>, verdict: Verdict) -> Settled {
    let settlement = Settlement {
        claim: held.claim(),
        verdict,
        error: "",
    };
    now(outbox.settle(&[settlement])).unwrap()
}

fn with_clock(flash: &MockFlash) -> (Outbox, VirtualClock) {
    let clock = VirtualClock::new();
    let outbox = now(Outbox::open(flash.clone(), flash.range(), clock.clone(), "d")).unwrap();
    (outbox, clock)
}

fn enqueue(outbox: &Outbox, message: NewMessage<'_>) -> FlashKey {
    now(outbox.enqueue(message)).unwrap()
}

#[test]
fn an_erased_region_is_an_empty_outbox() {
    let outbox = now(open(&MockFlash::new(6))).unwrap();
    assert_eq!(now(outbox.stored()).unwrap(), 0);
}

#[test]
fn a_region_of_zeros_is_refused_and_can_be_formatted() {
    let flash = MockFlash::with(vec![0; 6 * PAGE]);
    assert_eq!(now(open(&flash)).unwrap_err(), FlashError::Corrupted);
    now(Outbox::format(flash.clone(), flash.range())).unwrap();
    enqueue(&now(open(&flash)).unwrap(), message(b"1"));
}

/// Random bytes may look like anything. Pages that look half erased are erased, the rest is refused: an error that says
/// so, or an outbox; never a panic, and formatting helps.
#[test]
fn a_region_of_random_bytes_never_panics() {
    let (mut refused, mut repaired) = (0, 0);
    for seed in 0..300_u64 {
        let random = |at: u64| postbox::retry::mix(seed << 32 | at) as u8;
        let flash = MockFlash::with((0..6 * PAGE as u64).map(random).collect());
        match now(open(&flash)) {
            Err(FlashError::Corrupted) => refused += 1,
            Err(error) => panic!("seed {seed}: {error}"),
            Ok(outbox) => {
                repaired += 1;
                let _ = now(outbox.enqueue(message(b"1")));
                let _ = now((&outbox).claim(&request(3)));
            }
        }
        now(Outbox::format(flash.clone(), flash.range())).unwrap();
        enqueue(&now(open(&flash)).unwrap(), message(b"1"));
    }
    assert!(refused > 20 && repaired > 20, "{refused} and {repaired} of 300");
}

/// One byte of a stored message is damaged: the others are published, and nothing claims what is not there.
#[test]
fn a_damaged_message_takes_no_other_along() {
    let flash = MockFlash::new(6);
    let outbox = now(open(&flash)).unwrap();
    for payload in [&[b'a'; 20], &[b'b'; 20], &[b'c'; 20]] {
        enqueue(&outbox, message(payload));
    }
    drop(outbox);
    assert_eq!(flash.damage(&[b'b'; 20]), 1);
    let outbox = now(open(&flash)).unwrap();
    let seen: Vec<_> = claim(&outbox, 3)
        .iter()
        .map(|held| held.message().payload[0])
        .collect();
    assert_eq!(seen, [b'a', b'c']);
}

#[test]
fn a_region_that_is_no_four_pages_is_refused() {
    let flash = MockFlash::new(6);
    for region in [0..3 * PAGE as u32, 1..5 * PAGE as u32, 0..0] {
        let (from, to) = (region.start, region.end);
        let opened = now(Outbox::open(flash.clone(), region, VirtualClock::new(), "d"));
        assert_eq!(opened.unwrap_err(), FlashError::Region { from, to, page: PAGE });
    }
    let opened = now(Outbox::open(
        flash.clone(),
        flash.range(),
        VirtualClock::new(),
        " ",
    ));
    let blank = Invalid::Blank { field: "device" };
    assert_eq!(opened.unwrap_err(), FlashError::Invalid(blank));
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

/// A flash that fails is an error that says so, and the outbox goes on when it works again.
#[test]
fn a_failing_flash_is_reported_and_survived() {
    let flash = MockFlash::new(6);
    let outbox = now(open(&flash)).unwrap();
    enqueue(&outbox, message(b"1"));
    flash.cut_at(0, Torn::Not);
    assert!(matches!(
        now(outbox.enqueue(message(b"2"))),
        Err(FlashError::Flash(_))
    ));
    flash.reset();
    enqueue(&outbox, message(b"3"));
    let seen: Vec<_> = claim(&outbox, 3)
        .iter()
        .map(|held| held.message().payload[0])
        .collect();
    assert_eq!(seen, [b'1', b'3']);
}
