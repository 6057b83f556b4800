//! The working lists of one pass: vectors where there is an allocator, small arrays where there is none.

use crate::publisher::PublishOutcome;

/// The most messages of one pass.
#[cfg(feature = "alloc")]
pub(super) const CHUNK: usize = crate::store::MAX_BATCH;
/// The most messages of one pass: the lists live inside the future.
#[cfg(not(feature = "alloc"))]
pub(super) const CHUNK: usize = 4;

/// One to [`CHUNK`] items.
pub(super) struct Scratch<T> {
    #[cfg(feature = "alloc")]
    items: alloc::vec::Vec<T>,
    #[cfg(not(feature = "alloc"))]
    items: [T; CHUNK],
    #[cfg(not(feature = "alloc"))]
    len: usize,
}

impl Scratch<PublishOutcome> {
    /// An outcome for each of so many messages: nobody has touched them.
    #[allow(
        clippy::inline_always,
        reason = "lists are large: they are to be made where they stay"
    )]
    #[inline(always)]
    pub(super) fn waiting(len: usize) -> Self {
        #[cfg(feature = "alloc")]
        {
            let waiting = core::iter::repeat_with(PublishOutcome::default);
            Self {
                items: waiting.take(len.min(CHUNK)).collect(),
            }
        }
        #[cfg(not(feature = "alloc"))]
        Self {
            items: [const { PublishOutcome::Waiting }; CHUNK],
            len: len.min(CHUNK),
        }
    }
}

impl<T: Copy> Scratch<T> {
    /// Makes an item for each of `from`, whose first is `first`, and its position; at most [`CHUNK`]. Not an option,
    /// whose tag inside of an item would have it copied byte by byte.
    #[allow(
        clippy::inline_always,
        reason = "lists are large: they are to be made where they stay"
    )]
    #[inline(always)]
    pub(super) fn collect<'s, S>(
        first: &'s S,
        from: &'s [S],
        mut make: impl FnMut(usize, &'s S) -> T,
    ) -> Self {
        #[cfg(feature = "alloc")]
        {
            let _ = first;
            let some = from.iter().take(CHUNK).enumerate();
            Self {
                items: some.map(|(at, item)| make(at, item)).collect(),
            }
        }
        // Unused places hold the first item once more.
        #[cfg(not(feature = "alloc"))]
        {
            let mut items = [make(0, first); CHUNK];
            for (at, (place, item)) in items.iter_mut().zip(from).enumerate().skip(1) {
                *place = make(at, item);
            }
            Self {
                items,
                len: from.len().min(CHUNK),
            }
        }
    }
}

impl<T> Scratch<T> {
    pub(super) fn as_slice(&self) -> &[T] {
        #[cfg(feature = "alloc")]
        return &self.items;
        #[cfg(not(feature = "alloc"))]
        return self.items.get(..self.len).unwrap_or_default();
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [T] {
        #[cfg(feature = "alloc")]
        return &mut self.items;
        #[cfg(not(feature = "alloc"))]
        return self.items.get_mut(..self.len).unwrap_or_default();
    }
}
