//! Instructions for the steps of a message's life, the same at each run: under `-icount shift=10` QEMU lets 1024 ns pass
//! per instruction, and SysTick counts them.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::time::Duration;

use board::qemu::{end, print};
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex as Raw;
use postbox::backstop::{Backstop, BackstopConfig};
use postbox::claim::Verdict;
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::WorkerId;
use postbox::message::{Headers, MessageKind, MessageRef};
use postbox::publisher::{AsyncMessagePublisher, PublishBatch, PublishError};
use postbox::store::{ClaimRequest, ClaimedMessage, OutboxStore, Settlement, Which};
use postbox::time::{Clock, Instant};
use postbox_embassy::EmbassyTimer;
use postbox_heapless::HeaplessOutbox;

const NS_PER_INSTRUCTION: u64 = 1 << 10;
const HZ: u64 = 25_000_000;

struct Still;

impl Clock for Still {
    fn now(&self) -> Instant {
        Instant::ZERO
    }
}

static OUTBOX: HeaplessOutbox<Raw, Still, 40, 48, 64> = HeaplessOutbox::new(Still);

struct Sink;

impl AsyncMessagePublisher for Sink {
    type Error = &'static str;

    async fn publish(&self, message: MessageRef<'_>) -> Result<(), PublishError<&'static str>> {
        black_box(message.payload);
        Ok(())
    }

    async fn publish_batch(&self, batch: &mut PublishBatch<'_>) {
        while let Some((ticket, message)) = batch.start() {
            batch.report(ticket, self.publish(message).await);
        }
    }
}

/// Instructions of `work`, with some twenty for measuring.
fn instructions<R>(work: impl FnOnce() -> R) -> u32 {
    let before = SYST::get_current();
    black_box(work());
    let after = SYST::get_current();
    let ticks = u64::from(before.wrapping_sub(after) & 0x00ff_ffff);
    (ticks * 1_000_000_000 / (HZ * NS_PER_INSTRUCTION)) as u32
}

fn enqueue(number: usize) -> u32 {
    let digits = [b'm', b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
    let id = core::str::from_utf8(&digits).unwrap_or_default();
    let message = MessageRef {
        id,
        name: "read",
        kind: MessageKind::Event,
        key: None,
        payload: &[7; 64],
        content_type: "x/y",
        headers: Headers::EMPTY,
    };
    let mut refused = false;
    let counted = instructions(|| refused = black_box(&OUTBOX).enqueue(black_box(message)).is_err());
    assert!(!refused);
    counted
}

/// Claims, publishes and settles one message by the store alone.
fn by_hand() -> u32 {
    let request = ClaimRequest {
        worker: WorkerId::new(1),
        lease: Duration::from_secs(30),
        limit: 1,
        max_abandoned: 10,
        which: Which::Due,
    };
    instructions(|| {
        let Ok(batch) = board::block_on((&OUTBOX).claim(&request));
        let Some(held) = batch.first() else { end(false) };
        black_box(held.message().payload);
        let settlement = Settlement {
            claim: held.claim(),
            verdict: Verdict::Complete,
            error: "",
        };
        let Ok(settled) = board::block_on((&OUTBOX).settle(&[settlement]));
        assert!(settled.applied() == 1);
    })
}

#[cortex_m_rt::entry]
fn main() -> ! {
    let Some(mut parts) = cortex_m::Peripherals::take() else {
        end(false)
    };
    cortex_m::interrupt::disable();
    parts.SYST.set_clock_source(SystClkSource::Core);
    parts.SYST.set_reload(0x00ff_ffff);
    parts.SYST.clear_current();
    parts.SYST.enable_counter();
    let nothing = instructions(|| ());
    let dispatcher = OutboxDispatcher::new(&OUTBOX, Sink, DispatchConfig::new(WorkerId::new(1)));
    let dispatch = || instructions(|| assert!(board::block_on(dispatcher.dispatch_batch(1)).is_ok()));
    enqueue(0);
    let (hand_1, enqueue_1) = (by_hand(), enqueue(1));
    let dispatch_1 = dispatch();
    for number in 2..33 {
        enqueue(number);
    }
    let enqueue_32 = enqueue(33);
    let (hand_32, dispatch_32) = (by_hand(), dispatch());
    let batch = instructions(|| assert!(board::block_on(dispatcher.dispatch_batch(4)).is_ok())) / 4;
    print!("instructions nothing {}", nothing);
    print!("instructions enqueue_at_1 {}", enqueue_1);
    print!("instructions enqueue_at_32 {}", enqueue_32);
    print!("instructions claim_settle_at_1 {}", hand_1);
    print!("instructions claim_settle_at_32 {}", hand_32);
    print!("instructions dispatch_at_1 {}", dispatch_1);
    print!("instructions dispatch_at_32 {}", dispatch_32);
    print!("instructions dispatch_each_of_4 {}", batch);
    let timed = OutboxDispatcher::new(&OUTBOX, Sink, DispatchConfig::new(WorkerId::new(1)));
    let timed = timed.with_timer(EmbassyTimer);
    print!("bytes dispatch_future {}", size_of_val(&timed.dispatch_batch(4)));
    let mut backstop = Backstop::new(timed, BackstopConfig::new());
    print!(
        "bytes backstop_future {}",
        size_of_val(&backstop.run(core::future::pending()))
    );
    end(true)
}
