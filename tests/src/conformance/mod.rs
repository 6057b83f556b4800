//! What a store or timer author needs to run the suites: the harness, and the macros that make tests of them.
//!
//! Every check is an async function named as a sentence; a macro makes one `#[test]` of each. A capability
//! that a store lacks is declared in its harness, and the check that needs it prints that it was skipped.

pub mod bus;
mod fixture;
mod macros;
pub mod model;
pub mod outbox;
pub mod repository;
pub mod timer;

use postbox::aggregate::Repository;
use postbox::store::{HasOutboxStore, OutboxOperator, OutboxOptions, OutboxStore};
use postbox::testing::VirtualClock;

/// Says how to open the store under test, in virtual time. One value is one empty store.
///
/// The store must take time from [`clock`](Self::clock) only. Its futures may wait for each other and for
/// the clock, not for anything outside: blocking work runs inline.
pub trait StoreHarness {
    /// The repository under test, with its outbox.
    type Repository: Repository<OutboxStore: OutboxOperator> + Clone;

    /// Opens the store, empty. Called once.
    fn open(&self, options: OutboxOptions) -> Self::Repository;

    /// The clock that the store lives by.
    fn clock(&self) -> VirtualClock;

    /// Capability: durability. Whether [`reopen`](Self::reopen) finds what was there.
    fn is_durable(&self) -> bool {
        false
    }

    /// Ends `repository` as a crash would, and opens its data again. Called on durable stores only, with
    /// the last handle.
    fn reopen(&self, repository: Self::Repository, _options: OutboxOptions) -> Self::Repository {
        repository
    }

    /// Capability: counted work. How many rows claims have looked at so far. `None`: it is not counted.
    fn rows_visited(&self, _repository: &Self::Repository) -> Option<u64> {
        None
    }

    /// Capability: hints. Whether another handle's change rings the wakeup before its future resolves.
    fn hints(&self) -> bool {
        true
    }

    /// Capability: what is free is claimed by due time. Whether a message whose lease lapsed keeps the place it
    /// had when it was claimed, instead of taking one by the end of its lease: a store that orders by an index
    /// which claims leave alone can do no other.
    fn lapsed_keep_their_place(&self) -> bool {
        false
    }

    /// Capability: claims are kept. Whether a durable store keeps leases, fences, counts and dead letters over a crash,
    /// instead of finding all that was not published pending, as if it had never been claimed.
    fn keeps_claims(&self) -> bool {
        true
    }

    /// Capability: births. Whether a commit can claim what it stores.
    fn births(&self) -> bool {
        true
    }

    /// Capability: delays. Whether a message may become due later than it was committed.
    fn delays(&self) -> bool {
        true
    }

    /// Capability: retention. Whether published messages can be kept for a while.
    fn retention(&self) -> bool {
        true
    }

    /// Capability: ids of the committer's choice, and so ids that are taken. Otherwise the store makes them.
    fn takes_ids(&self) -> bool {
        true
    }

    /// Capability: ages. Whether the store knows when a message was committed that nobody has claimed yet.
    fn knows_ages(&self) -> bool {
        true
    }

    /// Capability: due times. Whether the store tells when the next message that waits becomes due.
    fn tells_next_due(&self) -> bool {
        true
    }

    /// Capability: what is free is claimed by due time. Whether it is claimed in commit order instead, whenever it
    /// became due.
    fn claims_in_commit_order(&self) -> bool {
        false
    }

    /// How many random histories the model test tries; fewer where one takes long.
    fn cases(&self) -> u32 {
        256
    }
}

/// The outbox of a harness.
pub type StoreOf<H> = <<H as StoreHarness>::Repository as HasOutboxStore>::OutboxStore;
/// The key of a row of a harness.
pub type KeyOf<H> = <StoreOf<H> as OutboxStore>::Key;

/// Runs one check in virtual time. What the macros call.
#[doc(hidden)]
pub fn run<F: Future<Output = ()>>(clock: &VirtualClock, check: F) {
    postbox::testing::run(clock, check).expect("nothing in the check waits for what will never come");
}

/// Whether a check can run; otherwise says why not.
pub(crate) fn can(check: &str, has: bool, lacking: &str) -> bool {
    if !has {
        skip(check, lacking);
    }
    has
}

/// Says on standard error that a check did not run, and why.
pub(crate) fn skip(check: &str, lacking: &str) {
    eprintln!("skipped: {check}: the harness declares no {lacking}");
}
