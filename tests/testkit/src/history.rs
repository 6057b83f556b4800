//! Everything that happened, in order, and how it reads.

use std::fmt::{self, Write as _};
use std::time::Duration;

use postbox::claim::Verdict;
use postbox::publisher::FailureKind;
use postbox::time::Instant;

/// Names a node: the how-many-eth it is.
pub type NodeId = usize;
/// Names a message: the how-many-eth it is that the world heard of.
pub type MessageNo = usize;

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it, and `Display` in words")]
pub enum Event {
    Requested {
        message: MessageNo,
        node: NodeId,
    },
    Answered {
        message: MessageNo,
        ok: bool,
    },
    Unanswered {
        message: MessageNo,
    },
    Committed {
        message: MessageNo,
        node: NodeId,
        claimed: bool,
    },
    CommitFailed {
        message: MessageNo,
        node: NodeId,
    },
    CommitAnswerLost {
        message: MessageNo,
        node: NodeId,
    },
    Claimed {
        message: MessageNo,
        node: NodeId,
        attempt: u32,
        lease: Duration,
    },
    Buried {
        message: MessageNo,
        node: NodeId,
    },
    Renewed {
        message: MessageNo,
        node: NodeId,
        attempt: u32,
    },
    Settled {
        message: MessageNo,
        node: NodeId,
        attempt: u32,
        verdict: Verdict,
    },
    Refused {
        message: MessageNo,
        node: NodeId,
        attempt: u32,
        verdict: Verdict,
    },
    SettlementLost {
        message: MessageNo,
        node: NodeId,
    },
    Sent {
        message: MessageNo,
        node: NodeId,
    },
    PacketLost {
        message: MessageNo,
    },
    Delivered {
        message: MessageNo,
    },
    Turned {
        message: MessageNo,
        away: FailureKind,
    },
    Acknowledged {
        message: MessageNo,
    },
    AnswerLost {
        message: MessageNo,
    },
    GaveUp {
        message: MessageNo,
        node: NodeId,
    },
    Handled {
        message: MessageNo,
        node: NodeId,
    },
    Crashed {
        node: NodeId,
    },
    Panicked {
        node: NodeId,
    },
    Started {
        node: NodeId,
        again: bool,
    },
    Stalled {
        node: NodeId,
        lasts: Duration,
    },
    ToldToStop {
        node: NodeId,
    },
    StoreFailed {
        node: NodeId,
        doing: &'static str,
    },
    StoreAnswerLost {
        node: NodeId,
        doing: &'static str,
    },
    BrokerDown {
        lasts: Duration,
    },
}

