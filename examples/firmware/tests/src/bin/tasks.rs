//! Producer, backstop and consumer as embassy tasks: each message arrives once, though every fourth publish fails.
//!
//! The producer meets a full outbox and waits; nothing polls faster than a second, so that hints do the work.
#![no_std]
#![no_main]

use core::time::Duration;

use board::qemu::{end, print};
use embassy_executor::Spawner;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex as Raw;
use embassy_sync::channel::Channel;
use embassy_time::{Instant, Timer};
use portable_atomic::{AtomicU32, Ordering};
use postbox::backstop::{Backstop, BackstopConfig, BackstopReport};
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::{Invalid, WorkerId};
use postbox::message::{Headers, MessageKind, MessageRef};
use postbox::publisher::{AsyncMessagePublisher, PublishError};
use postbox::retry::{Backoff, RetryPolicy};
use postbox_embassy::{BackstopTask, EmbassyTimer, spawn_backstop};
use postbox_heapless::{EnqueueError, HeaplessOutbox};
use static_cell::StaticCell;

const MESSAGES: usize = 100;

static OUTBOX: HeaplessOutbox<Raw, EmbassyTimer, 8, 32, 8> = HeaplessOutbox::new(EmbassyTimer);
static BACKSTOP: BackstopTask<Raw, BackstopReport, Invalid> = BackstopTask::new();
static WIRE: Channel<Raw, [u8; 2], 4> = Channel::new();
static ATTEMPTS: AtomicU32 = AtomicU32::new(0);

struct Wire;

impl AsyncMessagePublisher for Wire {
    type Error = &'static str;

    async fn publish(&self, message: MessageRef<'_>) -> Result<(), PublishError<&'static str>> {
        let attempts = ATTEMPTS.load(Ordering::Relaxed);
        ATTEMPTS.store(attempts + 1, Ordering::Relaxed);
        if attempts % 4 == 3 {
            return Err(PublishError::Retryable("every fourth"));
        }
        let payload = message.payload.try_into();
        WIRE.send(payload.map_err(|_| PublishError::Permanent("two bytes"))?)
            .await;
        Ok(())
    }
}

#[embassy_executor::task]
async fn backstop() {
    BACKSTOP
        .run(async |shutdown| {
            let retry = RetryPolicy {
                backoff: Backoff::new(Duration::from_millis(20), Duration::from_millis(40))?,
                ..RetryPolicy::DEFAULT
            };
            let config = DispatchConfig::new(WorkerId::named("tasks")).with_retry(retry)?;
            let dispatcher = OutboxDispatcher::new(&OUTBOX, Wire, config).with_timer(EmbassyTimer);
            Backstop::new(dispatcher, BackstopConfig::new())
                .run(shutdown)
                .await
        })
        .await;
}

#[embassy_executor::task]
async fn producer() {
    for number in 0..MESSAGES {
        let digits = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        let id = core::str::from_utf8(&digits).unwrap_or_default();
        let message = MessageRef {
            id,
            name: "counted",
            kind: MessageKind::Event,
            key: if number % 2 == 0 { Some("even") } else { None },
            payload: &digits,
            content_type: "text/plain",
            headers: Headers::EMPTY,
        };
        while let Err(error) = OUTBOX.enqueue(message) {
            assert!(matches!(error, EnqueueError::Full { capacity: 8 }));
            Timer::after_millis(5).await;
        }
    }
}

#[embassy_executor::task]
async fn consumer(spawner: Spawner) {
    let running = match backstop() {
        Ok(task) => spawn_backstop(spawner, &BACKSTOP, task),
        Err(_) => end(false),
    };
    let mut seen = [0_u8; MESSAGES];
    let (mut received, mut last_even, mut ordered) = (0, None, true);
    while received < MESSAGES {
        let [tens, ones] = WIRE.receive().await;
        let number = usize::from(tens - b'0') * 10 + usize::from(ones - b'0');
        seen[number] += 1;
        received += 1;
        if number % 2 == 0 {
            ordered &= last_even < Some(number);
            last_even = Some(number);
        }
    }
    Timer::after_millis(200).await;
    let repeated = seen.iter().filter(|times| **times != 1).count();
    let counts = OUTBOX.counts();
    let left = counts.pending + counts.in_flight + counts.dead;
    let stopped = running.stop(Duration::from_secs(1)).await;
    let published = stopped.map_or(0, |report| report.published);
    print!(
        "{}: received={} not-once={} left={} attempts={} ordered={} virtual_ms={}",
        board::NAME,
        received,
        repeated,
        left,
        ATTEMPTS.load(Ordering::Relaxed),
        ordered,
        Instant::now().as_millis()
    );
    end(repeated == 0 && left == 0 && ordered && published == MESSAGES as u64);
}

#[cortex_m_rt::entry]
fn main() -> ! {
    static EXECUTOR: StaticCell<board::Executor> = StaticCell::new();
    board::init();
    EXECUTOR.init(board::Executor::new()).run(|spawner| {
        let tasks = (producer(), consumer(spawner));
        let (Ok(producer), Ok(consumer)) = tasks else {
            end(false)
        };
        spawner.spawn(producer);
        spawner.spawn(consumer);
    })
}
