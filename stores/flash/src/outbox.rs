//! The outbox as firmware sees it: open, enqueue, dead letters.

use core::ops::Range;

use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_sync::mutex::Mutex;
use embedded_storage_async::nor_flash::MultiwriteNorFlash;
use postbox::claim::{Entry, State};
use postbox::id::check_text;
use postbox::time::Clock;

use crate::FlashError;
use crate::bell::Bell;
use crate::item::NewMessage;
use crate::log::Log;
use crate::window::Window;

/// The longest name of a device, in bytes: see [`FlashOutbox::open`].
pub const MAX_DEVICE_BYTES: usize = 32;

/// Names a message: its sequence number, which no other ever has. See the [crate].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlashKey(pub(crate) u64);

impl FlashKey {
    /// The sequence number; the id of the message is the device's name, a hyphen, and this: see the [crate].
    pub const fn sequence(self) -> u64 {
        self.0
    }
}

/// What becomes of a message that is given up: see the [crate].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadLetters {
    /// It stays in flash and in the window, until it is put back or removed, or until the next reset makes it pending
    /// again. A window full of dead letters publishes nothing more.
    #[default]
    Keep,
    /// The same, and it holds up the later messages of its key: where order is worth more than progress.
    Block,
    /// It is taken out of flash, and counted. For devices that nobody looks at.
    Drop,
}

/// An outbox in a region of NOR flash. The [crate] has an example.
///
/// `ITEM` is the longest message in bytes, its text and 16 bytes included; `WINDOW` how many messages may be in flight,
/// wait for a retry or be dead at a time (others wait their turn in flash); `BATCH` how many a claim hands out. The
/// clock judges leases and pauses, in RAM. The store that engines take is a reference to it.
///
/// # Delivery
/// At least once, over resets and power cuts at any moment: a message is acknowledged when [`enqueue`](Self::enqueue)
/// returns `Ok`, and leaves the flash when it was settled. In order within a key (two keys of one hash wait for each
/// other too). A reset makes all that is stored pending; a message that was published and not settled is published
/// again, with the same id.
///
/// # Cancel safety
/// A dropped `enqueue` may have stored its message or not, as one that a power cut interrupted. Dropped settlements
/// leave the message to be published again.
pub struct FlashOutbox<M: RawMutex, F, C, const ITEM: usize, const WINDOW: usize = 8, const BATCH: usize = 4>
{
    pub(crate) inner: Mutex<M, Inner<F, ITEM, WINDOW>>,
    pub(crate) hint: Bell<M>,
    pub(crate) clock: C,
    pub(crate) device: &'static str,
}

#[derive(Debug)]
pub(crate) struct Inner<F, const ITEM: usize, const WINDOW: usize> {
    pub(crate) log: Log<F, ITEM>,
    pub(crate) window: Window<WINDOW>,
    pub(crate) dead: DeadLetters,
    pub(crate) dropped: u64,
}

impl<M, F, C, const ITEM: usize, const WINDOW: usize, const BATCH: usize>
    FlashOutbox<M, F, C, ITEM, WINDOW, BATCH>
