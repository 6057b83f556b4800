//! The check: what the database says was committed against what the broker's log says was delivered.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::broker::Delivery;
use crate::todo::message_id;

/// An event in the stream store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) todo: String,
    pub(crate) sequence: u64,
    /// When it was written, in microseconds since 1970.
    pub(crate) at: u64,
}

/// Every delivery, in order, straight from the broker's log.
pub(crate) fn delivered(log: &Path) -> Result<Vec<Delivery>, Box<dyn Error>> {
    let lines = BufReader::new(File::open(log)?).lines();
    lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

/// What the check found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Events in the store; each has one message.
    pub(crate) committed: usize,
    /// Messages the broker has, each counted once.
    pub(crate) published: usize,
    /// Events whose message the broker does not have.
    pub(crate) lost: usize,
    /// Deliveries of a message after its first.
    pub(crate) duplicates: usize,
    /// First deliveries that came after one of a later event of their todo.
    pub(crate) violations: usize,
}

impl Verdict {
    /// Something was committed, and all of it was published, in order.
    pub(crate) const fn is_good(&self) -> bool {
        self.committed > 0 && self.committed == self.published && self.lost == 0 && self.violations == 0
    }
}

/// Counts, and nothing else.
pub(crate) fn judge(events: &[Event], deliveries: &[Delivery]) -> Verdict {
    let mut seen = HashSet::new();
    let mut latest: HashMap<&str, u64> = HashMap::new();
    let (mut duplicates, mut violations) = (0, 0);
    for delivery in deliveries {
        if !seen.insert(delivery.id.as_str()) {
            duplicates += 1;
            continue;
        }
        let latest = latest.entry(&delivery.key).or_default();
        if delivery.sequence < *latest {
            violations += 1;
        }
        *latest = delivery.sequence.max(*latest);
    }
    let arrived = |event: &&Event| seen.contains(message_id(&event.todo, event.sequence).as_str());
    Verdict {
        committed: events.len(),
        published: seen.len(),
        lost: events.len() - events.iter().filter(arrived).count(),
        duplicates,
        violations,
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.committed == self.published {
            "="
        } else {
            "!="
        };
        write!(
            f,
            "committed {} {sign} published {}, lost {}, duplicates {}, order violations {}",
            self.committed, self.published, self.lost, self.duplicates, self.violations
        )
    }
}

/// From an event being written to the first delivery of its message, in microseconds, shortest first.
pub(crate) fn latencies(events: &[Event], deliveries: &[Delivery]) -> Vec<u64> {
    let written: HashMap<String, u64> = events
        .iter()
        .map(|event| (message_id(&event.todo, event.sequence), event.at))
        .collect();
    let mut seen = HashSet::new();
    let mut latencies: Vec<u64> = deliveries
        .iter()
        .filter(|delivery| seen.insert(&delivery.id))
        .filter_map(|delivery| Some(delivery.at.saturating_sub(*written.get(&delivery.id)?)))
        .collect();
    latencies.sort_unstable();
    latencies
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(todo: &str, sequence: u64) -> Event {
        let todo = todo.to_owned();
        Event {
            todo,
            sequence,
            at: 10,
        }
    }

    fn delivery(todo: &str, sequence: u64) -> Delivery {
        Delivery {
            at: 15,
            id: message_id(todo, sequence),
            name: "todo.renamed".into(),
            key: format!("todo/{todo}"),
            sequence,
        }
    }

    fn judged(deliveries: &[Delivery]) -> Verdict {
        judge(&[event("a", 1), event("a", 2), event("b", 1)], deliveries)
    }

    #[test]
    fn each_message_once_in_the_order_of_its_todo_is_good() {
        let verdict = judged(&[delivery("a", 1), delivery("b", 1), delivery("a", 2)]);
        assert!(verdict.is_good());
        assert_eq!(
            verdict.to_string(),
            "committed 3 = published 3, lost 0, duplicates 0, order violations 0"
        );
    }

    #[test]
    fn doing_nothing_is_not_good() {
        assert!(!judge(&[], &[]).is_good());
    }

    #[test]
    fn a_lost_message_is_found() {
        let verdict = judged(&[delivery("a", 1), delivery("b", 1)]);
        assert_eq!((verdict.published, verdict.lost), (2, 1));
        assert!(!verdict.is_good());
        assert!(
            verdict
                .to_string()
                .starts_with("committed 3 != published 2, lost 1,")
        );
    }

    #[test]
    fn a_message_that_was_never_committed_does_not_make_up_for_a_lost_one() {
        let verdict = judged(&[delivery("a", 1), delivery("b", 1), delivery("b", 2)]);
        assert_eq!((verdict.published, verdict.lost), (3, 1));
        assert!(!verdict.is_good());
    }

    #[test]
    fn a_duplicate_is_counted_and_neither_lost_nor_out_of_order() {
        let again = delivery("a", 1);
        let verdict = judged(&[delivery("a", 1), delivery("a", 2), delivery("b", 1), again]);
        assert_eq!((verdict.duplicates, verdict.violations), (1, 0));
        assert!(verdict.is_good());
    }

    #[test]
    fn a_first_delivery_behind_a_later_one_is_a_violation() {
        let verdict = judged(&[delivery("a", 2), delivery("a", 1), delivery("b", 1)]);
        assert_eq!(verdict.violations, 1);
        assert!(!verdict.is_good());
    }

    #[test]
    fn a_latency_ends_at_the_first_delivery() {
        let late = Delivery {
            at: 500,
            ..delivery("a", 1)
        };
        assert_eq!(latencies(&[event("a", 1)], &[delivery("a", 1), late]), [5]);
    }
}
