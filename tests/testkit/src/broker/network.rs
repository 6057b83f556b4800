//! Packets between nodes and the broker. They belong to the network: a sender that dies does not call them back.

use std::time::Duration;

use postbox::message::Message;
use postbox::publisher::FailureKind;

use crate::check::Promise;
use crate::history::{Event, MessageNo, NodeId};
use crate::sabotage::Sabotage;
use crate::world::{Sim, State, millis};

/// Something on its way.
#[derive(Debug)]
pub(crate) enum Packet {
    ToBroker {
        message: MessageNo,
        body: Message,
        reply_to: Option<u64>,
    },
    ToSender {
        message: MessageNo,
        answer: Answer,
        packet: u64,
    },
}

/// What the broker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Taken,
    Turned(FailureKind),
}

impl State {
    /// Puts a message on its way; returns under which number its answer will come.
    pub(crate) fn send(&mut self, message: MessageNo, body: Message) -> u64 {
        let (lost, copied) = (self.faults.lost_packet, self.faults.copied_packet);
        if self.happens(copied) {
            self.excuse(message);
            let body = body.clone();
            self.post(Packet::ToBroker {
                message,
                body,
                reply_to: None,
            });
        }
        if self.sabotaged(Sabotage::SendsTwice) {
            let body = body.clone();
            self.post(Packet::ToBroker {
                message,
                body,
                reply_to: None,
            });
        }
        let number = self.next_packet;
        if self.happens(lost) {
            self.log(Event::PacketLost { message });
            self.next_packet += 1;
        } else {
            self.post(Packet::ToBroker {
                message,
                body,
                reply_to: Some(number),
            });
        }
        number
    }

    fn post(&mut self, packet: Packet) {
        let (slow, range) = (self.faults.slow_packet, self.faults.packet);
        let delay = if self.happens(slow) {
            millis(&mut self.dice, range)
        } else {
            Duration::ZERO
        };
        let at = self.now() + delay;
        self.packets.insert((at, self.next_packet), packet);
        self.next_packet += 1;
    }

    /// What the broker says to a message that arrives.
    fn judge(&mut self, message: MessageNo) -> Answer {
        let now = self.now();
        let (outage, range) = (self.faults.outage, self.faults.outage_for);
        if self.happens(outage) {
            let lasts = millis(&mut self.dice, range);
            self.broker.down_until = Some(now + lasts);
            self.log(Event::BrokerDown { lasts });
        }
        if self.broker.down_until.is_some_and(|until| now < until) {
            return Answer::Turned(FailureKind::Unavailable);
        }
        let kind = match self.broker.turns_away.get_mut(&message) {
            Some(None) => FailureKind::Permanent,
            Some(Some(left)) if *left > 0 => {
                *left -= 1;
                FailureKind::Retryable
            }
            _ => return Answer::Taken,
        };
        Answer::Turned(kind)
    }

    /// Something happened after which this message may rightly come once more.
    pub(crate) fn excuse(&mut self, message: MessageNo) {
        if let Some(record) = self.ledger.of(message) {
            record.excuses += 1;
        }
    }

    /// Something happened that counts as a failure of this message.
    pub(crate) fn fails(&mut self, message: MessageNo) {
        if let Some(record) = self.ledger.of(message) {
            record.failures += 1;
        }
    }

    /// A node no longer waits for the answer to a message that is on its way.
    pub(crate) fn gave_up(&mut self, node: NodeId, message: MessageNo, waited: Duration) {
        self.log(Event::GaveUp { message, node });
        self.excuse(message);
        self.fails(message);
        // Nothing is given up before a fifth of the lease was spent on it.
        if waited * 5 < self.limits.lease && !self.is_slow(node) {
            let detail = format!(
                "node {node} waited {waited:?} of a lease of {:?}",
                self.limits.lease
            );
            self.violated(Promise::Duplicate, Some(message), detail);
        }
    }

    /// Whether the node may have lost time on the way to the store, or by standing still.
    fn is_slow(&self, _node: NodeId) -> bool {
        self.faults.slow_hop > 0 || self.faults.stall > 0
    }
}

impl Sim {
    /// Lets the next packet arrive.
    pub(crate) fn arrive(&self) {
        let mut state = self.lock();
        let now = state.now();
        let Some(entry) = state.packets.first_entry().filter(|entry| entry.key().0 <= now) else {
            return;
        };
        match entry.remove() {
            Packet::ToSender {
                message,
                answer,
                packet,
            } => {
                state.log(Event::Acknowledged { message });
                let waiting = state.waiting.get_mut(&packet);
                let waker = waiting.and_then(|waiting| {
                    waiting.answer = Some(answer);
                    waiting.waker.take()
                });
                drop(state);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Packet::ToBroker {
                message,
                body,
                reply_to,
            } => {
                let answer = state.judge(message);
                if let Answer::Turned(away) = answer {
                    state.turned(message, away, reply_to.is_some());
                }
                if let Some(packet) = reply_to {
                    let lost = state.faults.lost_answer;
                    if state.happens(lost) {
                        state.log(Event::AnswerLost { message });
                        if answer == Answer::Taken {
                            state.excuse(message);
                        }
                    } else {
                        state.post(Packet::ToSender {
                            message,
                            answer,
                            packet,
                        });
                    }
                }
                drop(state);
                if answer == Answer::Taken {
                    self.deliver(body);
                }
            }
        }
    }

    /// The broker has a message: consumers will see it.
    pub(crate) fn deliver(&self, body: Message) {
        {
            let mut state = self.lock();
            let message = state.ledger.number(body.id().unwrap_or_default());
            state.log(Event::Delivered { message });
            let place = state.broker.deliveries;
            state.broker.deliveries += 1;
            *state.broker.by_name.entry(body.name().to_owned()).or_default() += 1;
            let committed = state.ledger.of(message).is_some_and(|record| {
                record.deliveries.push(place);
                record.committed.is_some()
            });
            if !committed {
                let detail = String::from("the broker has a message that is not committed");
                state.violated(Promise::NotCommitted, Some(message), detail);
            }
        }
        // It keeps more messages than any world has.
        let _ = self.bus.push(body);
    }
}

impl State {
    fn turned(&mut self, message: MessageNo, away: FailureKind, counts: bool) {
        self.log(Event::Turned { message, away });
        if !counts {
            return;
        }
        match away {
            FailureKind::Retryable => self.fails(message),
            FailureKind::Permanent => {
                if let Some(record) = self.ledger.of(message) {
                    record.permanent = true;
                }
            }
            FailureKind::Unavailable => {}
        }
    }
}
