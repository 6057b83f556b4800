//! What the bus keeps: queues of commands, logs of events with a cursor a group, and what was given up.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::DeadLetter;
use crate::message::{Message, MessageKind};

/// One message on its way to one receiver. The sequence is its place among all messages of the bus, which
/// it keeps when it comes back.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) sequence: u64,
    pub(super) message: Arc<Message>,
    pub(super) deliveries: u32,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) dead: Vec<DeadLetter>,
    pub(super) parked: Vec<DeadLetter>,
    next: u64,
    queues: BTreeMap<String, BTreeMap<u64, Delivery>>,
    topics: BTreeMap<String, Topic>,
    /// Everything that waits or is in hand: queue entries, log entries, entries that came back.
    kept: usize,
}

#[derive(Debug, Default)]
struct Topic {
    log: VecDeque<(u64, Arc<Message>)>,
    groups: BTreeMap<String, Group>,
}

#[derive(Debug)]
struct Group {
    /// The first sequence of the log that the group has not had.
    cursor: u64,
    returned: BTreeMap<u64, Delivery>,
}

impl State {
    pub(super) fn len(&self) -> usize {
        self.kept
            .saturating_add(self.dead.len())
            .saturating_add(self.parked.len())
    }

    pub(super) fn push(&mut self, message: Message) {
        let sequence = self.next;
        self.next = sequence.saturating_add(1);
        let (name, kind) = (String::from(message.name()), message.kind());
        let message = Arc::new(message);
        self.kept = self.kept.saturating_add(1);
        match kind {
            MessageKind::Command => {
                let delivery = Delivery {
                    sequence,
                    message,
                    deliveries: 0,
                };
                self.queues.entry(name).or_default().insert(sequence, delivery);
            }
            MessageKind::Event => self
                .topics
                .entry(name)
                .or_default()
                .log
                .push_back((sequence, message)),
        }
    }

    /// Makes `group` known to these topics; it starts with the oldest event that is still kept.
    pub(super) fn join(&mut self, names: &[&str], group: &str) {
        for name in names {
            let topic = self.topics.entry(String::from(*name)).or_default();
            if !topic.groups.contains_key(group) {
                let group_state = Group {
                    cursor: 0,
                    returned: BTreeMap::new(),
                };
                topic.groups.insert(String::from(group), group_state);
            }
        }
    }

    /// The oldest command among these names.
    pub(super) fn pop_command(&mut self, names: &[String]) -> Option<Delivery> {
        let oldest = names
            .iter()
            .filter_map(|name| Some((*self.queues.get(name)?.first_key_value()?.0, name)))
            .min()?;
        let queue = self.queues.get_mut(oldest.1)?;
        let mut delivery = queue.pop_first()?.1;
        if queue.is_empty() {
            self.queues.remove(oldest.1);
        }
        delivery.deliveries = delivery.deliveries.saturating_add(1);
        Some(delivery)
    }

    /// The oldest event among these names that the group has not had, or gave back.
    pub(super) fn pop_event(&mut self, names: &[String], group: &str) -> Option<Delivery> {
        let oldest = names
            .iter()
            .filter_map(|name| Some((self.topics.get(name)?.oldest(group)?, name)))
            .min()?;
        let topic = self.topics.get_mut(oldest.1)?;
        // What came back is counted already; what is fresh is in hand now as well as in the log.
        let fresh = !topic.has_returned(group, oldest.0);
        let mut delivery = topic.take(group, oldest.0)?;
        self.kept = self
            .kept
            .saturating_add(usize::from(fresh))
            .saturating_sub(topic.trim());
        delivery.deliveries = delivery.deliveries.saturating_add(1);
        Some(delivery)
    }

    /// A delivery comes back to its queue or group.
    pub(super) fn give_back(&mut self, delivery: Delivery, group: Option<&str>) {
        let name = delivery.message.name();
        match group {
            None => {
                self.queues
                    .entry(String::from(name))
                    .or_default()
                    .insert(delivery.sequence, delivery);
            }
            Some(group) => {
                if let Some(group) = self
                    .topics
                    .get_mut(name)
                    .and_then(|topic| topic.groups.get_mut(group))
                {
                    group.returned.insert(delivery.sequence, delivery);
                }
            }
        }
    }

    /// A delivery is settled.
    pub(super) fn done(&mut self) {
        self.kept = self.kept.saturating_sub(1);
    }

    /// A letter is delivered anew to whoever gave it up.
    pub(super) fn requeue(&mut self, letter: DeadLetter) {
        let sequence = self.next;
        self.next = sequence.saturating_add(1);
        self.kept = self.kept.saturating_add(1);
        let delivery = Delivery {
            sequence,
            message: Arc::new(letter.message),
            deliveries: 0,
        };
        self.give_back(delivery, letter.group.as_deref());
    }
}

impl Topic {
    /// The sequence of the next event for this group.
    fn oldest(&self, group: &str) -> Option<u64> {
        let group = self.groups.get(group)?;
        let fresh = self
            .log
            .get(self.position(group.cursor))
            .map(|(sequence, _)| *sequence);
        let returned = group.returned.first_key_value().map(|(sequence, _)| *sequence);
        match (fresh, returned) {
            (Some(fresh), Some(returned)) => Some(fresh.min(returned)),
            (fresh, returned) => fresh.or(returned),
        }
    }

    fn has_returned(&self, group: &str, sequence: u64) -> bool {
        let group = self.groups.get(group);
        group.is_some_and(|group| group.returned.contains_key(&sequence))
    }

    fn take(&mut self, group: &str, sequence: u64) -> Option<Delivery> {
        let at = self.position(sequence);
        let group = self.groups.get_mut(group)?;
        if let Some(delivery) = group.returned.remove(&sequence) {
            return Some(delivery);
        }
        let (sequence, message) = self.log.get(at)?;
        group.cursor = sequence.saturating_add(1);
        Some(Delivery {
            sequence: *sequence,
            message: message.clone(),
            deliveries: 0,
        })
    }

    /// Lets go of what every group has had. Returns how many.
    fn trim(&mut self) -> usize {
        let had = self.groups.values().map(|group| group.cursor).min().unwrap_or(0);
        let past = self.position(had);
        self.log.drain(..past).count()
    }

    /// Where the first entry at or after `sequence` stands.
    fn position(&self, sequence: u64) -> usize {
        self.log.partition_point(|(at, _)| *at < sequence)
    }
}
