//! NOR flash: the micro:bit's, whose writes and erases QEMU models; or on the MPS2 a piece of RAM that behaves as flash,
//! survives a reset, and can lose its power at any word.

use embedded_storage_async::nor_flash::{
    ErrorType, MultiwriteNorFlash, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

const PAGE: usize = 1024;
const WORD: usize = 4;

unsafe extern "C" {
    static _store_start: u8;
    static _store_end: u8;
}

/// The region that the memory map keeps for the store.
pub struct Flash(());

/// The flash. There is one: whoever takes it twice must not use both.
pub fn take() -> Flash {
    Flash(())
}

/// Outside of the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfBounds;

impl core::fmt::Display for OutOfBounds {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("outside of the store's flash")
    }
}

impl core::error::Error for OutOfBounds {}

impl NorFlashError for OutOfBounds {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::OutOfBounds
    }
}

impl Flash {
    /// How many bytes the region has.
    pub fn len(&self) -> u32 {
        (end() - start()) as u32
    }

    /// Whether nothing was ever written or erased: QEMU starts with zeros, where real flash comes erased.
    pub fn is_blank(&self) -> bool {
        (start()..end()).step_by(WORD).all(|at| load(at) == 0)
    }
}

impl ErrorType for Flash {
    type Error = OutOfBounds;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        let from = address(offset, bytes.len())?;
        for (at, byte) in (from..).zip(bytes) {
            *byte = load(at & !3).to_le_bytes()[at & 3];
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        end() - start()
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), OutOfBounds> {
        let length = to.saturating_sub(from) as usize;
        let from = address(from, length)?;
        (from..from + length).step_by(PAGE).for_each(hardware::erase);
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), OutOfBounds> {
        let from = address(offset, bytes.len())?;
        for (at, word) in (from..).step_by(WORD).zip(bytes.as_chunks::<WORD>().0) {
            hardware::write(at, u32::from_le_bytes(*word));
        }
        Ok(())
    }
}

impl MultiwriteNorFlash for Flash {}

fn start() -> usize {
    (&raw const _store_start) as usize
}

fn end() -> usize {
    (&raw const _store_end) as usize
}

fn address(offset: u32, length: usize) -> Result<usize, OutOfBounds> {
    let from = start() + offset as usize;
    if from + length > end() {
        return Err(OutOfBounds);
    }
    Ok(from)
}

/// A word of the region.
fn load(at: usize) -> u32 {
    crate::register::read(at)
}

#[cfg(feature = "microbit")]
mod hardware {
    use crate::register::{read, write as register};

    const READY: usize = 0x4001_E400;
    const CONFIG: usize = 0x4001_E504;
    const ERASE_PAGE: usize = 0x4001_E508;

    pub(super) fn erase(page: usize) {
        with(2, || register(ERASE_PAGE, page as u32));
    }

    pub(super) fn write(at: usize, value: u32) {
        with(1, || register(at, value));
    }

    /// Does something with erasing or writing enabled.
    fn with(mode: u32, work: impl FnOnce()) {
        register(CONFIG, mode);
        work();
        while read(READY) & 1 == 0 {}
        register(CONFIG, 0);
    }
}

#[cfg(feature = "mps2-an385")]
mod hardware {
    use super::{PAGE, WORD, load, power};
    use crate::register::write as store;

    pub(super) fn erase(page: usize) {
        for at in (page..page + PAGE).step_by(WORD) {
            power::word();
            store(at, u32::MAX);
        }
    }

    pub(super) fn write(at: usize, value: u32) {
        power::word();
        // A write only clears bits.
        store(at, load(at) & value);
    }
}

/// Power that is cut at a chosen word: instead of it, the core resets. Once: the counters go with the reset.
#[cfg(feature = "mps2-an385")]
pub mod power {
    use portable_atomic::{AtomicU32, Ordering};

    static WORDS: AtomicU32 = AtomicU32::new(0);
    static CUT_AT: AtomicU32 = AtomicU32::new(0);

    /// Counts from 0 again, and cuts at this word, the first being 1; never at 0.
    pub fn cut_at(word: u32) {
        WORDS.store(0, Ordering::Relaxed);
        CUT_AT.store(word, Ordering::Relaxed);
    }

    /// Words written or erased since then.
    pub fn words() -> u32 {
        WORDS.load(Ordering::Relaxed)
    }

    pub(super) fn word() {
        let words = WORDS.load(Ordering::Relaxed) + 1;
        WORDS.store(words, Ordering::Relaxed);
        if words == CUT_AT.load(Ordering::Relaxed) {
            cortex_m::peripheral::SCB::sys_reset();
        }
    }
}
