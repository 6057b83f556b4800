//! Cuts the power at every word of flash that a scenario writes or erases, one after the other, each with a real reset.
//!
//! What the world outside saw, and where the next cut is due, is in RAM that a reset leaves alone. Afterwards the same
//! with a device that settles before it publishes: that one must be seen to lose a message.
#![no_std]
#![no_main]

use core::time::Duration;

use board::flash::{self, Flash, OutOfBounds, power};
use board::kept;
use board::qemu::{end, print};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use postbox::claim::Verdict;
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::WorkerId;
use postbox::message::MessageRef;
use postbox::publisher::{AsyncMessagePublisher, PublishError};
use postbox::store::{ClaimRequest, ClaimedMessage, OutboxStore, Settlement, Which};
use postbox::time::{Clock, Instant};
use postbox_flash::{FlashError, FlashOutbox, NewMessage};

const MESSAGES: u32 = 45;
/// Two for the sequence number, three for messages: the log goes round.
const REGION: core::ops::Range<u32> = 0..5 * 1024;
const BATCH: usize = 2;

/// Words that are kept.
const STARTED: usize = 0;
const CONTROL: usize = 1;
const CUT_AT: usize = 2;
const FRESH: usize = 3;
const CUTS: usize = 4;
const REPEATS: usize = 5;
const NEXT: usize = 6;
/// For each message a bit that it was acknowledged, and how often it was published.
const MESSAGE: usize = 16;
const ACKNOWLEDGED: u32 = 0x100;

const MAGIC: u32 = 0x504f_5354;

/// No time passes: nothing here waits for any.
struct Still;

impl Clock for Still {
    fn now(&self) -> Instant {
        Instant::ZERO
    }
}

type Outbox = FlashOutbox<NoopRawMutex, Flash, Still, 96, 8, BATCH>;

struct World;

impl AsyncMessagePublisher for World {
    type Error = &'static str;

    async fn publish(&self, message: MessageRef<'_>) -> Result<(), PublishError<&'static str>> {
        see(message);
        Ok(())
    }
}

fn see(message: MessageRef<'_>) {
    let number = message.payload[0];
    assert_eq!(message.payload, [number; 48]);
    kept::add(MESSAGE + usize::from(number), 1);
}

async fn scenario() -> Result<(), FlashError<OutOfBounds>> {
    let outbox: Outbox = Outbox::open(flash::take(), REGION, Still, "device").await?;
    loop {
        while kept::read(NEXT) < MESSAGES {
            let number = kept::read(NEXT) as u8;
            // If the power is cut here, the device does not know whether it was stored: it goes on with the next.
            kept::add(NEXT, 1);
            outbox
                .enqueue(NewMessage::event("read", &[number; 48], "x/y"))
                .await?;
            kept::add(MESSAGE + usize::from(number), ACKNOWLEDGED);
            if number % 5 == 4 {
                break;
            }
        }
        if kept::read(CONTROL) == 0 {
            let config = DispatchConfig::new(WorkerId::new(1));
            let dispatcher = OutboxDispatcher::new(&outbox, World, config);
            assert!(dispatcher.dispatch_batch(32).await.is_ok());
        } else {
            settle_then_publish(&outbox).await?;
        }
        if kept::read(NEXT) == MESSAGES && outbox.stored().await? == 0 {
            return Ok(());
        }
    }
}

/// Wrong, on purpose.
async fn settle_then_publish(outbox: &Outbox) -> Result<(), FlashError<OutOfBounds>> {
    let request = ClaimRequest {
        worker: WorkerId::new(1),
        lease: Duration::from_secs(30),
        limit: 1,
        max_abandoned: 10,
        which: Which::Due,
    };
    loop {
        let batch = outbox.claim(&request).await?;
        let Some(held) = batch.first() else {
            return Ok(());
        };
        let settlement = Settlement {
            claim: held.claim(),
            verdict: Verdict::Complete,
            error: "",
        };
        outbox.settle(&[settlement]).await?;
        see(held.message());
    }
}

/// Forgets what the world saw, erases the flash, and cuts the power at the next word.
fn begin_anew() {
    power::cut_at(0);
    assert!(board::block_on(Outbox::format(flash::take(), REGION)).is_ok());
    for number in 0..MESSAGES as usize {
        kept::write(MESSAGE + number, 0);
    }
    kept::write(NEXT, 0);
    kept::write(FRESH, 0);
    power::cut_at(kept::read(CUT_AT));
}

fn main_loop() -> ! {
    if kept::read(STARTED) != MAGIC {
        (0..MESSAGE).for_each(|word| kept::write(word, 0));
        kept::write(STARTED, MAGIC);
        kept::write(CUT_AT, 1);
        kept::write(FRESH, 1);
    }
    if kept::read(FRESH) == 1 {
        begin_anew();
    } else {
        // From a cut: there is no second one.
        kept::add(CUTS, 1);
    }
    if let Err(error) = board::block_on(scenario()) {
        print!("cut at word {}: {}", kept::read(CUT_AT), error);
        end(false);
    }
    let (mut missing, mut repeats) = (0, 0);
    for number in 0..MESSAGES as usize {
        let message = kept::read(MESSAGE + number);
        let times = message & (ACKNOWLEDGED - 1);
        missing += u32::from(message & ACKNOWLEDGED != 0 && times == 0);
        repeats += times.saturating_sub(1);
    }
    judge(missing, repeats)
}

fn judge(missing: u32, repeats: u32) -> ! {
    let cut_at = kept::read(CUT_AT);
    // The cut lay beyond the last word: every word has been cut.
    let over = kept::read(CUTS) < cut_at;
    if kept::read(CONTROL) == 1 {
        if missing > 0 {
            print!("control: settling first loses a message at word {}", cut_at);
            end(true);
        }
        if over {
            print!("control: settling first was not noticed");
            end(false);
        }
    } else {
        if missing > 0 || repeats as usize > BATCH {
            print!("cut at word {}: missing={} repeats={}", cut_at, missing, repeats);
            end(false);
        }
        kept::add(REPEATS, repeats);
        if over {
            let (name, words, repeated) = (board::NAME, power::words(), kept::read(REPEATS));
            let cuts = kept::read(CUTS);
            print!(
                "{}: words={} cuts={} missing=0 repeated={}",
                name, words, cuts, repeated
            );
            if cuts < 1_000 || repeated == 0 {
                end(false);
            }
            for (word, value) in [(CONTROL, 1), (CUTS, 0), (CUT_AT, 0)] {
                kept::write(word, value);
            }
        }
    }
    kept::add(CUT_AT, 1);
    kept::write(FRESH, 1);
    board::reset()
}

#[cortex_m_rt::entry]
fn main() -> ! {
    main_loop()
}
