//! A sensor that loses no reading: each is in flash before `measured` returns, and leaves it when the broker has it.
//!
//! Copy this page. What is yours is the flash driver, and a publisher over whatever connects the device: it returns `Ok`
//! when the broker has acknowledged the message, `Unavailable` while there is no connection. `main` then is:
//!
//! ```ignore
//! let outbox = OUTBOX.init(sensor::open(flash, region).await?);
//! spawner.spawn(publishing(outbox)?);                  // a task that awaits sensor::publish(outbox, publisher, NEVER)
//! loop {
//!     sensor::measured(outbox, &thermometer.read().to_le_bytes()).await?;
//!     Timer::after_secs(60).await;
//! }
//! ```
//!
//! After a reset or a power cut everything that is still in flash is published; the last messages before it may be
//! published twice, with the same id, which the receiver's inbox removes (see `examples/bridge`).
#![no_std]
#![forbid(unsafe_code)]

use core::ops::Range;

use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embedded_storage_async::nor_flash::MultiwriteNorFlash;
use postbox::backstop::{Backstop, BackstopConfig, BackstopReport};
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::{Invalid, WorkerId};
use postbox::lease::Lease;
use postbox::publisher::AsyncMessagePublisher;
use postbox::retry::RetryPolicy;
use postbox_embassy::EmbassyTimer;
use postbox_flash::{FlashError, FlashKey, FlashOutbox, NewMessage};

/// Readings of up to 32 bytes; four in flight or waiting for a retry, two a batch.
pub type Outbox<F> = FlashOutbox<CriticalSectionRawMutex, F, EmbassyTimer, 96, 4, 2>;

/// Begins every id: no two devices of one broker may share it.
pub const DEVICE: &str = "sensor-7";

/// Opens the outbox in its own region of the flash, at least four erased pages.
pub async fn open<F: MultiwriteNorFlash>(
    flash: F,
    region: Range<u32>,
) -> Result<Outbox<F>, FlashError<F::Error>> {
    Outbox::open(flash, region, EmbassyTimer, DEVICE).await
}

/// Stores a reading. From `Ok` on it will reach the broker; [`FlashError::Full`] says that it was refused.
pub async fn measured<F: MultiwriteNorFlash>(
    outbox: &Outbox<F>,
    reading: &[u8],
) -> Result<FlashKey, FlashError<F::Error>> {
    // With a key the readings of this device arrive in order.
    let message = NewMessage::event("temperature.read", reading, "application/octet-stream");
    outbox.enqueue(message.with_key(DEVICE)).await
}

/// Publishes what is in flash, until told to stop: the body of a task.
pub async fn publish<F, P>(
    outbox: &Outbox<F>,
    publisher: P,
    shutdown: impl Future<Output = ()>,
) -> Result<BackstopReport, Invalid>
where
    F: MultiwriteNorFlash<Error: core::error::Error>,
    P: AsyncMessagePublisher,
{
    // Nobody reads dead letters here: a reading is tried for as long as the device lives.
    let retry = RetryPolicy {
        max_failures: u32::MAX,
        max_age: core::time::Duration::MAX,
        max_abandoned: u32::MAX,
        ..RetryPolicy::DEFAULT
    };
    let config = DispatchConfig::new(WorkerId::named(DEVICE))
        .with_lease(Lease::IMMEDIATE)
        .with_retry(retry)?;
    let dispatcher = OutboxDispatcher::new(outbox, publisher, config).with_timer(EmbassyTimer);
    Backstop::new(dispatcher, BackstopConfig::new())
        .run(shutdown)
        .await
}

/// The same, when a reset may lose readings: an outbox of 32 places in RAM, which also takes them from interrupts.
pub mod volatile {
    use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
    use postbox::message::{Headers, MessageKind, MessageRef};
    use postbox_embassy::EmbassyTimer;
    use postbox_heapless::{EnqueueError, HeaplessKey, HeaplessOutbox};

    /// In RAM: some 6 KiB.
    pub static OUTBOX: HeaplessOutbox<CriticalSectionRawMutex, EmbassyTimer, 32, 64, 32> =
        HeaplessOutbox::new(EmbassyTimer);

    /// Stores a reading; `id` must be new each time, for example from a counter.
    pub fn measured(id: &str, reading: &[u8]) -> Result<HeaplessKey, EnqueueError> {
        OUTBOX.enqueue(MessageRef {
            id,
            name: "temperature.read",
            kind: MessageKind::Event,
            key: Some(super::DEVICE),
            payload: reading,
            content_type: "application/octet-stream",
            headers: Headers::EMPTY,
        })
    }
}
