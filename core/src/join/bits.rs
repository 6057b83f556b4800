//! Bits of a word by number. Nothing here is shared between threads.

/// Indices are below the width of a word: callers look at `children` first.
#[inline]
#[allow(clippy::cast_possible_truncation)]
pub(super) const fn bit(index: usize) -> usize {
    1_usize.wrapping_shl(index as u32)
}

/// `-back`, which is not negative.
#[inline]
#[allow(clippy::cast_sign_loss)]
pub(super) const fn forth(back: isize) -> usize {
    back.wrapping_neg() as usize
}

/// `lowest`, a bit, moved up by `-back`.
#[inline]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Modulo the width of a word.
pub(super) const fn bit_back(lowest: usize, back: isize) -> usize {
    lowest.rotate_right(back as u32)
}

/// The lowest `count` bits: fewer than a word has.
#[inline]
pub(super) const fn below(count: usize) -> usize {
    bit(count).wrapping_sub(1)
}
