//! What can go wrong. Nothing that was acknowledged is lost by any of it.

use postbox::id::Invalid;
use sequential_storage::Error as Storage;

/// The outbox could not do what was asked: see the [crate].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlashError<E> {
    /// Every page holds a message that was not published.
    #[error("the flash is full of messages that were not published")]
    Full,
    /// The message does not fit: into the buffer of this outbox, or into a page.
    #[error("the message has {len} bytes, the limit is {limit}")]
    TooLong {
        /// Its length, with its text.
        len: usize,
        /// The most that fits.
        limit: usize,
    },
    /// A part that no store takes.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The region holds something that is not an outbox, or was damaged beyond repair.
    /// [`format`](crate::FlashOutbox::format) begins anew, and loses what is there.
    #[error("the flash holds no outbox, or a damaged one")]
    Corrupted,
    /// The region is too small, or not in whole pages: it takes two for the sequence number and two for messages.
    #[error("the region {from:#x}..{to:#x} does not hold four whole pages of {page} bytes")]
    Region {
        /// Where it begins.
        from: u32,
        /// Where it ends.
        to: u32,
        /// The size of a page.
        page: usize,
    },
    /// The flash itself failed.
    #[error("the flash failed: {0}")]
    Flash(E),
}

impl<E> FlashError<E> {
    pub(crate) fn of(error: Storage<E>, limit: usize) -> Self {
        match error {
            Storage::Storage { value } => Self::Flash(value),
            Storage::FullStorage => Self::Full,
            Storage::ItemTooBig => Self::TooLong { len: limit, limit },
            Storage::BufferTooSmall(len) => Self::TooLong { len, limit },
            _ => Self::Corrupted,
        }
    }
}
