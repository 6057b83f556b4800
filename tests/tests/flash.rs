//! The outbox in flash: power cuts, bad regions, limits, and the rules of claims over it.
#![allow(
    clippy::cast_possible_truncation,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub
)] // In a suite a panic is the report.

#[path = "flash/conformance.rs"]
mod conformance;
#[path = "flash/limits.rs"]
mod limits;
#[path = "flash/mock.rs"]
mod mock;
#[path = "flash/power.rs"]
mod power;
#[path = "flash/regions.rs"]
mod regions;

use std::task::{Context, Waker};

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use postbox::testing::{VirtualClock, run};
use postbox_flash::{FlashError, FlashOutbox, NewMessage};

use mock::{Fault, MockFlash};

/// The most messages of one claim, and so the most that one power cut repeats.
pub const BATCH: usize = 3;
pub type Outbox = FlashOutbox<NoopRawMutex, MockFlash, VirtualClock, 96, 8, BATCH>;

pub async fn open(flash: &MockFlash) -> Result<Outbox, FlashError<Fault>> {
    Outbox::open(flash.clone(), flash.range(), VirtualClock::new(), "d").await
}

pub const fn message(payload: &[u8]) -> NewMessage<'_> {
    NewMessage::event("read", payload, "x/y")
}

/// Runs what waits for nothing but itself.
pub fn now<F: Future>(future: F) -> F::Output {
    run(&VirtualClock::new(), future).unwrap()
}

/// Polls a future so often, and drops it.
pub fn poll_times(future: impl Future<Output = ()>, times: usize) {
    let mut future = std::pin::pin!(future);
    for _ in 0..times {
        if future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
        {
            return;
        }
    }
}
