//! A Postbox outbox in NOR flash, for devices that lose power.
//!
//! Messages and the next sequence number are in flash, in a log of `sequential-storage`; leases, attempts and failures
//! are in RAM. After a reset everything that is stored is pending, attempt 0: what was published and not yet settled is
//! published again, with the same id.
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
