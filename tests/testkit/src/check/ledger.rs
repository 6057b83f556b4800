//! What is known of each message: who holds it by right, where it has been, and what excuses a duplicate.

use std::collections::BTreeMap;

use postbox::claim::Fence;
use postbox::store::ClaimRef;
use postbox::time::Instant;

use crate::history::{MessageNo, NodeId};
use crate::store::RowKey;

/// The messages of a world.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) records: Vec<Record>,
    numbers: BTreeMap<String, MessageNo>,
    /// Which message stands in which row.
    rows: BTreeMap<usize, MessageNo>,
    pub(crate) commits: u64,
}

/// One message.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) key: Option<String>,
    /// Its place in the order of commits.
    pub(crate) committed: Option<u64>,
    /// A commit of it was sent whose outcome its caller does not know.
    pub(crate) unknown: bool,
    pub(crate) holder: Option<Holder>,
    pub(crate) attempt: u32,
    /// The end of each node's last lease of it, whoever holds it now.
    pub(crate) leases: BTreeMap<NodeId, Instant>,
    pub(crate) end: Option<End>,
    /// Whether the broker would hand it to a consumer of this world.
    pub(crate) consumed: bool,
    /// The how-many-eth deliveries of the world these were.
    pub(crate) deliveries: Vec<u64>,
    /// What may have made it come twice: each counts once.
    pub(crate) excuses: usize,
    /// Answers and silences that count as failures.
    pub(crate) failures: u32,
    pub(crate) permanent: bool,
    /// Failures that were counted.
    pub(crate) counted: u32,
    /// Leases that lapsed without a word.
    pub(crate) abandoned: u32,
    /// What the caller was told.
    pub(crate) told: Option<bool>,
    pub(crate) effects: u32,
}

/// Who may settle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder {
    pub(crate) fence: Fence,
    pub(crate) node: NodeId,
    pub(crate) until: Instant,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Published,
    Dead,
}

impl Ledger {
    /// The message's number; it gets one when it is new.
    pub(crate) fn number(&mut self, id: &str) -> MessageNo {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let number = self.records.len();
        self.numbers.insert(id.to_owned(), number);
        self.records.push(Record {
            id: id.to_owned(),
            ..Record::default()
        });
        number
    }

    pub(crate) fn known(&self, id: &str) -> Option<MessageNo> {
        self.numbers.get(id).copied()
    }

    pub(crate) fn stands_in(&mut self, RowKey(row): RowKey, message: MessageNo) {
        self.rows.insert(row, message);
    }

    /// The message of a claim, with its fence.
    pub(crate) fn of_claim(&self, claim: ClaimRef<RowKey>) -> Option<(MessageNo, Fence)> {
        Some((*self.rows.get(&claim.key.0)?, claim.fence))
    }

    pub(crate) fn of(&mut self, message: MessageNo) -> Option<&mut Record> {
        self.records.get_mut(message)
    }

    /// Notes a cause of duplicates for everything that this node holds.
    pub(crate) fn excuse_all_of(&mut self, node: NodeId) {
        for record in &mut self.records {
            if record.end.is_none() && record.holder.is_some_and(|holder| holder.node == node) {
                record.excuses += 1;
            }
        }
    }

    /// Whether every committed message came to an end.
    pub(crate) fn is_settled(&self) -> bool {
        let open = |record: &Record| record.committed.is_some() && record.end.is_none();
        !self.records.iter().any(open)
    }
}

impl Record {
    /// A claim was granted; returns whose it was before.
    pub(crate) fn hold(&mut self, fence: Fence, node: NodeId, until: Instant) -> Option<Holder> {
        self.attempt = fence.attempt;
        self.leases.insert(node, until);
        self.holder.replace(Holder::new(fence, node, until))
    }
}

impl Holder {
    fn new(fence: Fence, node: NodeId, until: Instant) -> Self {
        Self { fence, node, until }
    }
}
