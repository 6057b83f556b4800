//! What the engines see, as `tracing` events.

use tracing::{debug, error, trace as finest, warn};

use super::Signal;

/// An [`Observer`](super::Observer) that tells `tracing`: single messages at trace level, batches at
/// debug, what will be tried again as a warning, what was given up as an error. The target is `postbox`.
///
/// ```
/// use postbox::{bus::InMemoryBus, service::Service};
///
/// let app = Service::with_repo(())
///     .with_bus(InMemoryBus::new())
///     .with_observer(postbox::observe::trace);
/// ```
pub fn trace(signal: Signal<'_>) {
    match signal {
        Signal::Claimed { messages: 0, .. } => {}
        Signal::Claimed { worker, messages } => debug!(target: "postbox", ?worker, messages, "claimed"),
        Signal::Published { id } => finest!(target: "postbox", id, "published"),
        Signal::Retrying { id, error, after } => {
            warn!(target: "postbox", id, error, ?after, "not published, will be tried again");
        }
        Signal::Buried { id, error } => error!(target: "postbox", id, error, "given up: a dead letter now"),
        Signal::Overtaken { worker, messages } => {
            warn!(target: "postbox", ?worker, messages, "overtaken before settling, duplicates are possible");
        }
        Signal::BrokerDown { pause } => warn!(target: "postbox", ?pause, "the broker takes nothing"),
        Signal::StoreError { doing, error, pause } => {
            warn!(target: "postbox", doing, error, ?pause, "the store failed");
        }
        Signal::HandlerFailed { name, id, error } => {
            warn!(target: "postbox", name, id, error, "a handler failed");
        }
    }
}
