//! The outbox as firmware and engines see it.

use core::cell::RefCell;
use core::future::poll_fn;
use core::time::Duration;

use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::blocking_mutex::raw::RawMutex;
use heapless::Vec;
use postbox::store::{ClaimRef, ClaimRequest, DeadPolicy, OutboxStore, Settled, Settlement};
use postbox::time::{Clock, Instant};
use postbox::wakeup::Wakeup;

use crate::bell::Bell;
use crate::claim::HeaplessClaimed;
use crate::enqueue::{EnqueueError, NewMessage, check};
use crate::rows::{HeaplessCounts, Rows};
use crate::slot::{HeaplessKey, hash};

/// What becomes of a message that finds no place: see the [crate].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// It is refused: [`EnqueueError::Full`]. Nothing that was accepted is ever lost while the power is on.
    #[default]
    Refuse,
    /// The oldest message that nobody holds is dropped **undelivered**, and counted; for readings of which the
    /// latest matter. Messages in flight and dead letters are not touched: full of those, it refuses.
    DropOldest,
}

/// Settings of a [`HeaplessOutbox`]: see the [crate].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaplessOptions {
    /// What becomes of a message that finds no place. Default: it is refused.
    pub overflow: Overflow,
    /// Whether a dead letter holds up the later messages of its key. Default: it does not.
    pub dead: DeadPolicy,
    /// How long published messages keep their places. Default: not at all.
    pub retention: Option<Duration>,
}

impl HeaplessOptions {
    /// The defaults, as a constant: see the [crate].
    pub const DEFAULT: Self = Self {
        overflow: Overflow::Refuse,
        dead: DeadPolicy::Skip,
        retention: None,
    };
}

impl Default for HeaplessOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// An outbox of `N` places in RAM: nothing is allocated, nothing survives a reset.
///
/// Each place holds `TEXT` bytes of id, name, key, content type and headers together, and `PAYLOAD` bytes of
/// payload. A claim hands out up to `BATCH` messages, as copies. `M` is the mutex: `CriticalSectionRawMutex` to
/// enqueue from interrupts too, `ThreadModeRawMutex` or `NoopRawMutex` where that is not needed. `C` is the clock
/// that judges due times and leases, for example `EmbassyTimer`.
///
/// The store that engines take is a reference to it.
///
/// ```
/// use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
/// use postbox::message::{Headers, MessageKind, MessageRef};
/// use postbox::time::{Clock, Instant};
/// use postbox_heapless::{EnqueueError, HeaplessOutbox};
///
/// struct Uptime; // the firmware's
/// impl Clock for Uptime {
///     fn now(&self) -> Instant {
///         Instant::ZERO
///     }
/// }
///
/// static OUTBOX: HeaplessOutbox<CriticalSectionRawMutex, Uptime, 1, 64, 16> = HeaplessOutbox::new(Uptime);
///
/// let reading = MessageRef {
///     id: "sensor-7:41",
///     name: "temperature.read",
///     kind: MessageKind::Event,
///     key: Some("sensor-7"),
///     payload: b"21.5",
///     content_type: "text/plain",
///     headers: Headers::EMPTY,
/// };
/// OUTBOX.enqueue(reading)?;
/// let next = MessageRef { id: "sensor-7:42", ..reading };
/// assert_eq!(OUTBOX.enqueue(next), Err(EnqueueError::Full { capacity: 1 }));
/// # Ok::<(), EnqueueError>(())
/// ```
///
/// # Delivery
/// At least once while the power is on, in order within a key. A reset loses what was not published: where that
/// matters, use a store in flash.
///
/// # Cancel safety
/// Every method does its work in one step at its first poll; dropping the future before that does nothing.
#[derive(Debug)]
pub struct HeaplessOutbox<
    M: RawMutex,
    C,
    const N: usize,
    const TEXT: usize,
    const PAYLOAD: usize,
    const BATCH: usize = 4,
> {
    state: Mutex<M, RefCell<State<N, TEXT, PAYLOAD>>>,
    clock: C,
}

#[derive(Debug)]
struct State<const N: usize, const TEXT: usize, const PAYLOAD: usize> {
    rows: Rows<N, TEXT, PAYLOAD>,
    bell: Bell,
}

impl<M: RawMutex, C, const N: usize, const TEXT: usize, const PAYLOAD: usize, const BATCH: usize>
    HeaplessOutbox<M, C, N, TEXT, PAYLOAD, BATCH>
{
    const CHECKED: () = assert!(
        BATCH > 0 && BATCH <= Settled::MARKED,
        "a batch must be of 1 to 32 messages, or to 1024 with `alloc`"
    );

    /// An empty outbox with the default options: see [`HeaplessOutbox`].
    pub const fn new(clock: C) -> Self {
        Self::with_options(clock, HeaplessOptions::DEFAULT)
    }

    /// An empty outbox: see the [crate].
    pub const fn with_options(clock: C, options: HeaplessOptions) -> Self {
        let () = Self::CHECKED;
        let state = State {
            rows: Rows::new(options),
            bell: Bell::new(),
        };
        Self {
            state: Mutex::new(RefCell::new(state)),
            clock,
        }
    }
}

impl<M, C, const N: usize, const TEXT: usize, const PAYLOAD: usize, const BATCH: usize>
    HeaplessOutbox<M, C, N, TEXT, PAYLOAD, BATCH>
