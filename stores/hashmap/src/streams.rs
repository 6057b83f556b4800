//! Event streams, snapshots and inbox receipts: what a commit stores beside messages.

use std::collections::{HashMap, HashSet};

use postbox::aggregate::{
    EventRecord, InboxReceipt, RepositoryError, SnapshotRecord, StreamIdentity, StreamTail, StreamWrite,
};
use postbox::time::Instant;

/// Everything that is not a message. Only ever asked for one stream or receipt; no order is seen.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    events: HashMap<StreamIdentity, Vec<EventRecord>>,
    snapshots: HashMap<StreamIdentity, SnapshotRecord>,
    receipts: HashSet<InboxReceipt>,
}

impl Streams {
    /// Refuses writes on another version than the stream's.
    pub(crate) fn check_versions(&self, writes: &[StreamWrite]) -> Result<(), RepositoryError> {
        for write in writes {
            let actual = self.version(&write.stream);
            if actual != write.expected {
                return Err(RepositoryError::ConcurrentWrite {
                    stream: write.stream.clone(),
                    expected: write.expected,
                    actual,
                });
            }
        }
        Ok(())
    }

    /// Refuses receipts that exist.
    pub(crate) fn check_receipts(&self, receipts: &[InboxReceipt]) -> Result<(), RepositoryError> {
        let known = |receipt: &&InboxReceipt| self.receipts.contains(*receipt);
        match receipts.iter().find(known) {
            Some(receipt) => Err(RepositoryError::DuplicateReceipt {
                receipt: receipt.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Stores the events of a write that was checked.
    pub(crate) fn append(&mut self, write: StreamWrite, now: Instant) {
        if write.events.is_empty() {
            return;
        }
        let events = self.events.entry(write.stream).or_default();
        for (event, sequence) in write.events.into_iter().zip(write.expected.saturating_add(1)..) {
            events.push(EventRecord {
                sequence,
                recorded_at: now,
                ..event
            });
        }
    }

    /// Stores a snapshot in the place of the earlier one.
    pub(crate) fn keep(&mut self, snapshot: SnapshotRecord) {
        self.snapshots.insert(snapshot.stream.clone(), snapshot);
    }

    pub(crate) fn receive(&mut self, receipt: InboxReceipt) {
        self.receipts.insert(receipt);
    }

    pub(crate) fn tail(&self, stream: &StreamIdentity, after: u64) -> Option<StreamTail> {
        let events = self.events.get(stream)?;
        let skipped = usize::try_from(after).unwrap_or(usize::MAX);
        Some(StreamTail {
            version: self.version(stream),
            events: events.get(skipped..).unwrap_or_default().to_vec(),
        })
    }

    pub(crate) fn snapshot(&self, stream: &StreamIdentity) -> Option<SnapshotRecord> {
        self.snapshots.get(stream).cloned()
    }

    pub(crate) fn has_receipt(&self, receipt: &InboxReceipt) -> bool {
        self.receipts.contains(receipt)
    }

    fn version(&self, stream: &StreamIdentity) -> u64 {
        self.events
            .get(stream)
            .and_then(|events| events.last())
            .map_or(0, |event| event.sequence)
    }
}
