//! Regions that are erased, damaged, of a wrong size, or that fail.

use postbox::id::Invalid;
use postbox::store::{ClaimedMessage, OutboxStore};
use postbox::testing::VirtualClock;
use postbox_flash::FlashError;

use crate::limits::{claim, enqueue, request};
use crate::mock::{MockFlash, PAGE, Torn};
use crate::{Outbox, message, now, open};

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
