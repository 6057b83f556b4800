//! What came of a world.

use crate::check::Violation;
use crate::history::{History, MessageNo};

/// What came of a world.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Broken promises, in the order in which they were seen.
    pub violations: Vec<Violation>,
    /// Everything that happened.
    pub history: History,
    /// Messages committed.
    pub messages: u64,
    /// Processes that died.
    pub crashes: u64,
    /// Polls of processes.
    pub polls: u64,
    /// Operations of the store.
    pub operations: u64,
    /// Publishes begun.
    pub publishes: u64,
    /// Handlers that asked whether they panic.
    pub handlers: u64,
    pub(super) names: Vec<String>,
}

impl Outcome {
    /// The name of a message in the history.
    pub fn name(&self, message: MessageNo) -> &str {
        self.names.get(message).map_or("?", String::as_str)
    }

    /// The story of the message that the first violation is about, a line an event.
    pub fn timeline(&self) -> String {
        let about = self.violations.first().and_then(|violation| violation.message);
        self.history
            .timeline(about, |message| self.name(message).to_owned())
    }
}
