//! An exhaustive search of the claim protocol: every order of everything that two workers, a broker, an
//! operator and time can do to two or three messages, over `postbox::claim` itself.
//!
//! It is not a sample. Within the bounds of a [`Setting`] every history is covered, however long it is:
//! attempts have no bound, because states are named up to the gaps between attempts. The bounds are
//!
//! - so many messages and [`Setting::held`] claims of one message that somebody still believes in;
//! - [`Setting::late`] publishes of one message that nobody waits for any more and that may still land;
//! - small ceilings of failures and abandonments.
//!
//! Time is a deadline that passes, one at a time and in any order: leases and pauses may have any length. A
//! publish lands at any time after it was started, also when its holder has crashed or was fenced off, and at
//! most once. A worker that has crashed is one that does nothing; it comes back under the same id, which is
//! harder than what workers do.
//!
//! What is checked at every step is listed at [`Protocol`]. A rule that is wrong is given as [`Rules`]:
//!
//! ```
//! use postbox::claim::{Entry, Fence, Overtaken, Verdict};
//! use postbox_tests::exhaustive::{Core, Protocol, Rules, Setting, search};
//!
//! struct NoFence;
//!
//! impl Rules for NoFence {
//!     fn settle(&self, entry: &mut Entry, _: Fence, verdict: Verdict) -> Result<(), Overtaken> {
//!         Core.settle(entry, entry.fence(), verdict)
//!     }
//! }
//!
//! let protocol = Protocol::new(Setting::one_key(1), NoFence);
//! let found = search(&protocol, |_, _, _| None).unwrap_err();
//! assert!(found.what.starts_with("a stale settle was accepted"));
//! println!("{}", protocol.tell(&found.history));
//! ```

mod check;
mod protocol;
mod rules;
mod search;
mod tell;
mod world;

use std::time::Duration;

use postbox::store::DeadPolicy;

pub use protocol::{Protocol, Said, Step};
pub use rules::{Core, Rules, is_head};
pub use search::{Explored, Found, Machine, search};
pub use world::{Held, MAX_HELD, MAX_MESSAGES, NOW, Phase, Right, Row, World};

/// How long leases and pauses are. Any length would do: see how time passes.
pub const LEASE: Duration = Duration::from_secs(30);

/// Which world is searched.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The key of each message in commit order; a message without one is `None`.
    pub keys: &'static [Option<u8>],
    /// Whether a dead message stops its key.
    pub dead: DeadPolicy,
    /// The lapse of a lease that buries its message; at most 3.
    pub max_abandoned: u32,
    /// The retryable failure that buries its message; at most 4.
    pub max_failures: u32,
    /// How many claims of one message may be believed in at once, at most [`MAX_HELD`].
    pub held: usize,
    /// How many publishes of one message may be late at once, at most 3; more are lost by the network.
    pub late: u8,
    /// What can go wrong.
    pub faults: Faults,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// A lease ends while its holder is at work.
    pub lapse: bool,
    /// A worker loses all it knows.
    pub crash: bool,
    /// A publish fails for its holder though it lands, now or later: a lost acknowledgement, a timeout.
    pub unanswered: bool,
}

impl Faults {
    /// Everything.
    pub const ALL: Self = Self {
        lapse: true,
        crash: true,
        unanswered: true,
    };
    /// Nothing but brokers that refuse, and workers that let go.
    pub const NONE: Self = Self {
        lapse: false,
        crash: false,
        unanswered: false,
    };
}

impl Setting {
    /// So many messages of one key, and everything may go wrong. Ceilings of two, two claims, one late publish.
    ///
    /// # Panics
    /// Above [`MAX_MESSAGES`].
    pub fn one_key(messages: usize) -> Self {
        Self::with_keys(&[Some(1); MAX_MESSAGES][..messages])
    }

    /// The same with these keys.
    pub fn with_keys(keys: &'static [Option<u8>]) -> Self {
        Self {
            keys,
            dead: DeadPolicy::Skip,
            max_abandoned: 2,
            max_failures: 2,
            held: 2,
            late: 1,
            faults: Faults::ALL,
        }
    }

    /// Whether one of these messages may have to wait for the other.
    pub fn same_key(&self, one: usize, other: usize) -> bool {
        let key = |message: usize| self.keys.get(message).copied().flatten();
        key(one).is_some() && key(one) == key(other)
    }
}
