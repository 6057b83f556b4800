//! New messages: refused as a whole, or taken in, born claimed where that is asked for and possible.

use postbox::aggregate::{Birth, CommittedMessage, RepositoryError};
use postbox::claim::Entry;
use postbox::message::OutboxMessage;
use postbox::store::ClaimRef;
use postbox::time::Instant;

use crate::rows::Rows;
use crate::table::HashMapKey;

impl Rows {
    /// Refuses ids that are in the store, whatever became of their messages.
    pub(crate) fn check(&self, messages: &[OutboxMessage]) -> Result<(), RepositoryError> {
        if !self.table.has_room(messages.len()) {
            return Err(RepositoryError::Store {
                source: "there are 2^32 messages already".into(),
            });
        }
        match messages
            .iter()
            .find(|message| self.slot_of(message.id()).is_some())
        {
            Some(message) => Err(RepositoryError::DuplicateMessage {
                id: message.id().into(),
            }),
            None => Ok(()),
        }
    }

    /// Takes in one message that was checked. It is born claimed when it is due and the head of its key.
    pub(crate) fn enqueue(
        &mut self,
        message: &OutboxMessage,
        claim: Option<Birth>,
        now: Instant,
    ) -> CommittedMessage<HashMapKey> {
        let is_head = message
            .as_ref()
            .key
            .is_none_or(|key| self.lanes.is_free(&self.table, key));
        let born = claim.filter(|_| is_head && message.delay().is_zero());
        let entry = match born {
            Some(birth) => Entry::in_flight(birth.worker, birth.lease.length(), now),
            None => Entry::pending(now, message.delay()),
        };
        let key = self.insert(message, entry, now);
        CommittedMessage {
            id: message.id().to_owned(),
            claim: born.map(|_| ClaimRef {
                key,
                fence: entry.fence(),
            }),
        }
    }
}
