//! The locks of streams: owned guards, first come first served, nothing kept for streams nobody waits for.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use super::StreamIdentity;
use crate::sync::Mutex;

/// Who holds which stream, and who waits. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct LockTable(Arc<Mutex<Streams>>);

type Streams = BTreeMap<StreamIdentity, Queue>;

/// The holder and those behind it, by ticket. A stream is in the table only while it is held.
#[derive(Debug)]
struct Queue {
    holder: u64,
    next_ticket: u64,
    waiting: VecDeque<(u64, Waker)>,
}

impl LockTable {
    /// Waits for the turn of the caller. Dropping the future gives up the place in the queue.
    pub(super) async fn lock(&self, stream: &StreamIdentity) -> StreamLock {
        Acquire {
            table: self,
            stream,
            ticket: None,
        }
        .await
    }

    /// How many streams are held: 0 when nobody is at work.
    pub(super) fn held(&self) -> usize {
        self.0.with(|streams| streams.len())
    }

    /// Takes a ticket and the lock, or a place in the queue.
    fn enter(&self, stream: &StreamIdentity, waker: &Waker) -> (u64, bool) {
        self.0.with(|streams| {
            let Some(queue) = streams.get_mut(stream) else {
                let queue = Queue {
                    holder: 0,
                    next_ticket: 1,
                    waiting: VecDeque::new(),
                };
                streams.insert(stream.clone(), queue);
                return (0, true);
            };
            let ticket = queue.next_ticket;
            queue.next_ticket = ticket.saturating_add(1);
            queue.waiting.push_back((ticket, waker.clone()));
            (ticket, false)
        })
    }

    /// Whether it is this ticket's turn; otherwise remembers whom to wake.
    fn is_turn(&self, stream: &StreamIdentity, ticket: u64, waker: &Waker) -> bool {
        self.0.with(|streams| {
            let Some(queue) = streams.get_mut(stream) else {
                return false;
            };
            if queue.holder == ticket {
                return true;
            }
            if let Some((_, kept)) = queue.waiting.iter_mut().find(|(waiting, _)| *waiting == ticket) {
                kept.clone_from(waker);
            }
            false
        })
    }

    /// Gives up a ticket, whether it holds the lock or waits for it; the next in line is woken.
    fn leave(&self, stream: &StreamIdentity, ticket: u64) {
        let next = self.0.with(|streams| {
            let queue = streams.get_mut(stream)?;
            if queue.holder != ticket {
                queue.waiting.retain(|(waiting, _)| *waiting != ticket);
                return None;
            }
            let Some((next, waker)) = queue.waiting.pop_front() else {
                streams.remove(stream);
                return None;
            };
            queue.holder = next;
            Some(waker)
        });
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

/// Holds a stream until dropped: whatever happens, a panic or a dropped future included.
pub struct StreamLock {
    table: LockTable,
    stream: StreamIdentity,
    ticket: u64,
}

impl Drop for StreamLock {
    fn drop(&mut self) {
        self.table.leave(&self.stream, self.ticket);
    }
}

impl fmt::Debug for StreamLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamLock").field(&self.stream).finish()
    }
}

/// Waits for a turn.
struct Acquire<'a> {
    table: &'a LockTable,
    stream: &'a StreamIdentity,
    ticket: Option<u64>,
}

impl Future for Acquire<'_> {
    type Output = StreamLock;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<StreamLock> {
        let (ticket, granted) = match self.ticket {
            Some(ticket) => (ticket, self.table.is_turn(self.stream, ticket, cx.waker())),
            None => self.table.enter(self.stream, cx.waker()),
        };
        self.ticket = Some(ticket);
        if !granted {
            return Poll::Pending;
        }
        // From here on the guard leaves the queue, not this future.
        self.ticket = None;
        Poll::Ready(StreamLock {
            table: self.table.clone(),
            stream: self.stream.clone(),
            ticket,
        })
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.table.leave(self.stream, ticket);
        }
    }
}

#[cfg(all(test, loom))]
mod schedules;
