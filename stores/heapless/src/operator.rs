//! Listings, where there is an allocator: for tests and hosts. A device has [`HeaplessOutbox::counts`] and its like.

extern crate alloc;

use alloc::vec::Vec;

use embassy_sync::blocking_mutex::raw::RawMutex;
use postbox::claim::Status;
use postbox::message::{HeaderBuf, OutboxMessage};
use postbox::store::{OutboxCounts, OutboxOperator, StoredMessage};
use postbox::time::Clock;

use crate::HeaplessOutbox;
use crate::slot::{Slot, hash};

impl<M, C, const N: usize, const TEXT: usize, const PAYLOAD: usize, const BATCH: usize> OutboxOperator
    for &HeaplessOutbox<M, C, N, TEXT, PAYLOAD, BATCH>
where
    M: RawMutex,
    C: Clock,
{
    async fn counts(&self) -> Result<OutboxCounts, Self::Error> {
        let counts = HeaplessOutbox::counts(self);
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Ok(OutboxCounts {
            pending: count(counts.pending),
            in_flight: count(counts.in_flight),
            published: count(counts.published),
            dead: count(counts.dead),
        })
    }

    async fn messages(&self, status: Status, limit: usize) -> Result<Vec<StoredMessage>, Self::Error> {
        let mut rows: Vec<(u64, StoredMessage)> = self.step(|rows, _| {
            let with_status = |row: &&Slot<TEXT, PAYLOAD>| row.entry.state().status() == status;
            let listed = rows.table.iter().filter(with_status);
            listed.map(|row| (row.sequence, stored(row))).collect()
        });
        rows.sort_unstable_by_key(|(sequence, _)| *sequence);
        Ok(rows.into_iter().take(limit).map(|(_, stored)| stored).collect())
    }

    async fn find(&self, id: &str) -> Result<Option<StoredMessage>, Self::Error> {
        Ok(self.step(|rows, _| {
            let slot = rows.table.find(id, hash(id))?;
            rows.table.get(slot).map(stored)
        }))
    }

    async fn requeue(&self, ids: &[&str]) -> Result<usize, Self::Error> {
        let requeue = |id: &&&str| HeaplessOutbox::requeue(self, id);
        Ok(ids.iter().filter(requeue).count())
    }
}

fn stored<const TEXT: usize, const PAYLOAD: usize>(row: &Slot<TEXT, PAYLOAD>) -> StoredMessage {
    let message = row.message.as_ref();
    StoredMessage {
        message: OutboxMessage::from_stored(
            message.id.into(),
            message.name.into(),
            message.kind,
            message.key.map(Into::into),
            message.payload.into(),
            alloc::string::String::from(message.content_type).into(),
            HeaderBuf::from(message.headers),
        ),
        entry: row.entry,
        last_error: row.last_error.clone(),
    }
}
