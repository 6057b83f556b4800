//! Power cuts: at every word of a scenario that goes round the log several times, and at random ones in a row.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use postbox::claim::Verdict;
use postbox::dispatcher::{DispatchConfig, DispatchError, OutboxDispatcher};
use postbox::id::WorkerId;
use postbox::message::MessageRef;
use postbox::publisher::{AsyncMessagePublisher, PublishError};
use postbox::store::{ClaimRequest, ClaimedMessage, OutboxStore, Settlement, Which};
use postbox::testing::VirtualClock;
use postbox_flash::FlashError;

use crate::mock::{Fault, MockFlash, Torn};
use crate::{Outbox, message, now, open};

/// How many messages a scenario enqueues: their log goes round the flash several times.
const MESSAGES: u64 = 40;
/// Two for the sequence number, four for messages.
const PAGES: usize = 6;

/// What the world outside saw: no power cut takes that back.
#[derive(Clone, Default)]
struct Outside {
    /// By what was in the payload: how often it was published, and under which ids.
    published: Rc<RefCell<BTreeMap<u64, Vec<String>>>>,
    /// The payloads of which an enqueue was acknowledged.
    acknowledged: Rc<RefCell<Vec<u64>>>,
}

impl AsyncMessagePublisher for Outside {
    type Error = &'static str;

    async fn publish(&self, message: MessageRef<'_>) -> Result<(), PublishError<&'static str>> {
        self.see(message);
        Ok(())
    }
}

impl Outside {
    fn see(&self, message: MessageRef<'_>) {
        let number = u64::from_le_bytes(message.payload[..8].try_into().unwrap());
        assert_eq!(message.payload[8..], [number as u8; 24]);
        let id = message.id.to_owned();
        self.published.borrow_mut().entry(number).or_default().push(id);
    }

    /// What was acknowledged and not published.
    fn missing(&self) -> usize {
        let published = self.published.borrow();
        let missing = |number: &&u64| !published.contains_key(number);
        self.acknowledged.borrow().iter().filter(missing).count()
    }

    fn repeats(&self) -> usize {
        let published = self.published.borrow();
        published.values().map(|ids| ids.len() - 1).sum()
    }

    /// No id stands for two messages.
    fn ids_are_unique(&self) -> bool {
        let published = self.published.borrow();
        let mut owners = BTreeMap::new();
        published
            .iter()
            .flat_map(|(number, ids)| ids.iter().map(move |id| (id.clone(), *number)))
            .all(|(id, number)| *owners.entry(id).or_insert(number) == number)
    }
}

/// How a message leaves the outbox.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    PublishThenSettle,
    /// Wrong: what the tests must notice.
    SettleThenPublish,
}

/// Enqueues what the device has not enqueued yet, five at a time, and publishes in between. Up to the end, or to the
/// power cut.
async fn scenario(
    flash: &MockFlash,
    outside: &Outside,
    next: &mut u64,
    leaving: Leaving,
) -> Result<(), FlashError<Fault>> {
    let outbox: Outbox = open(flash).await?;
    loop {
        while *next < MESSAGES {
            let number = *next;
            // A device that lost power here does not know whether it was stored: it goes on with the next.
            *next += 1;
            let mut payload = [number as u8; 32];
            payload[..8].copy_from_slice(&number.to_le_bytes());
            match outbox.enqueue(message(&payload)).await {
                Ok(_) => outside.acknowledged.borrow_mut().push(number),
                Err(FlashError::Full) => *next = number,
                Err(error) => return Err(error),
            }
            if number % 5 == 4 || *next == number {
                break;
            }
        }
        publish(&outbox, outside, leaving).await?;
        if *next == MESSAGES && outbox.stored().await? == 0 {
            return Ok(());
        }
    }
}

async fn publish(outbox: &Outbox, outside: &Outside, leaving: Leaving) -> Result<(), FlashError<Fault>> {
    if leaving == Leaving::PublishThenSettle {
        let config = DispatchConfig::new(WorkerId::new(1));
        let dispatcher = OutboxDispatcher::new(outbox, outside.clone(), config);
        return match dispatcher.dispatch_batch(32).await {
            Ok(_) => Ok(()),
            Err(DispatchError::Store(error)) => Err(error),
            Err(error) => panic!("{error}"),
        };
    }
    let request = ClaimRequest {
        worker: WorkerId::new(1),
        lease: std::time::Duration::from_secs(30),
        limit: 1,
        max_abandoned: 10,
        which: Which::Due,
    };
    loop {
        let batch = outbox.claim(&request).await?;
        let Some(held) = batch.first() else { return Ok(()) };
        let settlement = Settlement {
            claim: held.claim(),
            verdict: Verdict::Complete,
            error: "",
        };
        outbox.settle(&[settlement]).await?;
        outside.see(held.message());
    }
}