where
    M: RawMutex,
    C: Clock,
{
    /// Stores a message, due now. Not a future: it may be called from an interrupt, if `M` allows that.
    /// See [`HeaplessOutbox`].
    ///
    /// # Errors
    /// [`EnqueueError`], with nothing changed: full, too long, an id that is in the outbox, a bad part.
    pub fn enqueue(&self, message: postbox::message::MessageRef<'_>) -> Result<HeaplessKey, EnqueueError> {
        self.enqueue_with(&message.into()).map(|(key, _)| key)
    }

    /// Stores a message with a delay, or born claimed: then the claim comes back if the message is due and the
    /// head of its key. See the [crate].
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue).
    pub fn enqueue_with(
        &self,
        new: &NewMessage<'_>,
    ) -> Result<(HeaplessKey, Option<ClaimRef<HeaplessKey>>), EnqueueError> {
        check::<TEXT, PAYLOAD>(&new.message)?;
        let hash = hash(new.message.id);
        let stored = self.step(|rows, now| rows.enqueue(new, hash, now));
        stored.map_err(|refused| refused.error(N, new.message.id))
    }

    /// Whether a message with this id is in the outbox, whatever became of it: see the [crate].
    pub fn contains(&self, id: &str) -> bool {
        self.step(|rows, _| rows.table.find(id, hash(id)).is_some())
    }

    /// How many messages stand where: see the [crate].
    pub fn counts(&self) -> HeaplessCounts {
        self.step(|rows, _| rows.counts)
    }

    /// Puts a dead letter back, due now, failures at zero. `false` when there is no dead letter with this id.
    /// See the [crate].
    pub fn requeue(&self, id: &str) -> bool {
        self.step(|rows, now| rows.requeue(id, now))
    }

    /// Takes a message out for good, unless somebody holds it. `false` when there is no such message. What to do
    /// with dead letters once they have been looked at: they keep their places. See the [crate].
    pub fn remove(&self, id: &str) -> bool {
        self.step(|rows, now| rows.remove(id, now))
    }

    /// One atomic step. The clock is read inside, so that time follows the order of the steps; the bell is rung
    /// outside, since it wakes others.
    pub(crate) fn step<R>(&self, work: impl FnOnce(&mut Rows<N, TEXT, PAYLOAD>, Instant) -> R) -> R {
        let (result, waiting) = self.state.lock(|state| {
            let state = &mut *state.borrow_mut();
            let result = work(&mut state.rows, self.clock.now());
            let rings = core::mem::take(&mut state.rows.freed);
            let waiting = if rings { state.bell.ring() } else { Vec::new() };
            (result, waiting)
        });
        waiting.into_iter().for_each(core::task::Waker::wake);
        result
    }
}

impl<'o, M, C, const N: usize, const TEXT: usize, const PAYLOAD: usize, const BATCH: usize> OutboxStore
    for &'o HeaplessOutbox<M, C, N, TEXT, PAYLOAD, BATCH>
where
    M: RawMutex,
    C: Clock,
{
    type Error = core::convert::Infallible;
    type Key = HeaplessKey;
    type Claimed = HeaplessClaimed<TEXT, PAYLOAD>;
    type Batch = Vec<HeaplessClaimed<TEXT, PAYLOAD>, BATCH>;
    type Wakeup = HeaplessWatch<'o, M, C, N, TEXT, PAYLOAD, BATCH>;

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Self::Batch, Self::Error> {
        let mut batch = Vec::new();
        self.step(|rows, now| rows.claim(request, now, &mut batch));
        Ok(batch)
    }

    async fn claim_into(
        &self,
        request: &ClaimRequest<'_>,
        batch: &mut Self::Batch,
    ) -> Result<(), Self::Error> {
        self.step(|rows, now| rows.claim(request, now, batch));
        Ok(())
    }

    async fn renew(&self, claims: &[ClaimRef<HeaplessKey>], lease: Duration) -> Result<usize, Self::Error> {
        Ok(self.step(|rows, now| rows.renew(claims, lease, now)))
    }

    async fn settle(&self, settlements: &[Settlement<'_, HeaplessKey>]) -> Result<Settled, Self::Error> {
        Ok(self.step(|rows, now| rows.settle(settlements, now)))
    }

    async fn purge(&self, limit: usize) -> Result<usize, Self::Error> {
        Ok(self.step(|rows, now| rows.purge(limit, now)))
    }

    async fn next_due(&self) -> Result<Option<Duration>, Self::Error> {
        Ok(self.step(|rows, now| rows.next_due(now)))
    }

    fn max_batch(&self) -> usize {
        BATCH
    }

    fn wakeup(&self) -> Self::Wakeup {
        HeaplessWatch {
            seen: self.state.lock(|state| state.borrow().bell.rings()),
            outbox: self,
        }
    }
}

/// Hears every hint that came since it last listened, once. Any number may listen; beyond two they wake each other
/// now and then, which costs a look and loses nothing. See the [crate].
#[derive(Debug)]
pub struct HeaplessWatch<
    'o,
    M: RawMutex,
    C,
    const N: usize,
    const TEXT: usize,
    const PAYLOAD: usize,
    const BATCH: usize,
> {
    outbox: &'o HeaplessOutbox<M, C, N, TEXT, PAYLOAD, BATCH>,
    seen: u32,
}

impl<M: RawMutex, C, const N: usize, const TEXT: usize, const PAYLOAD: usize, const BATCH: usize> Wakeup
    for HeaplessWatch<'_, M, C, N, TEXT, PAYLOAD, BATCH>
{
    async fn wait(&mut self) {
        poll_fn(|cx| {
            let (heard, crowd) = self
                .outbox
                .state
                .lock(|state| state.borrow_mut().bell.poll(&mut self.seen, cx.waker()));
            crowd.into_iter().for_each(core::task::Waker::wake);
            heard
        })
        .await;
    }
}