where
    M: RawMutex,
    F: MultiwriteNorFlash,
    C: Clock,
{
    const CHECKED: () = assert!(WINDOW > 0 && BATCH > 0, "window and batch must be more than 0");

    /// Opens the outbox in a region of the flash: at least four pages, nothing else's. An erased region is an empty
    /// outbox. A page whose marks are neither written nor erased was cut off while it was erased, and is erased again:
    /// so do not open a region that holds something else. `device` begins the ids of its messages; of two devices that
    /// publish to one bus no two may share it. See the [crate].
    ///
    /// # Errors
    /// [`FlashError::Corrupted`] for what is no outbox (a fresh emulator shows zeros, not erased flash);
    /// [`FlashError::Region`]; an over-long or blank device.
    pub async fn open(
        flash: F,
        region: Range<u32>,
        clock: C,
        device: &'static str,
    ) -> Result<Self, FlashError<F::Error>> {
        let () = Self::CHECKED;
        check_text("device", device, MAX_DEVICE_BYTES)?;
        let inner = Inner {
            log: Log::open(flash, region).await?,
            window: Window::new(),
            dead: DeadLetters::Keep,
            dropped: 0,
        };
        Ok(Self {
            inner: Mutex::new(inner),
            hint: Bell::new(),
            clock,
            device,
        })
    }

    /// Says what becomes of messages that are given up: see the [crate].
    pub fn with_dead_letters(mut self, dead: DeadLetters) -> Self {
        self.inner.get_mut().dead = dead;
        self
    }

    /// Erases a region: whatever was in it is lost, and an empty outbox can be opened there. See the [crate].
    ///
    /// # Errors
    /// [`FlashError::Flash`].
    pub async fn format(flash: F, region: Range<u32>) -> Result<(), FlashError<F::Error>> {
        Log::<F, ITEM>::format(flash, region).await
    }

    /// Stores a message. When this returns `Ok`, it is in flash. See the [crate].
    ///
    /// # Errors
    /// [`FlashError::Full`], [`FlashError::TooLong`], a bad part, or the flash's own; nothing is lost by any. After the
    /// last one the message may be stored all the same.
    pub async fn enqueue(&self, message: NewMessage<'_>) -> Result<FlashKey, FlashError<F::Error>> {
        let pushed = self.inner.lock().await.log.push(&message).await;
        if pushed.is_ok() {
            self.hint.ring();
        }
        pushed.map(FlashKey)
    }

    /// How many messages are in flash, dead letters included: see the [crate].
    ///
    /// # Errors
    /// The flash's.
    pub async fn stored(&self) -> Result<usize, FlashError<F::Error>> {
        let mut inner = self.inner.lock().await;
        let mut buffer = [0; ITEM];
        let mut queue = inner.log.queue();
        let of = |error| FlashError::of(error, ITEM);
        let mut items = queue.iter().await.map_err(of)?;
        let mut stored = 0_usize;
        while items.next(&mut buffer).await.map_err(of)?.is_some() {
            stored = stored.saturating_add(1);
        }
        Ok(stored)
    }

    /// How many dead letters were dropped since the last reset: see the [crate].
    pub async fn dropped(&self) -> u64 {
        self.inner.lock().await.dropped
    }

    /// Puts a dead letter back, due now, failures at zero. `false` when it is not dead. See the [crate].
    pub async fn requeue(&self, key: FlashKey) -> bool {
        let mut inner = self.inner.lock().await;
        let now = self.clock.now();
        let Some(mut entry) = inner.window.entry(key.0) else {
            return false;
        };
        let requeued = entry.requeue(now);
        if requeued {
            inner.window.set(key.0, entry);
            self.hint.ring();
        }
        requeued
    }

    /// Takes a dead letter out for good. `false` when it is not dead. See the [crate].
    ///
    /// # Errors
    /// The flash's.
    pub async fn remove(&self, key: FlashKey) -> Result<bool, FlashError<F::Error>> {
        let mut inner = self.inner.lock().await;
        let dead = |entry: Entry| matches!(entry.state(), State::Dead { .. });
        if !inner.window.entry(key.0).is_some_and(dead) {
            return Ok(false);
        }
        inner.take_out(|sequence| sequence == key.0).await?;
        inner.window.forget(key.0);
        Ok(true)
    }

    /// The flash, for another use: see the [crate].
    pub fn into_flash(self) -> F {
        self.inner.into_inner().log.into_flash()
    }
}

impl<M: RawMutex, F, C, const ITEM: usize, const WINDOW: usize, const BATCH: usize> core::fmt::Debug
    for FlashOutbox<M, F, C, ITEM, WINDOW, BATCH>
{
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FlashOutbox")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}
