//! What becomes of claimed messages: what a holder sends, and what the store answers.

use super::{ClaimRef, MAX_BATCH};
use crate::claim::Verdict;

/// What became of one claimed message. A store that keeps it for later makes a
/// `SettlementBuf` of it (feature `alloc`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement<'a, K> {
    /// The claim.
    pub claim: ClaimRef<K>,
    /// What became of it.
    pub verdict: Verdict,
    /// Why, if it was not published; else empty. Stores keep an [`Excerpt`](crate::id::Excerpt) of it with the message.
    pub error: &'a str,
}

/// What a settlement did.
///
/// ```
/// use postbox::store::Settled;
///
/// let mut settled = Settled::none();
/// settled.apply();
/// settled.refuse(1);
/// settled.refuse(1);
/// assert_eq!((settled.applied(), settled.overtaken_count()), (1, 1));
/// assert_eq!(settled.overtaken().collect::<Vec<_>>(), [1]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    applied: usize,
    refused: usize,
    overtaken: [u32; Self::MARKED / 32],
}

impl Settled {
    /// How many positions can be marked as refused: [`MAX_BATCH`] with `alloc`, 32 without, where room is dear and
    /// batches are small. Refusals at later positions are counted all the same.
    pub const MARKED: usize = if cfg!(feature = "alloc") { MAX_BATCH } else { 32 };

    /// Nothing settled so far.
    pub const fn none() -> Self {
        Self {
            applied: 0,
            refused: 0,
            overtaken: [0; Self::MARKED / 32],
        }
    }

    /// Records that the settlement at `index` was applied.
    pub fn apply(&mut self) {
        self.applied = self.applied.saturating_add(1);
    }

    /// Records that the settlement at `index` was refused: its fence no longer holds.
    pub fn refuse(&mut self, index: usize) {
        self.refused = self
            .refused
            .saturating_add(usize::from(!self.is_overtaken(index)));
        if let Some(word) = self.overtaken.get_mut(index / 32) {
            *word |= 1 << (index % 32);
        }
    }

    /// How many were applied.
    pub const fn applied(&self) -> usize {
        self.applied
    }

    /// The positions of those that were refused.
    pub fn overtaken(&self) -> impl Iterator<Item = usize> + '_ {
        (0..Self::MARKED).filter(|index| self.is_overtaken(*index))
    }

    /// Whether the settlement at `index` was refused.
    pub fn is_overtaken(&self, index: usize) -> bool {
        self.overtaken
            .get(index / 32)
            .is_some_and(|word| word & (1 << (index % 32)) != 0)
    }

    /// How many were refused.
    pub const fn overtaken_count(&self) -> usize {
        self.refused
    }
}

/// An owned [`Settlement`].
///
/// ```
/// use postbox::claim::{Fence, Verdict};
/// use postbox::store::{ClaimRef, Settlement, SettlementBuf};
///
/// let claim = ClaimRef { key: 7_i64, fence: Fence::default() };
/// let settlement = Settlement { claim, verdict: Verdict::Bury, error: "too large" };
/// assert_eq!(SettlementBuf::from(settlement).as_settlement(), settlement);
/// ```
#[cfg(feature = "alloc")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlementBuf<K> {
    /// The claim.
    pub claim: ClaimRef<K>,
    /// What became of it.
    pub verdict: Verdict,
    /// Why, if it was not published.
    pub error: crate::id::Excerpt,
}

#[cfg(feature = "alloc")]
impl<K: Copy> SettlementBuf<K> {
    /// A borrowed view.
    pub fn as_settlement(&self) -> Settlement<'_, K> {
        Settlement {
            claim: self.claim,
            verdict: self.verdict,
            error: self.error.as_str(),
        }
    }
}

#[cfg(feature = "alloc")]
impl<K> From<Settlement<'_, K>> for SettlementBuf<K> {
    fn from(settlement: Settlement<'_, K>) -> Self {
        Self {
            claim: settlement.claim,
            verdict: settlement.verdict,
            error: crate::id::Excerpt::new(settlement.error),
        }
    }
}
