//! The queue before the writer, and how the writer takes it: in groups, in the order of arrival. What jobs and
//! settlements do is not known here.

#[cfg(all(test, loom))]
mod schedules;

#[cfg(all(test, loom))]
use loom::sync::{Arc, atomic::AtomicUsize};
#[cfg(all(test, loom))]
use schedules::channel::{Receiver, Sender, channel};
use std::sync::atomic::Ordering::Relaxed;
#[cfg(not(all(test, loom)))]
use std::sync::mpsc::{Receiver, Sender, channel};
#[cfg(not(all(test, loom)))]
use std::sync::{Arc, atomic::AtomicUsize};
use std::time::{Duration, Instant};

use postbox::store::MAX_BATCH;

/// The end at which callers stand. The writer ends when it is dropped.
pub(crate) struct Orders<J, S> {
    sender: Sender<Order<J, S>>,
    /// Settlements that wait softly.
    soft: Arc<AtomicUsize>,
}

/// The end at which the writer stands.
pub(crate) struct Queue<J, S> {
    orders: Receiver<Order<J, S>>,
    soft: Arc<AtomicUsize>,
    max_group: usize,
    linger: Duration,
}

/// What is run in one transaction: the settlements first.
pub(crate) struct Group<J, S> {
    pub(crate) soft: Vec<S>,
    pub(crate) jobs: Vec<J>,
}

/// Why settlements were not queued.
pub(crate) enum Refused<S> {
    /// The writer is gone.
    Closed,
    /// Too many wait softly: these have to wait for the disk.
    Full(Vec<S>),
}

enum Order<J, S> {
    Now(J),
    /// May wait for company, with which it shares a statement.
    Soon(Vec<S>),
}

/// Both ends of a queue. Soft settlements alone `linger` for company.
pub(crate) fn queue<J, S>(max_group: usize, linger: Duration) -> (Orders<J, S>, Queue<J, S>) {
    let (sender, orders) = channel();
    let soft = Arc::new(AtomicUsize::new(0));
    let queue = Queue {
        orders,
        soft: soft.clone(),
        max_group,
        linger,
    };
    (Orders { sender, soft }, queue)
}

impl<J, S> Orders<J, S> {
    /// Queues a job that somebody waits for; false when the writer is gone.
    pub(crate) fn now(&self, job: J) -> bool {
        self.sender.send(Order::Now(job)).is_ok()
    }

    /// Queues settlements that nobody waits for.
    pub(crate) fn soon(&self, settlements: Vec<S>) -> Result<(), Refused<S>> {
        if self.soft.load(Relaxed) >= MAX_SOFT {
            return Err(Refused::Full(settlements));
        }
        self.soft.fetch_add(settlements.len(), Relaxed);
        self.sender
            .send(Order::Soon(settlements))
            .map_err(|_| Refused::Closed)
    }
}

impl<J, S> Queue<J, S> {
    /// Until the other end is gone and the queue is empty.
    pub(crate) fn serve(self, mut run: impl FnMut(Group<J, S>)) {
        while let Some(group) = self.gather() {
            let soft = group.soft.len();
            run(group);
            self.soft.fetch_sub(soft, Relaxed);
        }
    }

    /// Waits for the next group: the settlements that wait softly, and whoever waits. Soft settlements alone
    /// wait a little for company.
    fn gather(&self) -> Option<Group<J, S>> {
        let mut group = Group {
            soft: Vec::new(),
            jobs: Vec::new(),
        };
        group.push(self.orders.recv().ok()?);
        let limit = self.max_group;
        let deadline = Instant::now() + self.linger;
        while group.jobs.is_empty() && group.len() < limit.min(MAX_BATCH) {
            let patience = deadline.saturating_duration_since(Instant::now());
            // Both a timeout and the end of all handles mean: now.
            let Ok(order) = self.orders.recv_timeout(patience) else {
                break;
            };
            group.push(order);
        }
        while group.len() < limit {
            let Ok(order) = self.orders.try_recv() else {
                break;
            };
            group.push(order);
        }
        Some(group)
    }
}

impl<J, S> Group<J, S> {
    fn push(&mut self, order: Order<J, S>) {
        match order {
            Order::Now(job) => self.jobs.push(job),
            Order::Soon(settlements) if self.soft.is_empty() => self.soft = settlements,
            Order::Soon(settlements) => self.soft.extend(settlements),
        }
    }

    fn len(&self) -> usize {
        self.jobs.len() + self.soft.len()
    }
}

/// So many settlements may wait softly; the next ones wait for the disk. Keeps memory bounded.
const MAX_SOFT: usize = 8 * MAX_BATCH;
