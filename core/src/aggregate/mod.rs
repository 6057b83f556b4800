//! Event-sourced aggregates, and the repositories that commit them together with their messages.

mod batch;
mod entity;
mod event;
mod inbox;
mod lock;
mod outbox_commit;
mod queued;
mod repository;
mod snapshot;
mod typed;
mod upcast;

use alloc::string::{String, ToString};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use batch::{Birth, CommitBatch, Committed, CommittedMessage, InboxReceipt, SnapshotRecord, StreamWrite};
pub use entity::Entity;
pub use event::EventRecord;
pub use inbox::InboxStore;
pub use lock::StreamLock;
pub use outbox_commit::{CommitReceipt, OutboxCommit, OutboxCommitting, PublishStatus};
pub use queued::QueuedRepository;
pub use repository::{BoxError, Repository, RepositoryError, StreamIdentity, StreamTail};
pub use snapshot::{SnapshotAggregateRepository, Snapshottable};
pub use typed::AggregateRepository;
pub use upcast::{UpcastError, Upcaster};

use crate::id::Excerpt;

/// Something that changes only by events: a plain struct with an [`Entity`] and a serde event enum.
///
/// A command method decides first and records last, so that an event can never be recorded by a method
/// that then fails:
///
/// ```
/// use postbox::aggregate::{Aggregate, Entity, RepositoryError};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default)]
/// struct Todo {
///     entity: Entity,
///     title: String,
///     done: bool,
/// }
///
/// #[derive(Serialize, Deserialize)]
/// enum TodoEvent {
///     Created { id: String, title: String },
///     Completed,
/// }
///
/// impl Aggregate for Todo {
///     type Event = TodoEvent;
///     const TYPE: &'static str = "todo";
///
///     fn entity(&self) -> &Entity {
///         &self.entity
///     }
///     fn entity_mut(&mut self) -> &mut Entity {
///         &mut self.entity
///     }
///     fn apply(&mut self, event: &TodoEvent) {
///         match event {
///             TodoEvent::Created { id, title } => {
///                 self.entity.set_id(id);
///                 self.title = title.clone();
///             }
///             TodoEvent::Completed => self.done = true,
///         }
///     }
/// }
///
/// impl Todo {
///     fn complete(&mut self) -> Result<(), Box<dyn std::error::Error>> {
///         if self.done {
///             return Err("it is done already".into());
///         }
///         Ok(self.record(TodoEvent::Completed)?)
///     }
/// }
///
/// let mut todo = Todo::default();
/// todo.record(TodoEvent::Created { id: "t1".into(), title: "milk".into() })?;
/// todo.complete()?;
/// assert!(todo.complete().is_err());
/// assert_eq!(todo.entity().version(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Aggregate: Default {
    /// What happens to it: an enum, externally tagged as serde does by default.
    type Event: Serialize + DeserializeOwned;
    /// Names its streams; stored, so never changed. No slash, at most 128 bytes.
    const TYPE: &'static str;

    /// Its bookkeeping.
    fn entity(&self) -> &Entity;
    /// Its bookkeeping, to be changed.
    fn entity_mut(&mut self) -> &mut Entity;
    /// Changes the state. Must not fail and must not record: it runs again at every load.
    fn apply(&mut self, event: &Self::Event);

    /// Brings old events to their present shape.
    fn upcasters() -> &'static [Upcaster] {
        &[]
    }

    /// Records one event and applies it. The last thing a command method does.
    ///
    /// # Errors
    /// [`RepositoryError::Encode`], with nothing changed, when the event does not serialise to JSON as a
    /// tagged enum value.
    fn record(&mut self, event: Self::Event) -> Result<(), RepositoryError> {
        let encode = |reason| RepositoryError::Encode {
            what: "the event",
            reason,
        };
        let payload = serde_json::to_vec(&event).map_err(|error| encode(Excerpt::display(&error)))?;
        let name = event::variant_name(&payload)
            .map(String::from)
            .ok_or_else(|| encode(Excerpt::new("it is not an externally tagged enum value")))?;
        let version = upcast::present_version(Self::upcasters(), &name);
        self.entity_mut().push(name, version, payload);
        self.apply(&event);
        Ok(())
    }
}

/// The stream of an aggregate.
fn identity<A: Aggregate>(id: &str) -> Result<StreamIdentity, RepositoryError> {
    Ok(StreamIdentity::new(A::TYPE, id)?)
}

/// Applies stored events to an aggregate.
fn replay<A: Aggregate>(
    aggregate: &mut A,
    stream: &StreamIdentity,
    events: &[EventRecord],
) -> Result<(), RepositoryError> {
    for record in events {
        let event = decode::<A>(stream, record)?;
        aggregate.apply(&event);
        aggregate.entity_mut().replayed(record.sequence);
    }
    aggregate.entity_mut().set_id(stream.id());
    Ok(())
}

fn decode<A: Aggregate>(stream: &StreamIdentity, record: &EventRecord) -> Result<A::Event, RepositoryError> {
    let replay = |reason: Excerpt| RepositoryError::Replay {
        stream: stream.clone(),
        sequence: record.sequence,
        reason,
    };
    if record.codec != crate::message::Codec::JSON {
        return Err(replay(Excerpt::new(&alloc::format!(
            "unknown codec {:?}",
            record.codec.name().to_string()
        ))));
    }
    let upcast =
        upcast::upcast(A::upcasters(), &record.name, record.version, &record.payload).map_err(|source| {
            RepositoryError::Upcast {
                stream: stream.clone(),
                sequence: record.sequence,
                source,
            }
        })?;
    match upcast {
        Some(value) => serde_json::from_value(value),
        None => serde_json::from_slice(&record.payload),
    }
    .map_err(|error| replay(Excerpt::display(&error)))
}
