//! Parts that several suites stand on: a store that is full, a publisher that does nothing, an executor that only polls.

use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use postbox::aggregate::{CommitBatch, Repository};
use postbox::message::{MessageRef, OutboxMessage};
use postbox::publisher::{AsyncMessagePublisher, PublishError};
use postbox_hashmap::HashMapRepository;

use crate::Failure;

/// A repository with so many messages in its outbox.
#[derive(Debug)]
pub struct Filled;

impl Filled {
    /// Stores `rows` messages of `payload` bytes; of `keys` ordering keys in turn, or without any.
    pub fn hashmap(rows: u64, payload: usize, keys: Option<u64>) -> Result<HashMapRepository, Failure> {
        let repository = HashMapRepository::new();
        Self::fill(&repository, rows, payload, keys)?;
        Ok(repository)
    }

    /// Commits one message more; `number` tells it from others.
    pub async fn one(repository: &HashMapRepository, number: u64) -> Result<(), Failure> {
        let mut batch = CommitBatch::new();
        batch.messages.push(message(number, 64, None)?);
        repository.commit(batch).await?;
        Ok(())
    }

    /// The same into a repository that there is.
    pub fn fill(
        repository: &HashMapRepository,
        rows: u64,
        payload: usize,
        keys: Option<u64>,
    ) -> Result<(), Failure> {
        let mut batch = CommitBatch::new();
        for row in 0..rows {
            batch.messages.push(message(row, payload, keys)?);
        }
        spin(repository.commit(batch))?;
        Ok(())
    }
}

fn message(row: u64, payload: usize, keys: Option<u64>) -> Result<OutboxMessage, Failure> {
    let message = OutboxMessage::create(format!("message-{row:012}"), "order.placed", vec![7; payload])?;
    Ok(match keys.and_then(|keys| row.checked_rem(keys)) {
        Some(key) => message.with_key(format!("order-{key:012}"))?,
        None => message,
    })
}

/// A publisher whose broker takes everything at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

impl AsyncMessagePublisher for Nowhere {
    type Error = Infallible;

    async fn publish(&self, message: MessageRef<'_>) -> Result<(), PublishError<Infallible>> {
        std::hint::black_box(message.payload.first());
        Ok(())
    }
}

/// Polls a future until it is ready, with a waker that does nothing: for futures that wait for nobody.
///
/// ```
/// assert_eq!(postbox_benches::spin(async { 7 }), 7);
/// ```
pub fn spin<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}
