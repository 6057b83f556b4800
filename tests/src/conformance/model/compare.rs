//! What can be seen of a store, beside what the model says it should be.

use std::fmt::Debug;
use std::time::Duration;

use postbox::aggregate::Repository;
use postbox::claim::{Entry, Fence, Status};
use postbox::message::OutboxMessage;
use postbox::store::OutboxOperator;

use super::reference::Model;
use crate::conformance::fixture::{keyed, message};

/// Compares every message by status, with its whole entry, and the counts.
pub(super) async fn compare<R>(repository: &R, model: &Model, knows_ages: bool) -> Result<(), String>
where
    R: Repository<OutboxStore: OutboxOperator>,
{
    for status in [Status::Pending, Status::InFlight, Status::Published, Status::Dead] {
        let (listed, expected) = (list(repository, status).await?, model.list(status));
        let what = format!("{status:?} messages");
        if knows_ages {
            same(&what, &listed, &expected)?;
        } else {
            same(&what, &without_times(listed), &without_times(expected))?;
        }
    }
    let counts = repository.outbox_store().counts().await;
    same("counts", &counts.map_err(text)?, &model.counts())
}

/// The same without when they were committed and are due: for stores that do not know of messages that nobody claimed.
fn without_times(listed: Vec<(String, Entry)>) -> Vec<(String, Fence, u32, u32)> {
    let it = |(id, entry): (String, Entry)| (id, entry.fence(), entry.failures(), entry.abandoned());
    listed.into_iter().map(it).collect()
}

/// All messages with a status, in the store's order.
pub(super) async fn list<R>(repository: &R, status: Status) -> Result<Vec<(String, Entry)>, String>
where
    R: Repository<OutboxStore: OutboxOperator>,
{
    let listed = repository.outbox_store().messages(status, 100_000).await;
    let seen = |stored: postbox::store::StoredMessage| (stored.message.id().to_owned(), stored.entry);
    Ok(listed.map_err(text)?.into_iter().map(seen).collect())
}

/// An error that says what differs.
pub(super) fn same<T: PartialEq + Debug>(what: &str, store: &T, model: &T) -> Result<(), String> {
    if store == model {
        return Ok(());
    }
    Err(format!(
        "{what}: the store says\n  {store:?}, the model\n  {model:?}"
    ))
}

/// A message with one of a few keys, or none, due after `delay` milliseconds.
pub(super) fn new_message(id: &str, key: Option<u8>, delay: u64) -> OutboxMessage {
    let message = match key {
        Some(key) => keyed(id, &format!("key-{key}")),
        None => message(id),
    };
    message.with_delay(Duration::from_millis(delay))
}

fn text<E: core::error::Error>(error: E) -> String {
    error.to_string()
}