/// Runs a scenario over power cuts at these words, each counted from the reset before it.
fn through(cuts: &[(u64, Torn)], leaving: Leaving) -> (Outside, MockFlash) {
    let (flash, outside, mut next) = (MockFlash::new(PAGES), Outside::default(), 0);
    for (word, torn) in cuts {
        flash.cut_at(*word, *torn);
        match now(scenario(&flash, &outside, &mut next, leaving)) {
            Ok(()) => assert!(!flash.is_off()),
            Err(error) => assert!(flash.is_off(), "cuts {cuts:?}: {error}"),
        }
        flash.reset();
    }
    let ended = now(scenario(&flash, &outside, &mut next, leaving));
    ended.unwrap_or_else(|error| panic!("cuts {cuts:?}: {error}"));
    (outside, flash)
}

#[test]
fn a_power_cut_at_any_word_loses_nothing_and_repeats_a_batch_at_most() {
    let (uncut, flash) = through(&[], Leaving::PublishThenSettle);
    assert_eq!((uncut.missing(), uncut.repeats()), (0, 0));
    let words = flash.words();
    assert!(words > 500, "the scenario writes {words} words only");
    let mut repeats = 0;
    for word in 0..words {
        let pattern = u32::try_from(postbox::retry::mix(word) >> 32).unwrap();
        for torn in [Torn::Not, Torn::Bits(pattern)] {
            let (outside, _) = through(&[(word, torn)], Leaving::PublishThenSettle);
            assert_eq!(outside.missing(), 0, "word {word}, {torn:?}");
            assert!(outside.repeats() <= crate::BATCH, "word {word}, {torn:?}");
            assert!(outside.ids_are_unique(), "word {word}, {torn:?}");
            repeats += outside.repeats();
        }
    }
    assert!(repeats > 0, "no cut fell between publishing and settling");
}

/// The check above can fail: a device that settles first loses a message at some word.
#[test]
fn settling_before_publishing_is_noticed() {
    let (_, flash) = through(&[], Leaving::SettleThenPublish);
    let loses = |word| {
        through(&[(word, Torn::Not)], Leaving::SettleThenPublish)
            .0
            .missing()
            > 0
    };
    assert!((0..flash.words()).any(loses));
}

/// Devices in bad places: up to twelve cuts, most of them soon after the reset, each leaving another pattern.
#[test]
fn many_power_cuts_in_a_row_lose_nothing() {
    for seed in 0..400 {
        let mut dice = postbox::retry::mix(seed);
        let mut roll = |sides: u64| {
            dice = postbox::retry::mix(dice);
            dice % sides
        };
        let cuts: Vec<_> = (0..=roll(12))
            .map(|_| {
                let word = if roll(3) == 0 { roll(1_000) } else { roll(60) };
                let torn = if roll(3) == 0 {
                    Torn::Not
                } else {
                    Torn::Bits(u32::try_from(roll(1 << 32)).unwrap())
                };
                (word, torn)
            })
            .collect();
        let (outside, _) = through(&cuts, Leaving::PublishThenSettle);
        assert_eq!(outside.missing(), 0, "seed {seed}, cuts {cuts:?}");
        assert!(outside.ids_are_unique(), "seed {seed}, cuts {cuts:?}");
        assert!(
            outside.repeats() <= cuts.len() * crate::BATCH,
            "seed {seed}, cuts {cuts:?}"
        );
    }
}

/// A future that is dropped at any of its awaits leaves an outbox that goes on.
#[test]
fn an_operation_that_is_dropped_at_any_word_loses_nothing() {
    for turns in 0..400 {
        let (flash, outside) = (MockFlash::new(PAGES), Outside::default());
        let mut next = 0;
        let clock = VirtualClock::new();
        let outbox = now(Outbox::open(flash.clone(), flash.range(), clock.clone(), "d")).unwrap();
        flash.yields(true);
        let work = async {
            loop {
                let number = next;
                next += 1;
                let mut payload = [number as u8; 32];
                payload[..8].copy_from_slice(&u64::to_le_bytes(number));
                outbox.enqueue(message(&payload)).await.unwrap();
                outside.acknowledged.borrow_mut().push(number);
                if number % 3 == 2 {
                    publish(&outbox, &outside, Leaving::PublishThenSettle)
                        .await
                        .unwrap();
                }
            }
        };
        crate::poll_times(work, turns);
        flash.yields(false);
        // What was claimed when it was dropped lapses.
        clock.advance(std::time::Duration::from_secs(60));
        for _ in 0..10 {
            now(publish(&outbox, &outside, Leaving::PublishThenSettle)).unwrap();
        }
        assert_eq!(now(outbox.stored()).unwrap(), 0, "dropped after {turns} turns");
        assert_eq!(outside.missing(), 0, "dropped after {turns} turns");
        assert!(outside.ids_are_unique(), "dropped after {turns} turns");
    }
}
