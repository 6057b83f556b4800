//! A Postbox outbox in NOR flash, for devices that lose power.
//!
//! Messages and the next sequence number are in flash, in a log of `sequential-storage`; leases, attempts and failures
//! are in RAM. After a reset everything that is stored is pending, attempt 0: what was published and not yet settled is
//! published again, with the same id.
//!
//! ```
//! use core::time::Duration;
//! use embassy_sync::blocking_mutex::raw::NoopRawMutex;
//! use postbox::claim::Verdict;
//! use postbox::id::WorkerId;
//! use postbox::store::{ClaimRequest, ClaimedMessage, OutboxStore, Settlement, Which};
//! use postbox::testing::{VirtualClock, run};
//! use postbox_flash::{DeadLetters, FlashError, FlashOutbox, NewMessage};
//! # use embedded_storage_async::nor_flash::{ErrorType, MultiwriteNorFlash, NorFlash, ReadNorFlash};
//! # struct Ram(Vec<u8>);
//! # impl ErrorType for Ram { type Error = core::convert::Infallible; }
//! # impl ReadNorFlash for Ram {
//! #     const READ_SIZE: usize = 1;
//! #     async fn read(&mut self, at: u32, to: &mut [u8]) -> Result<(), Self::Error> {
//! #         to.copy_from_slice(&self.0[at as usize..][..to.len()]);
//! #         Ok(())
//! #     }
//! #     fn capacity(&self) -> usize { self.0.len() }
//! # }
//! # impl NorFlash for Ram {
//! #     const WRITE_SIZE: usize = 4;
//! #     const ERASE_SIZE: usize = 4096;
//! #     async fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
//! #         self.0[from as usize..to as usize].fill(0xff);
//! #         Ok(())
//! #     }
//! #     async fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Self::Error> {
//! #         for (to, from) in self.0[at as usize..].iter_mut().zip(bytes) { *to &= from; }
//! #         Ok(())
//! #     }
//! # }
//! # impl MultiwriteNorFlash for Ram {}
//!
//! // Messages of up to 64 bytes, text included; windows and batches as they are by default.
//! type Outbox<F> = FlashOutbox<NoopRawMutex, F, VirtualClock, 64>;
//! # let clock = VirtualClock::new();
//! # let mut flash = Ram(vec![0; 4 * 4096]);
//! # run(&clock.clone(), async {
//! let region = 0..4 * 4096;
//! // Once in the life of a device, unless its flash is erased when it leaves the factory:
//! let opened = Outbox::open(&mut flash, region.clone(), clock.clone(), "sensor-7").await;
//! if matches!(opened, Err(FlashError::Corrupted)) {
//!     Outbox::<&mut _>::format(&mut flash, region.clone()).await?;
//! }
//! let outbox = Outbox::open(flash, region.clone(), clock.clone(), "sensor-7").await?;
//! let outbox = outbox.with_dead_letters(DeadLetters::Keep);
//! let key = outbox.enqueue(NewMessage::event("read", b"21.5", "text/plain").with_key("indoors")).await?;
//! assert_eq!((key.sequence(), outbox.stored().await?), (1, 1));
//!
//! // What a dispatcher does:
//! let request = ClaimRequest {
//!     worker: WorkerId::named("by hand"),
//!     lease: Duration::from_secs(30),
//!     limit: 4,
//!     max_abandoned: 10,
//!     which: Which::Due,
//! };
//! let batch = (&outbox).claim(&request).await?;
//! assert_eq!(batch[0].message().id, "sensor-7-1");
//! let (claim, verdict) = (batch[0].claim(), Verdict::Bury);
//! (&outbox).settle(&[Settlement { claim, verdict, error: "no broker" }]).await?;
//!
//! // A dead letter is put back, or looked at and removed.
//! assert!(outbox.requeue(key).await);
//! assert!(!outbox.remove(key).await?, "it is not dead any more");
//! assert_eq!(outbox.dropped().await, 0);
//!
//! // After a reset: it is still there.
//! let flash = outbox.into_flash();
//! let outbox = Outbox::open(flash, region, clock, "sensor-7").await?;
//! assert_eq!(outbox.stored().await?, 1);
//! # Ok::<(), FlashError<core::convert::Infallible>>(())
//! # })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Wear and capacity
//! A message takes its text and payload plus [`ITEM_OVERHEAD`] bytes, rounded up to a flash word, and never crosses a
//! page. Publishing one writes it once and clears one word of it later; a page is erased once its messages are all
//! published and the log comes round to it, so `n` pages of `e` erase cycles take about `n * e * page / message` messages
//! in their life (16 pages of 4 KiB, 10,000 cycles, messages of 100 bytes: some 6.5 million). The sequence number is
//! written every [`RESERVED`] messages, to two more pages. Opening, enqueueing and claiming read the headers of what lies
//! in the way, so large logs are slower: keep them to some hundred waiting messages, or pages.
//!
//! # Word size
//! Flash that is written in units of less than 4 bytes does not compile: with such words `sequential-storage` 8.0.2 can
//! lose an acknowledged message after several power cuts.
//!
//! ```compile_fail
//! # use embedded_storage_async::nor_flash::{ErrorType, MultiwriteNorFlash, NorFlash, ReadNorFlash};
//! # struct Bytewise;
//! # impl ErrorType for Bytewise { type Error = core::convert::Infallible; }
//! # impl ReadNorFlash for Bytewise {
//! #     const READ_SIZE: usize = 1;
//! #     async fn read(&mut self, _: u32, _: &mut [u8]) -> Result<(), Self::Error> { Ok(()) }
//! #     fn capacity(&self) -> usize { 0 }
//! # }
//! impl NorFlash for Bytewise {
//!     const WRITE_SIZE: usize = 1; // 4 compiles
//!     // ...
//! #   const ERASE_SIZE: usize = 4096;
//! #   async fn erase(&mut self, _: u32, _: u32) -> Result<(), Self::Error> { Ok(()) }
//! #   async fn write(&mut self, _: u32, _: &[u8]) -> Result<(), Self::Error> { Ok(()) }
//! }
//! # impl MultiwriteNorFlash for Bytewise {}
//! # use embassy_sync::blocking_mutex::raw::NoopRawMutex;
//! # use postbox_flash::FlashOutbox;
//! # fn main() {
//! # let clock = postbox::testing::VirtualClock::new();
//! let outbox = FlashOutbox::<NoopRawMutex, _, _, 96>::open(Bytewise, 0..0x4000, clock, "device");
//! # let _ = postbox::testing::run(&postbox::testing::VirtualClock::new(), outbox);
//! # }
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![allow(async_fn_in_trait)]

mod bell;
mod claimed;
mod error;
mod item;
mod log;
#[cfg(feature = "alloc")]
mod operator;
mod outbox;
mod store;
mod window;

pub use bell::FlashWatch;
pub use claimed::FlashClaimed;
pub use error::FlashError;
pub use item::{ITEM_OVERHEAD, NewMessage};
pub use log::RESERVED;
pub use outbox::{DeadLetters, FlashKey, FlashOutbox, MAX_DEVICE_BYTES};
