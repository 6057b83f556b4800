//! NOR flash in RAM: a write only clears bits, and the power can be cut at any word, which may be left torn.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use embedded_storage_async::nor_flash::{
    ErrorType, MultiwriteNorFlash, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

pub const PAGE: usize = 256;
const WORD: usize = 4;

/// Clones are the same flash, before and after a reset.
#[derive(Clone, Debug)]
pub struct MockFlash<const ERASED: usize = PAGE>(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    bytes: Vec<u8>,
    /// Words that are still written or erased before the power is cut.
    left: Option<u64>,
    torn: Torn,
    words: u64,
    off: bool,
    yields: bool,
}

/// What the power cut leaves of the word that it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// As it was.
    Not,
    /// Some bits as they were, some as they were to be, by this number.
    Bits(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    PowerIsOff,
    OutOfBounds,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Fault {}

impl NorFlashError for Fault {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl<const ERASED: usize> MockFlash<ERASED> {
    /// Erased.
    pub fn new(pages: usize) -> Self {
        Self::with(vec![0xff; pages * ERASED])
    }

    pub fn with(bytes: Vec<u8>) -> Self {
        Self(Rc::new(RefCell::new(State {
            bytes,
            left: None,
            torn: Torn::Not,
            words: 0,
            off: false,
            yields: false,
        })))
    }

    /// Cuts the power at this word from now, the first being 0.
    pub fn cut_at(&self, word: u64, torn: Torn) {
        let mut state = self.0.borrow_mut();
        (state.left, state.torn) = (Some(word), torn);
    }

    /// Power again, for as long as it lasts.
    pub fn reset(&self) {
        let mut state = self.0.borrow_mut();
        (state.left, state.off) = (None, false);
    }

    /// Words written or erased so far.
    pub fn words(&self) -> u64 {
        self.0.borrow().words
    }

    pub fn is_off(&self) -> bool {
        self.0.borrow().off
    }

    /// Lets every operation wait once for each word, so that its future can be dropped there.
    pub fn yields(&self, yields: bool) {
        self.0.borrow_mut().yields = yields;
    }

    pub fn range(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.0.borrow().bytes.len()).unwrap()
    }

    async fn word(&self, at: usize, value: [u8; WORD], erases: bool) -> Result<(), Fault> {
        if self.0.borrow().yields {
            let mut waited = false;
            poll_fn(|cx| {
                if std::mem::replace(&mut waited, true) {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        }
        let state = &mut *self.0.borrow_mut();
        if state.off {
            return Err(Fault::PowerIsOff);
        }
        let word = &mut state.bytes[at..at + WORD];
        let old = u32::from_le_bytes(word.try_into().unwrap());
        let new = u32::from_le_bytes(value);
        let new = if erases { new } else { old & new };
        if state.left == Some(0) {
            state.off = true;
            if let Torn::Bits(mask) = state.torn {
                word.copy_from_slice(&((old & mask) | (new & !mask)).to_le_bytes());
            }
            return Err(Fault::PowerIsOff);
        }
        state.left = state.left.map(|left| left - 1);
        state.words += 1;
        word.copy_from_slice(&new.to_le_bytes());
        Ok(())
    }
}

impl<const ERASED: usize> ErrorType for MockFlash<ERASED> {
    type Error = Fault;
}

impl<const ERASED: usize> ReadNorFlash for MockFlash<ERASED> {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Fault> {
        let state = self.0.borrow();
        let from = usize::try_from(offset).unwrap();
        let source = state.bytes.get(from..from + bytes.len());
        bytes.copy_from_slice(source.ok_or(Fault::OutOfBounds)?);
        if state.off { Err(Fault::PowerIsOff) } else { Ok(()) }
    }
    fn capacity(&self) -> usize {
        self.0.borrow().bytes.len()
    }
}

impl<const ERASED: usize> NorFlash for MockFlash<ERASED> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = ERASED;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Fault> {
        for at in (from..to).step_by(WORD) {
            self.word(usize::try_from(at).unwrap(), [0xff; WORD], true)
                .await?;
        }
        Ok(())
    }
    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Fault> {
        assert_eq!((offset as usize % WORD, bytes.len() % WORD), (0, 0));
        for (at, word) in (offset..).step_by(WORD).zip(bytes.chunks(WORD)) {
            self.word(usize::try_from(at).unwrap(), word.try_into().unwrap(), false)
                .await?;
        }
        Ok(())
    }
}

impl<const ERASED: usize> MultiwriteNorFlash for MockFlash<ERASED> {}

impl<const ERASED: usize> MockFlash<ERASED> {
    /// Clears a bit in the middle of these bytes, wherever they are; how often they are there.
    pub fn damage(&self, bytes: &[u8]) -> usize {
        let mut state = self.0.borrow_mut();
        let all = state.bytes.clone();
        let found = all
            .windows(bytes.len())
            .enumerate()
            .filter(|(_, window)| *window == bytes);
        let found: Vec<usize> = found.map(|(at, _)| at).collect();
        for at in &found {
            state.bytes[at + bytes.len() / 2] &= 0xbf;
        }
        found.len()
    }
}
