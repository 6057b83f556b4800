//! Watches claims, renewals and settlements as they take effect.

use std::time::Duration;

use postbox::claim::{Fence, Verdict};
use postbox::time::Instant;

use super::{End, Holder, Promise};
use crate::backing::Backing;
use crate::history::{Event, MessageNo, NodeId};
use crate::world::State;

impl State {
    pub(crate) fn committed(
        &mut self,
        node: NodeId,
        id: &str,
        key: Option<&str>,
        claim: Option<(Fence, Duration)>,
    ) {
        let message = self.ledger.number(id);
        let now = self.now();
        let place = self.ledger.commits;
        self.ledger.commits += 1;
        self.log(Event::Committed {
            message,
            node,
            claimed: claim.is_some(),
        });
        if let Some(record) = self.ledger.of(message) {
            record.committed = Some(place);
            record.key = key.map(str::to_owned);
            if let Some((fence, lease)) = claim {
                record.hold(fence, node, now + lease);
            }
        }
    }

    pub(crate) fn claimed(&mut self, node: NodeId, message: MessageNo, fence: Fence, lease: Duration) {
        let now = self.now();
        let attempt = fence.attempt;
        self.log(Event::Claimed {
            message,
            node,
            attempt,
            lease,
        });
        let Some(record) = self.ledger.of(message) else {
            return;
        };
        let grew = attempt > record.attempt;
        let before = record.hold(fence, node, now + lease);
        record.abandoned += u32::from(before.is_some());
        // Whatever made the lease lapse: its holder may have published.
        record.excuses += usize::from(before.is_some());
        let ended = record.end.take();
        if let Some(holder) = before.filter(|holder| holder.until > now) {
            let left = holder.until.since(now);
            self.violated(
                Promise::Stolen,
                Some(message),
                format!(
                    "claimed while node {} still had {left:?} of its lease",
                    holder.node
                ),
            );
        }
        if let Some(holder) = before.filter(|holder| holder.until <= now && self.should_have_held_on(holder))
        {
            let detail = format!(
                "node {} lives, nothing was slow, and its lease lapsed",
                holder.node
            );
            self.violated(Promise::LetLapse, Some(message), detail);
        }
        if !grew {
            let detail = format!("the fence did not grow: attempt {attempt} was given before");
            self.violated(Promise::HolderRefused, Some(message), detail);
        }
        if ended == Some(End::Published) {
            let detail = String::from("claimed after it was settled as published");
            self.violated(Promise::StaleWrite, Some(message), detail);
        }
    }

    /// Whether a holder had no reason to let its lease lapse: it lives, and neither it nor its way to the store
    /// was slow or failing.
    fn should_have_held_on(&self, holder: &Holder) -> bool {
        let faults = &self.faults;
        let hindered = faults.slow_hop + faults.stall + faults.crash + faults.stop > 0
            || faults.store_error + faults.store_answer_lost + faults.lost_settlement > 0
            || self.store.from > 0;
        !hindered && self.deaths.get(holder.node) == Some(&0)
    }

    /// A node begins a publish, or still waits for its answer: it must have the lease to do so.
    pub(crate) fn publishes(&mut self, node: NodeId, message: MessageNo, since: Instant) {
        let now = self.now();
        let until = self
            .ledger
            .of(message)
            .and_then(|record| record.leases.get(&node).copied());
        let stood_still = self.stalled_until.get(node).is_some_and(|until| *until >= since);
        if let Some(until) = until.filter(|until| *until < now && !stood_still) {
            let detail = format!(
                "node {node} still publishes {:?} after its lease",
                now.since(until)
            );
            self.violated(Promise::PastItsLease, Some(message), detail);
        }
    }

    /// A claim of this node found messages that were abandoned too often, and buried them.
    pub(crate) fn note_buried(&mut self, node: NodeId, backing: &dyn Backing) {
        for message in 0..self.ledger.records.len() {
            let Some(record) = self.ledger.of(message) else {
                continue;
            };
            if record.end.is_some() || record.holder.is_none() || !backing.is_dead(&record.id) {
                continue;
            }
            record.abandoned += 1;
            record.holder = None;
            record.end = Some(End::Dead);
            self.log(Event::Buried { message, node });
        }
    }

    /// The store refused a commit: nothing of it may be there.
    pub(crate) fn not_committed(&mut self, node: NodeId, messages: &[(String, Option<String>)]) {
        for (id, _) in messages {
            let message = self.ledger.number(id);
            self.log(Event::CommitFailed { message, node });
        }
    }

    /// Of these claims the store renewed so many.
    pub(crate) fn renewed(
        &mut self,
        node: NodeId,
        claims: &[(MessageNo, Fence)],
        lease: Duration,
        renewed: usize,
    ) {
        let now = self.now();
        let mut held = 0;
        for (message, fence) in claims {
            let holder = self.ledger.of(*message).and_then(|record| record.holder.as_mut());
            let Some(holder) = holder.filter(|holder| holder.fence == *fence) else {
                continue;
            };
            holder.until = holder.until.max(now + lease);
            let until = holder.until;
            if let Some(record) = self.ledger.of(*message) {
                record.leases.insert(node, until);
            }
            held += 1;
            let attempt = fence.attempt;
            self.log(Event::Renewed {
                message: *message,
                node,
                attempt,
            });
        }
        if renewed != held {
            let promise = if renewed > held {
                Promise::StaleWrite
            } else {
                Promise::HolderRefused
            };
            let detail = format!("{renewed} leases were renewed, {held} of the claims held");
            self.violated(promise, claims.first().map(|(message, _)| *message), detail);
        }
    }

    /// The store applied a settlement, or refused it.
    pub(crate) fn settled(
        &mut self,
        node: NodeId,
        (message, fence): (MessageNo, Fence),
        verdict: Verdict,
        applied: bool,
    ) {
        let attempt = fence.attempt;
        self.log(if applied {
            Event::Settled {
                message,
                node,
                attempt,
                verdict,
            }
        } else {
            Event::Refused {
                message,
                node,
                attempt,
                verdict,
            }
        });
        let Some(record) = self.ledger.of(message) else {
            return;
        };
        // Published, but told too late: the next holder cannot know.
        record.excuses += usize::from(!applied && verdict == Verdict::Complete);
        let holder = record.holder;
        let held = holder.is_some_and(|holder| holder.fence == fence);
        if applied {
            record.holder = None;
            record.end = match verdict {
                Verdict::Complete => Some(End::Published),
                Verdict::Bury => Some(End::Dead),
                Verdict::Retry { .. } | Verdict::Release { .. } => None,
            };
            // A burial counts the failure that caused it.
            record.counted += u32::from(matches!(verdict, Verdict::Retry { .. } | Verdict::Bury));
        }
        let broken = match (applied, held, holder) {
            (true, false, Some(other)) => Some((
                Promise::Unfenced,
                format!(
                    "settled under attempt {attempt}, attempt {} held it",
                    other.fence.attempt
                ),
            )),
            (true, false, None) => Some((
                Promise::StaleWrite,
                format!("settled under attempt {attempt}, which nobody held any more"),
            )),
            (false, true, _) => Some((
                Promise::HolderRefused,
                format!("attempt {attempt} held it and was refused"),
            )),
            _ => None,
        };
        if let Some((promise, detail)) = broken {
            self.violated(promise, Some(message), detail);
        }
    }
}
