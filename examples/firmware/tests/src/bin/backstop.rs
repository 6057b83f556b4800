//! The backstop alone: nobody hints, and it looks every ten minutes. An hour of virtual time.
#![no_std]
#![no_main]

use core::time::Duration;

use board::qemu::{end, print};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex as Raw;
use embassy_time::{Instant, Timer};
use portable_atomic::{AtomicU32, Ordering};
use postbox::backstop::{Backstop, BackstopConfig, BackstopReport};
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::{Invalid, WorkerId};
use postbox::message::{Headers, MessageKind, MessageRef};
use postbox::publisher::{AsyncMessagePublisher, PublishError};
use postbox::wakeup::Never;
use postbox_embassy::{BackstopTask, EmbassyTimer, spawn_backstop};
use postbox_heapless::HeaplessOutbox;
use static_cell::StaticCell;

const MINUTES: [u64; 5] = [1, 12, 25, 38, 44];
/// Ten minutes, and up to a quarter more: workers do not poll in step.
const LATEST_S: u64 = 750;

static OUTBOX: HeaplessOutbox<Raw, EmbassyTimer, 4, 32, 8> = HeaplessOutbox::new(EmbassyTimer);
static BACKSTOP: BackstopTask<Raw, BackstopReport, Invalid> = BackstopTask::new();
static LATEST_MS: AtomicU32 = AtomicU32::new(0);
static PUBLISHED: AtomicU32 = AtomicU32::new(0);

struct Note;

impl AsyncMessagePublisher for Note {
    type Error = &'static str;

    async fn publish(&self, message: MessageRef<'_>) -> Result<(), PublishError<&'static str>> {
        let enqueued = message.payload.try_into().map(u64::from_le_bytes);
        let enqueued = enqueued.map_err(|_| PublishError::Permanent("eight bytes"))?;
        let late = (Instant::now().as_millis() - enqueued) as u32;
        LATEST_MS.fetch_max(late, Ordering::Relaxed);
        PUBLISHED.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[embassy_executor::task]
async fn backstop() {
    BACKSTOP
        .run(async |shutdown| {
            let config = DispatchConfig::new(WorkerId::named("backstop"));
            let dispatcher = OutboxDispatcher::new(&OUTBOX, Note, config).with_timer(EmbassyTimer);
            let config = BackstopConfig::new().with_poll(Duration::from_secs(600))?;
            Backstop::new(dispatcher, config)
                .with_wakeup(Never)
                .run(shutdown)
                .await
        })
        .await;
}

#[embassy_executor::task]
async fn producer(spawner: embassy_executor::Spawner) {
    let running = match backstop() {
        Ok(task) => spawn_backstop(spawner, &BACKSTOP, task),
        Err(_) => end(false),
    };
    for minute in MINUTES {
        Timer::at(Instant::from_secs(60 * minute)).await;
        let message = MessageRef {
            id: "reading",
            name: "read",
            kind: MessageKind::Event,
            key: None,
            payload: &Instant::now().as_millis().to_le_bytes(),
            content_type: "x/y",
            headers: Headers::EMPTY,
        };
        let id = [b'm', b'-', b'a' + minute as u8 % 26];
        let id = core::str::from_utf8(&id).unwrap_or_default();
        if OUTBOX.enqueue(MessageRef { id, ..message }).is_err() {
            end(false);
        }
    }
    Timer::at(Instant::from_secs(3_600)).await;
    let stopped = running.stop(Duration::from_secs(1)).await;
    let passes = stopped.map_or(0, |report| report.passes);
    let (published, latest) = (
        PUBLISHED.load(Ordering::Relaxed),
        LATEST_MS.load(Ordering::Relaxed),
    );
    print!(
        "{}: published={} latest_after_ms={} passes={} virtual_s={}",
        board::NAME,
        published,
        latest,
        passes,
        Instant::now().as_secs()
    );
    let in_time = u64::from(latest) <= LATEST_S * 1_000;
    end(published == MINUTES.len() as u32 && in_time && passes < 20);
}

#[cortex_m_rt::entry]
fn main() -> ! {
    static EXECUTOR: StaticCell<board::Executor> = StaticCell::new();
    board::init();
    EXECUTOR
        .init(board::Executor::new())
        .run(|spawner| match producer(spawner) {
            Ok(task) => spawner.spawn(task),
            Err(_) => end(false),
        })
}
