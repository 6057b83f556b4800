//! outbox-core: it has no store in memory, so its processor runs over the smallest queue that its trait allows. What is
//! measured is its path from claim to settlement; it has neither keys nor leases.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use outbox_core::prelude::{Event, EventType, OutboxConfig, OutboxProcessor, Payload};
use outbox_core::{EventId, EventStatus, OutboxError, OutboxStorage, Transport};
use postbox_benches::{Failure, spin};

use crate::{BATCH, PAYLOAD};

pub(crate) fn prepare(rows: u64) -> Result<Box<dyn FnOnce() -> Result<(), Failure>>, Failure> {
    let event = |_| {
        Event::new(
            EventType::new("order.placed"),
            Payload::new(vec![7_u8; PAYLOAD]),
            None,
        )
    };
    let queue = Queue(Mutex::new((0..rows).map(event).collect()));
    let mut config = OutboxConfig::default();
    config.batch_size = BATCH;
    let processor = OutboxProcessor::new(Arc::new(queue), Arc::new(Nowhere), Arc::new(config));
    Ok(Box::new(move || {
        spin(async {
            while processor.process_pending_events().await? > 0 {}
            Ok(())
        })
    }))
}

struct Queue(Mutex<VecDeque<Event<Vec<u8>>>>);

#[async_trait]
impl OutboxStorage<Vec<u8>> for Queue {
    async fn fetch_next_to_process(&self, limit: u32) -> Result<Vec<Event<Vec<u8>>>, OutboxError> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = queue.len().min(limit as usize);
        Ok(queue.drain(..count).collect())
    }

    async fn update_status(&self, ids: &[EventId], _: EventStatus) -> Result<(), OutboxError> {
        std::hint::black_box(ids);
        Ok(())
    }

    async fn delete_garbage(&self) -> Result<(), OutboxError> {
        Ok(())
    }

    async fn wait_for_notification(&self, _: &str) -> Result<(), OutboxError> {
        Ok(())
    }
}

struct Nowhere;

#[async_trait]
impl Transport<Vec<u8>> for Nowhere {
    async fn publish(&self, event: Event<Vec<u8>>) -> Result<(), OutboxError> {
        std::hint::black_box(&event);
        Ok(())
    }
}
