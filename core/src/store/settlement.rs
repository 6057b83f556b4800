//! Settlements that are kept: for stores that write them later, or elsewhere.

use super::{ClaimRef, Settlement};
use crate::claim::Verdict;
use crate::id::Excerpt;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlementBuf<K> {
    /// The claim.
    pub claim: ClaimRef<K>,
    /// What became of it.
    pub verdict: Verdict,
    /// Why, if it was not published.
    pub error: Excerpt,
}

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

impl<K> From<Settlement<'_, K>> for SettlementBuf<K> {
    fn from(settlement: Settlement<'_, K>) -> Self {
        Self {
            claim: settlement.claim,
            verdict: settlement.verdict,
            error: Excerpt::new(settlement.error),
        }
    }
}
