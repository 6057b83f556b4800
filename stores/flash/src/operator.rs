//! Listings, where there is an allocator: for tests and hosts. A device has [`FlashOutbox::stored`] and its like.

extern crate alloc;

use alloc::vec::Vec;
use core::time::Duration;

use embassy_sync::blocking_mutex::raw::RawMutex;
use embedded_storage_async::nor_flash::MultiwriteNorFlash;
use postbox::claim::{Entry, Status};
use postbox::id::Excerpt;
use postbox::message::{HeaderBuf, OutboxMessage};
use postbox::store::{OutboxCounts, OutboxOperator, StoredMessage};
use postbox::time::Clock;

use crate::FlashError;
use crate::claimed::{id, sequence};
use crate::item::{Item, NewMessage};
use crate::outbox::{FlashKey, FlashOutbox};

/// Each call is a pass over the log. What was not claimed since the last reset is shown as committed now: when that
/// was is not kept.
impl<M, F, C, const ITEM: usize, const WINDOW: usize, const BATCH: usize> OutboxOperator
    for &FlashOutbox<M, F, C, ITEM, WINDOW, BATCH>
where
    M: RawMutex,
    F: MultiwriteNorFlash,
    F::Error: core::fmt::Display + core::error::Error,
    C: Clock,
{
    async fn counts(&self) -> Result<OutboxCounts, Self::Error> {
        let mut counts = OutboxCounts::default();
        self.visit(|_, entry, _, _| {
            let count = match entry.state().status() {
                Status::Pending => &mut counts.pending,
                Status::InFlight => &mut counts.in_flight,
                Status::Published => &mut counts.published,
                Status::Dead => &mut counts.dead,
            };
            *count = count.saturating_add(1);
        })
        .await?;
        Ok(counts)
    }

    async fn messages(&self, status: Status, limit: usize) -> Result<Vec<StoredMessage>, Self::Error> {
        let mut listed = Vec::new();
        self.visit(|number, entry, last_error, message| {
            if entry.state().status() == status && listed.len() < limit {
                listed.push(stored(
                    id(self.device, number).as_str(),
                    entry,
                    last_error,
                    message,
                ));
            }
        })
        .await?;
        Ok(listed)
    }

    async fn find(&self, id: &str) -> Result<Option<StoredMessage>, Self::Error> {
        let wanted = sequence(self.device, id);
        let mut found = None;
        self.visit(|number, entry, last_error, message| {
            if wanted == Some(number) {
                found = Some(stored(id, entry, last_error, message));
            }
        })
        .await?;
        Ok(found)
    }

    async fn requeue(&self, ids: &[&str]) -> Result<usize, Self::Error> {
        let mut requeued = 0_usize;
        for sequence in ids.iter().filter_map(|id| sequence(self.device, id)) {
            let was_dead = FlashOutbox::requeue(self, FlashKey(sequence)).await;
            requeued = requeued.saturating_add(usize::from(was_dead));
        }
        Ok(requeued)
    }
}

impl<M, F, C, const ITEM: usize, const WINDOW: usize, const BATCH: usize>
    FlashOutbox<M, F, C, ITEM, WINDOW, BATCH>
where
    M: RawMutex,
    F: MultiwriteNorFlash,
    C: Clock,
{
    /// Shows every message, oldest first, with what is known of it.
    async fn visit(
        &self,
        mut show: impl FnMut(u64, Entry, Excerpt, NewMessage<'_>),
    ) -> Result<(), FlashError<F::Error>> {
        let of = |error| FlashError::of(error, ITEM);
        let mut inner = self.inner.lock().await;
        let crate::outbox::Inner { log, window, .. } = &mut *inner;
        let now = self.clock.now();
        let mut buffer = [0; ITEM];
        let mut queue = log.queue();
        let mut items = queue.iter().await.map_err(of)?;
        while let Some(bytes) = items.next(&mut buffer).await.map_err(of)? {
            let item = Item::decode(&bytes).ok_or(FlashError::Corrupted)?;
            let (entry, last_error) = match window.get(item.sequence) {
                Some(tracked) => (tracked.entry, tracked.last_error.clone()),
                None => (Entry::pending(now, Duration::ZERO), Excerpt::EMPTY),
            };
            show(item.sequence, entry, last_error, item.message);
        }
        Ok(())
    }
}

fn stored(id: &str, entry: Entry, last_error: Excerpt, message: NewMessage<'_>) -> StoredMessage {
    StoredMessage {
        message: OutboxMessage::from_stored(
            id.into(),
            message.name.into(),
            message.kind,
            message.key.map(Into::into),
            message.payload.into(),
            alloc::string::String::from(message.content_type).into(),
            HeaderBuf::from(message.headers),
        ),
        entry,
        last_error,
    }
}
