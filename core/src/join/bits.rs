//! Bits of a word by number. Nothing here is shared between threads.

/// Call `visit` with the number of every bit that is set, lowest first.
#[inline]
pub(super) fn each(mut bits: usize, mut visit: impl FnMut(usize)) {
    while bits != 0 {
        visit(bits.trailing_zeros() as usize);
        bits &= bits.wrapping_sub(1);
    }
}

/// Indices are below the width of a word: callers look at `children` first.
#[inline]
#[allow(clippy::cast_possible_truncation)]
pub(super) const fn bit(index: usize) -> usize {
    1_usize.wrapping_shl(index as u32)
}

/// The lowest `count` bits.
#[inline]
pub(super) const fn below(count: usize) -> usize {
    if count < usize::BITS as usize {
        bit(count).wrapping_sub(1)
    } else {
        usize::MAX
    }
}
