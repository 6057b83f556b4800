//! New messages: refused as a whole, or taken in, born claimed where that is asked for and possible.

use core::time::Duration;

use postbox::claim::{Entry, Status};
use postbox::id::{
    Excerpt, Invalid, MAX_CONTENT_TYPE_BYTES, MAX_ID_BYTES, MAX_KEY_BYTES, MAX_NAME_BYTES, WorkerId,
    check_text,
};
use postbox::message::MessageRef;
use postbox::store::ClaimRef;
use postbox::time::Instant;

use crate::Overflow;
use crate::rows::Rows;
use crate::slot::HeaplessKey;

/// A message to be stored, and how: see the [crate].
#[derive(Clone, Copy, Debug)]
pub struct NewMessage<'a> {
    /// The message. Its bytes are copied into the outbox.
    pub message: MessageRef<'a>,
    /// How much later it becomes due.
    pub delay: Duration,
    /// Who claims it, for how long, if it is due and the head of its key.
    pub claim: Option<(WorkerId, Duration)>,
}

impl<'a> From<MessageRef<'a>> for NewMessage<'a> {
    /// Due now, unclaimed.
    fn from(message: MessageRef<'a>) -> Self {
        Self {
            message,
            delay: Duration::ZERO,
            claim: None,
        }
    }
}

/// A message was not stored, and nothing else was changed: see [`HeaplessOutbox`](crate::HeaplessOutbox).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnqueueError {
    /// Every place is taken, and none may be given up.
    #[error("the outbox is full: it has {capacity} places")]
    Full {
        /// How many there are.
        capacity: usize,
    },
    /// The payload does not fit into a place.
    #[error("the payload has {len} bytes, a place has {limit}")]
    PayloadTooLong {
        /// Its length.
        len: usize,
        /// The most that fits.
        limit: usize,
    },
    /// Id, name, key, content type and headers together do not fit into a place.
    #[error("id, name, key, content type and headers have {len} bytes, a place has {limit}")]
    TextTooLong {
        /// Their length.
        len: usize,
        /// The most that fits.
        limit: usize,
    },
    /// A message with this id is in the outbox.
    #[error("a message with the id {id:?} is in the outbox already")]
    Duplicate {
        /// The start of the id.
        id: Excerpt,
    },
    /// A part that no store takes.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// Why a good message was not stored: small, as it comes out of a critical section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Duplicate,
}

impl Refused {
    #[cold]
    pub(crate) fn error(self, capacity: usize, id: &str) -> EnqueueError {
        match self {
            Self::Full => EnqueueError::Full { capacity },
            Self::Duplicate => EnqueueError::Duplicate { id: Excerpt::new(id) },
        }
    }
}

impl<const N: usize, const TEXT: usize, const PAYLOAD: usize> Rows<N, TEXT, PAYLOAD> {
    /// Takes in one message that was [checked](check). It is born claimed when that is asked for and it is due and the head of its key.
    pub(crate) fn enqueue(
        &mut self,
        new: &NewMessage<'_>,
        hash: u32,
        now: Instant,
    ) -> Result<(HeaplessKey, Option<ClaimRef<HeaplessKey>>), Refused> {
        let message = &new.message;
        if self.table.find(message.id, hash).is_some() {
            return Err(Refused::Duplicate);
        }
        if self.table.len() >= N {
            self.make_room(now)?;
        }
        let is_head = message.key.is_none_or(|key| self.table.lane_is_free(key));
        let born = new.claim.filter(|_| is_head && new.delay.is_zero());
        let entry = match born {
            Some((worker, lease)) => Entry::in_flight(worker, lease, now),
            None => Entry::pending(now, new.delay),
        };
        let key = self.insert(message, hash, entry, now).ok_or(Refused::Full)?;
        let fence = entry.fence();
        Ok((key, born.map(|_| ClaimRef { key, fence })))
    }

    /// Gives up the oldest message that nobody holds, if that is the policy.
    fn make_room(&mut self, now: Instant) -> Result<(), Refused> {
        if self.options.overflow == Overflow::Refuse {
            return Err(Refused::Full);
        }
        let pending = |row: &&crate::slot::Slot<TEXT, PAYLOAD>| row.entry.state().status() == Status::Pending;
        let oldest = self.table.iter().filter(pending).min_by_key(|row| row.sequence);
        let slot = oldest.and_then(|row| self.table.find(row.message.id(), row.id_hash));
        let slot = slot.ok_or(Refused::Full)?;
        self.delete(slot, now);
        self.counts.dropped = self.counts.dropped.saturating_add(1);
        Ok(())
    }
}

/// Checks that a message is one, and fits.
pub(crate) fn check<const TEXT: usize, const PAYLOAD: usize>(
    message: &MessageRef<'_>,
) -> Result<(), EnqueueError> {
    text("message id", message.id, MAX_ID_BYTES)?;
    text("message name", message.name, MAX_NAME_BYTES)?;
    text("content type", message.content_type, MAX_CONTENT_TYPE_BYTES)?;
    if let Some(key) = message.key {
        text("ordering key", key, MAX_KEY_BYTES)?;
    }
    let parts = [
        message.id,
        message.name,
        message.key.unwrap_or_default(),
        message.content_type,
        message.headers.as_lines(),
    ];
    let len = parts.iter().map(|part| part.len()).sum();
    if len > TEXT {
        return Err(EnqueueError::TextTooLong { len, limit: TEXT });
    }
    if message.payload.len() > PAYLOAD {
        return Err(EnqueueError::PayloadTooLong {
            len: message.payload.len(),
            limit: PAYLOAD,
        });
    }
    Ok(())
}

/// [`check_text`], but plain ASCII is seen to be good at a glance.
fn text(field: &'static str, value: &str, limit: usize) -> Result<(), Invalid> {
    if !value.is_empty() && value.len() <= limit && value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    check_text(field, value, limit)
}