impl Event {
    /// The message that it is about; none for what happens to nodes and the broker.
    pub const fn message(&self) -> Option<MessageNo> {
        match *self {
            Self::Requested { message, .. }
            | Self::Answered { message, .. }
            | Self::Unanswered { message }
            | Self::Committed { message, .. }
            | Self::CommitFailed { message, .. }
            | Self::CommitAnswerLost { message, .. }
            | Self::Claimed { message, .. }
            | Self::Buried { message, .. }
            | Self::Renewed { message, .. }
            | Self::Settled { message, .. }
            | Self::Refused { message, .. }
            | Self::SettlementLost { message, .. }
            | Self::Sent { message, .. }
            | Self::PacketLost { message }
            | Self::Delivered { message }
            | Self::Turned { message, .. }
            | Self::Acknowledged { message }
            | Self::AnswerLost { message }
            | Self::GaveUp { message, .. }
            | Self::Handled { message, .. } => Some(message),
            _ => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Requested { node, .. } => write!(f, "node {node} takes the command"),
            Self::Answered { ok: true, .. } => write!(f, "the caller is told that it succeeded"),
            Self::Answered { ok: false, .. } => write!(f, "the caller is told that it failed"),
            Self::Unanswered { .. } => write!(f, "the caller is told nothing"),
            Self::Committed {
                node, claimed: true, ..
            } => write!(f, "node {node} commits it, born claimed"),
            Self::Committed { node, .. } => write!(f, "node {node} commits it"),
            Self::CommitFailed { node, .. } => write!(f, "node {node} fails to commit it"),
            Self::CommitAnswerLost { node, .. } => {
                write!(f, "node {node} does not learn whether it is committed")
            }
            Self::Claimed {
                node, attempt, lease, ..
            } => {
                write!(f, "node {node} claims it (attempt {attempt}) for {lease:?}")
            }
            Self::Buried { node, .. } => write!(f, "a claim of node {node} buries it: abandoned too often"),
            Self::Renewed { node, attempt, .. } => {
                write!(f, "node {node} renews its lease (attempt {attempt})")
            }
            Self::Settled {
                node,
                attempt,
                verdict,
                ..
            } => {
                write!(f, "node {node} settles it (attempt {attempt}): {verdict:?}")
            }
            Self::Refused {
                node,
                attempt,
                verdict,
                ..
            } => {
                write!(
                    f,
                    "node {node} may not settle it (attempt {attempt}): {verdict:?}"
                )
            }
            Self::SettlementLost { node, .. } => write!(f, "a settlement of node {node} is lost"),
            Self::Sent { node, .. } => write!(f, "node {node} sends it"),
            Self::PacketLost { .. } => write!(f, "the network loses it"),
            Self::Delivered { .. } => write!(f, "THE BROKER HAS IT"),
            Self::Turned { away, .. } => write!(f, "the broker does not take it: {away:?}"),
            Self::Acknowledged { .. } => write!(f, "the broker's answer arrives"),
            Self::AnswerLost { .. } => write!(f, "the broker's answer is lost"),
            Self::GaveUp { node, .. } => write!(f, "node {node} no longer waits for the broker's answer"),
            Self::Handled { node, .. } => write!(f, "a consumer on node {node} commits its effect"),
            Self::Crashed { node } => write!(f, "NODE {node} CRASHES"),
            Self::Panicked { node } => write!(f, "NODE {node} PANICS"),
            Self::Started { node, again: false } => write!(f, "node {node} starts"),
            Self::Started { node, .. } => write!(f, "node {node} starts again"),
            Self::Stalled { node, lasts } => write!(f, "NODE {node} STANDS STILL for {lasts:?}"),
            Self::ToldToStop { node } => write!(f, "node {node} is told to stop"),
            Self::StoreFailed { node, doing } => write!(f, "the store fails node {node}: {doing}"),
            Self::StoreAnswerLost { node, doing } => {
                write!(f, "the store's answer to node {node} is lost: {doing}")
            }
            Self::BrokerDown { lasts } => write!(f, "THE BROKER IS DOWN for {lasts:?}"),
        }
    }
}

/// What happened, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    events: Vec<(Instant, Event)>,
}

impl History {
    pub(crate) fn push(&mut self, at: Instant, event: Event) {
        self.events.push((at, event));
    }

    /// Everything, in order.
    pub fn events(&self) -> &[(Instant, Event)] {
        &self.events
    }

    /// How often something happened.
    pub(crate) fn count(&self, which: impl Fn(&Event) -> bool) -> u64 {
        self.events.iter().filter(|(_, event)| which(event)).count() as u64
    }

    /// What happened to one message and to all nodes, a line each; without a message, everything.
    pub(crate) fn timeline(&self, about: Option<MessageNo>, name: impl Fn(MessageNo) -> String) -> String {
        let start = self.events.first().map_or(Instant::ZERO, |(at, _)| *at);
        let mut text = String::new();
        for (at, event) in &self.events {
            let of = event.message();
            if of.is_some() && about.is_some() && of != about {
                continue;
            }
            let time = at.since(start).as_secs_f64();
            let name = of.map(&name).unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{time:>10.4} s  {name:<10} {event}");
        }
        text
    }
}
