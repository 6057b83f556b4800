//! One way in which a scenario may go: named by a line of text, so that it can be repeated.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::dice::Dice;
use crate::faults::Faults;
use crate::world::World;

/// What goes wrong in one world.
///
/// ```
/// use postbox_testkit::Case;
///
/// let case: Case = "crash 17".parse()?;
/// assert_eq!(case, Case::Crash(17));
/// assert_eq!(case.to_string(), "crash 17");
/// # Ok::<(), postbox_testkit::UnknownCase>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Case {
    /// Nothing.
    Calm,
    /// The process that is polled at this poll dies after it.
    Crash(u64),
    /// So at two polls.
    Crashes(u64, u64),
    /// A process is told to stop at the first poll, and one dies at the second.
    StopAndCrash(u64, u64),
    /// The store fails at this operation.
    StoreFails(u64),
    /// The store fails from this operation on, for ten seconds.
    StoreIsDown(u64),
    /// The store's operation takes effect, and its answer is lost.
    StoreAnswerLost(u64),
    /// So with all operations of ten seconds.
    StoreIsMute(u64),
    /// The publisher panics at this call.
    PublisherPanics(u64),
    /// The handler panics at this call, if it asks [`Node::may_panic`](crate::Node::may_panic).
    HandlerPanics(u64),
    /// Everything, seldom or often, as this seed says.
    Storm(u64),
}

/// How long the store is down.
const DOWN: Duration = Duration::from_secs(10);

/// The text names no case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no case: say for example `crash 17`, `crashes 17 40` or `storm 42`")]
pub struct UnknownCase(pub String);

impl Case {
    /// A world in which this goes wrong.
    pub(super) fn open(self, open: &dyn Fn(u64, Faults) -> World) -> World {
        let mut world = match self {
            Self::Storm(seed) => open(seed, Faults::storm(&mut Dice::new(!seed))),
            _ => open(0, Faults::none()),
        };
        match self {
            Self::Calm | Self::Storm(_) => &mut world,
            Self::Crash(poll) => world.crash_after(&[poll]),
            Self::Crashes(first, second) => world.crash_after(&[first, second]),
            Self::StopAndCrash(stop, crash) => world.stop_after(&[stop]).crash_after(&[crash]),
            Self::StoreFails(at) => world.fail_store(at, Duration::ZERO, false),
            Self::StoreIsDown(at) => world.fail_store(at, DOWN, false),
            Self::StoreAnswerLost(at) => world.fail_store(at, Duration::ZERO, true),
            Self::StoreIsMute(at) => world.fail_store(at, DOWN, true),
            Self::PublisherPanics(call) => world.panic_at_publish(call),
            Self::HandlerPanics(call) => world.panic_in_handler(call),
        };
        world
    }

    const fn parts(self) -> (&'static str, u64, u64) {
        match self {
            Self::Calm => ("calm", 0, 0),
            Self::Crash(poll) => ("crash", poll, 0),
            Self::Crashes(first, second) => ("crashes", first, second),
            Self::StopAndCrash(stop, crash) => ("stop-and-crash", stop, crash),
            Self::StoreFails(at) => ("store-fails", at, 0),
            Self::StoreIsDown(at) => ("store-is-down", at, 0),
            Self::StoreAnswerLost(at) => ("store-answer-lost", at, 0),
            Self::StoreIsMute(at) => ("store-is-mute", at, 0),
            Self::PublisherPanics(call) => ("publisher-panics", call, 0),
            Self::HandlerPanics(call) => ("handler-panics", call, 0),
            Self::Storm(seed) => ("storm", seed, 0),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.parts()) {
            (Self::Calm, (name, ..)) => f.write_str(name),
            (Self::Crashes(..) | Self::StopAndCrash(..), (name, first, second)) => {
                write!(f, "{name} {first} {second}")
            }
            (_, (name, first, _)) => write!(f, "{name} {first}"),
        }
    }
}

impl FromStr for Case {
    type Err = UnknownCase;

    fn from_str(text: &str) -> Result<Self, UnknownCase> {
        let mut words = text.split_whitespace();
        let name = words.next().unwrap_or_default();
        let numbers: Result<Vec<u64>, _> = words.map(str::parse).collect();
        match (name, numbers.unwrap_or_default().as_slice()) {
            ("calm", []) => Ok(Self::Calm),
            ("crash", [poll]) => Ok(Self::Crash(*poll)),
            ("crashes", [first, second]) => Ok(Self::Crashes(*first, *second)),
            ("stop-and-crash", [stop, crash]) => Ok(Self::StopAndCrash(*stop, *crash)),
            ("store-fails", [at]) => Ok(Self::StoreFails(*at)),
            ("store-is-down", [at]) => Ok(Self::StoreIsDown(*at)),
            ("store-answer-lost", [at]) => Ok(Self::StoreAnswerLost(*at)),
            ("store-is-mute", [at]) => Ok(Self::StoreIsMute(*at)),
            ("publisher-panics", [call]) => Ok(Self::PublisherPanics(*call)),
            ("handler-panics", [call]) => Ok(Self::HandlerPanics(*call)),
            ("storm", [seed]) => Ok(Self::Storm(*seed)),
            _ => Err(UnknownCase(text.to_owned())),
        }
    }
}
