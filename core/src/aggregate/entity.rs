//! What every aggregate carries: its id, its version, and the events not yet committed.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::EventRecord;
use super::lock::StreamLock;
use crate::id::Invalid;
use crate::message::{Codec, HeaderBuf};
use crate::time::Instant;

/// The bookkeeping of an aggregate.
///
/// Its version is the number of its events, committed or not. When it came from a
/// [`QueuedRepository`](super::QueuedRepository) it also carries the lock of its stream, which is freed when
/// the entity is dropped or committed.
///
/// ```
/// use postbox::aggregate::Entity;
///
/// let entity = Entity::new("t1");
/// assert_eq!((entity.id(), entity.version()), ("t1", 0));
/// ```
#[derive(Debug, Default)]
pub struct Entity {
    id: String,
    version: u64,
    snapshot_version: u64,
    new_events: Vec<EventRecord>,
    metadata: HeaderBuf,
    lock: Option<StreamLock>,
}

impl Entity {
    /// A new entity; the aggregate's first event may also set the id.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            ..Self::default()
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Names it: what the first event does.
    pub fn set_id(&mut self, id: &str) {
        self.id = id.to_string();
    }

    /// The number of its events.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The number of its events that are in the store.
    pub fn committed_version(&self) -> u64 {
        let new = u64::try_from(self.new_events.len()).unwrap_or(u64::MAX);
        self.version.saturating_sub(new)
    }

    /// The version that its latest snapshot covers; 0 without one.
    pub const fn snapshot_version(&self) -> u64 {
        self.snapshot_version
    }

    /// Events that are not in the store yet.
    pub fn new_events(&self) -> &[EventRecord] {
        &self.new_events
    }

    /// Attaches a key and value to every event recorded from now on.
    ///
    /// # Errors
    /// As [`HeaderBuf::set`].
    pub fn set_metadata(&mut self, key: &str, value: &str) -> Result<(), Invalid> {
        self.metadata.set(key, value)
    }

    /// Attaches what the events to come belong to.
    pub fn set_correlation_id(&mut self, id: &str) -> Result<(), Invalid> {
        self.set_metadata("correlation-id", id)
    }

    /// Attaches which message led to the events to come.
    pub fn set_causation_id(&mut self, id: &str) -> Result<(), Invalid> {
        self.set_metadata("causation-id", id)
    }

    /// Gives up the stream's lock, if it holds one: others may load and change the stream.
    pub fn unlock(&mut self) {
        self.lock = None;
    }

    /// Appends one encoded event.
    pub(super) fn push(&mut self, name: String, version: u32, payload: Vec<u8>) {
        self.version = self.version.saturating_add(1);
        self.new_events.push(EventRecord {
            name: Cow::Owned(name),
            version,
            codec: Codec::JSON,
            payload,
            sequence: self.version,
            recorded_at: Instant::ZERO,
            metadata: self.metadata.clone(),
        });
    }

    /// Counts one event that was read from the store.
    pub(super) fn replayed(&mut self, sequence: u64) {
        self.version = sequence;
    }

    /// Starts from a snapshot.
    pub(super) fn restored(&mut self, id: &str, version: u64) {
        *self = Self {
            lock: self.lock.take(),
            ..Self::new(id)
        };
        self.version = version;
        self.snapshot_version = version;
    }

    /// Carries the lock of its stream.
    pub(super) fn hold(&mut self, lock: Option<StreamLock>) {
        self.lock = lock;
    }

    /// Its new events are in the store: they are not new any more, and others may have the stream.
    pub(super) fn committed(&mut self) {
        self.new_events.clear();
        self.unlock();
    }

    /// A snapshot of the present version is in the store.
    pub(super) fn snapshotted(&mut self) {
        self.snapshot_version = self.version;
    }
}
