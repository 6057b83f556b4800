//! What the engines tell whoever watches: counters and traces hang here, core prints nothing.

#[cfg(feature = "tracing")]
mod trace;

use core::time::Duration;

#[cfg(feature = "tracing")]
pub use trace::trace;

use crate::id::WorkerId;

/// Something an engine saw. Text is borrowed for the length of the call.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Signal<'a> {
    /// A batch was claimed.
    Claimed {
        /// Who claimed.
        worker: WorkerId,
        /// How many messages.
        messages: usize,
    },
    /// A message was published.
    Published {
        /// Its id.
        id: &'a str,
    },
    /// A message was not published and will be tried again.
    Retrying {
        /// Its id.
        id: &'a str,
        /// Why.
        error: &'a str,
        /// When, from now.
        after: Duration,
    },
    /// A message was given up.
    Buried {
        /// Its id.
        id: &'a str,
        /// Why.
        error: &'a str,
    },
    /// Claims of this worker were overtaken before they were settled: a duplicate may be under way.
    Overtaken {
        /// Who lost them.
        worker: WorkerId,
        /// How many.
        messages: usize,
    },
    /// The broker takes nothing; the backstop pauses.
    BrokerDown {
        /// For how long.
        pause: Duration,
    },
    /// The store failed; the engine backs off and goes on.
    StoreError {
        /// What it was doing.
        doing: &'static str,
        /// The error.
        error: &'a str,
        /// How long it waits.
        pause: Duration,
    },
    /// A handler failed.
    HandlerFailed {
        /// The message's name.
        name: &'a str,
        /// The message's id.
        id: &'a str,
        /// The error.
        error: &'a str,
    },
}

/// A watcher: a plain function, so that it costs nothing and is the same on every executor.
///
/// It runs inside the engine: it must not block and must not panic.
///
/// ```
/// use postbox::observe::{Observer, Signal};
///
/// fn count(signal: Signal<'_>) {
///     if let Signal::Buried { id, error } = signal {
///         let _ = (id, error); // raise a metric
///     }
/// }
/// let observer: Observer = count;
/// ```
pub type Observer = fn(Signal<'_>);

/// Sees nothing: the default.
pub fn ignore(_: Signal<'_>) {}
