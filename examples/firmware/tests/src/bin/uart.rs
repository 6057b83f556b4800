//! A thousand messages over the serial line, each settled when its acknowledgement came: one that is swallowed ends in a
//! retry. The host's side is in `host/`.
#![no_std]
#![no_main]

use core::time::Duration as CoreDuration;

use board::qemu::end;
use board::uart::{Receiver, Sender};
use embassy_executor::Spawner;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex as Raw;
use embassy_sync::mutex::Mutex;
use embassy_sync::signal::Signal;
use embassy_time::{Duration, Timer, with_timeout};
use postbox::backstop::{Backstop, BackstopConfig, BackstopReport};
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::{Invalid, WorkerId};
use postbox::message::{Headers, MessageKind, MessageRef};
use postbox::publisher::{AsyncMessagePublisher, PublishBatch, PublishError};
use postbox::retry::{Backoff, RetryPolicy};
use postbox_embassy::{BackstopTask, EmbassyTimer, spawn_backstop};
use postbox_heapless::HeaplessOutbox;
use static_cell::StaticCell;
use wire::{Frame, MAX_FRAME, decode, encode};

const MESSAGES: u32 = 1_000;
const ACK_WITHIN: Duration = Duration::from_millis(100);

/// Batches of one: one acknowledgement is waited for at a time.
static OUTBOX: HeaplessOutbox<Raw, EmbassyTimer, 16, 32, 4, 1> = HeaplessOutbox::new(EmbassyTimer);
static BACKSTOP: BackstopTask<Raw, BackstopReport, Invalid> = BackstopTask::new();
static ACK: Signal<Raw, [u8; 6]> = Signal::new();

struct Line(Mutex<Raw, Sender>);

impl Line {
    async fn send(&self, frame: &Frame<'_>) -> Result<(), PublishError<&'static str>> {
        let mut buffer = [0; MAX_FRAME];
        let bytes = encode(frame, &mut buffer).ok_or(PublishError::Permanent("too long for a frame"))?;
        self.0.lock().await.write_all(bytes).await;
        Ok(())
    }
}

impl AsyncMessagePublisher for &Line {
    type Error = &'static str;

    async fn publish(&self, message: MessageRef<'_>) -> Result<(), PublishError<&'static str>> {
        let (id, payload) = (message.id, message.payload);
        self.send(&Frame::Message { id, payload }).await?;
        // An acknowledgement that comes late is for an earlier attempt, of this message or another.
        let acknowledged = async { while ACK.wait().await != id.as_bytes() {} };
        let acknowledged = with_timeout(ACK_WITHIN, acknowledged).await;
        acknowledged.map_err(|_| PublishError::Retryable("no acknowledgement"))
    }

    /// One after the other: there is one line, and the default window would keep eight of these futures in RAM.
    async fn publish_batch(&self, batch: &mut PublishBatch<'_>) {
        while let Some((ticket, message)) = batch.start() {
            batch.report(ticket, self.publish(message).await);
        }
    }
}

#[embassy_executor::task]
async fn backstop(line: &'static Line) {
    BACKSTOP
        .run(async |shutdown| {
            let retry = RetryPolicy {
                backoff: Backoff::new(CoreDuration::from_millis(5), CoreDuration::from_millis(20))?,
                ..RetryPolicy::DEFAULT
            };
            let config = DispatchConfig::new(WorkerId::named("uart")).with_retry(retry)?;
            let dispatcher = OutboxDispatcher::new(&OUTBOX, line, config).with_timer(EmbassyTimer);
            Backstop::new(dispatcher, BackstopConfig::new())
                .run(shutdown)
                .await
        })
        .await;
}

#[embassy_executor::task]
async fn reader(mut receiver: Receiver) {
    let (mut frame, mut len, mut chunk) = ([0; MAX_FRAME], 0, [0; 32]);
    loop {
        let read = receiver.read(&mut chunk).await;
        for byte in &chunk[..read] {
            if *byte != 0 {
                // What is too long is no frame: its start is overwritten, and what is left does not decode.
                len = if len < MAX_FRAME { len } else { 0 };
                frame[len] = *byte;
                len += 1;
                continue;
            }
            if let Some(Frame::Ack { id }) = decode(&mut frame[..len]) {
                if let Ok(id) = id.as_bytes().try_into() {
                    ACK.signal(id);
                }
            }
            len = 0;
        }
    }
}

#[embassy_executor::task]
async fn producer(spawner: Spawner, line: &'static Line) {
    let running = match backstop(line) {
        Ok(task) => spawn_backstop(spawner, &BACKSTOP, task),
        Err(_) => end(false),
    };
    // Ends what a reset may have cut off.
    line.0.lock().await.write_all(&[0]).await;
    for number in 0..MESSAGES {
        let digits = [1_000, 100, 10, 1].map(|place| b'0' + (number / place % 10) as u8);
        let id = [b'm', b'-', digits[0], digits[1], digits[2], digits[3]];
        let message = MessageRef {
            id: core::str::from_utf8(&id).unwrap_or_default(),
            name: "counted",
            kind: MessageKind::Event,
            key: Some("line"),
            payload: &number.to_le_bytes(),
            content_type: "x/y",
            headers: Headers::EMPTY,
        };
        while OUTBOX.enqueue(message).is_err() {
            Timer::after_millis(1).await;
        }
    }
    while OUTBOX.counts().pending + OUTBOX.counts().in_flight > 0 {
        Timer::after_millis(1).await;
    }
    let report = running.stop(CoreDuration::from_secs(1)).await;
    let published = report.map_or(0, |report| report.published as u32);
    let said = line.send(&Frame::Bye { published }).await;
    Timer::after_millis(20).await;
    end(said.is_ok() && OUTBOX.counts().dead == 0);
}

#[cortex_m_rt::entry]
fn main() -> ! {
    static EXECUTOR: StaticCell<board::Executor> = StaticCell::new();
    static LINE: StaticCell<Line> = StaticCell::new();
    board::init();
    let (receiver, sender) = board::uart::start();
    let line: &'static Line = LINE.init(Line(Mutex::new(sender)));
    EXECUTOR.init(board::Executor::new()).run(|spawner| {
        let (Ok(reader), Ok(producer)) = (reader(receiver), producer(spawner, line)) else {
            end(false)
        };
        spawner.spawn(reader);
        spawner.spawn(producer);
    })
}
