//! Bugs to plant: each breaks one promise on purpose, so that the checkers can be seen to find it.

/// A bug, planted between the engines and the world. The real code is not touched.
///
/// ```
/// use postbox_testkit::Sabotage;
///
/// assert!(Sabotage::ALL.len() >= 16);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Sabotage {
    /// The publisher says yes without having sent.
    SaysPublishedUnsent,
    /// The commit stores the state and forgets the message.
    CommitsWithoutItsMessage,
    /// The message is sent before the commit.
    PublishesBeforeTheCommit,
    /// A settlement is applied whoever holds the message.
    SettlesWithoutFence,
    /// A settlement is applied although nobody holds the message any more.
    SettlesWhatNobodyHolds,
    /// The store forgets to tell that it applied a settlement.
    RefusesTheHolder,
    /// Leases are cut to a tenth behind the holder's back.
    CutsLeases,
    /// Ordering keys are ignored.
    IgnoresKeys,
    /// Everything is sent twice.
    SendsTwice,
    /// An outage counts as a failure of the message.
    CountsOutages,
    /// A commit that succeeded is reported as failed.
    ReportsCommitsAsFailed,
    /// The inbox forgets what was handled.
    ForgetsReceipts,
    /// The inbox takes everything as handled.
    InventsReceipts,
    /// What failed is never due again.
    NeverTriesAgain,
    /// Claims give more than was asked for.
    ClaimsTooMany,
    /// A message is tried for ever.
    NeverGivesUp,
    /// A node's clock goes at a third of the store's speed.
    SlowsClocks,
    /// Settlements are taken and never written.
    ForgetsSettlements,
    /// A node does not hear that it should stop.
    IgnoresStops,
}

impl Sabotage {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::SaysPublishedUnsent,
        Self::CommitsWithoutItsMessage,
        Self::PublishesBeforeTheCommit,
        Self::SettlesWithoutFence,
        Self::SettlesWhatNobodyHolds,
        Self::RefusesTheHolder,
        Self::CutsLeases,
        Self::IgnoresKeys,
        Self::SendsTwice,
        Self::CountsOutages,
        Self::ReportsCommitsAsFailed,
        Self::ForgetsReceipts,
        Self::InventsReceipts,
        Self::NeverTriesAgain,
        Self::ClaimsTooMany,
        Self::NeverGivesUp,
        Self::SlowsClocks,
        Self::ForgetsSettlements,
        Self::IgnoresStops,
    ];
}
