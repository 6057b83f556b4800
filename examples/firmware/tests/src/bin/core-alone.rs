//! Core and nothing else of ours: a join of a producer and a backstop, whose dispatcher runs the claim machine over four
//! places of an array. What is linked is looked through for parts of an allocator.
#![no_std]
#![no_main]

use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::future::poll_fn;
use core::ops::Deref;
use core::pin::{Pin, pin};
use core::task::Poll;
use core::time::Duration;

use board::qemu::{end, print};
use postbox::backstop::{Backstop, BackstopConfig};
use postbox::claim::{Claiming, Entry, State};
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::{Invalid, WorkerId};
use postbox::join::{TryJoin, WakeSet, yield_now};
use postbox::message::{Headers, MessageKind, MessageRef};
use postbox::publisher::{AsyncMessagePublisher, PublishError};
use postbox::runtime::Timer;
use postbox::store::{ClaimRef, ClaimRequest, ClaimedMessage, OutboxStore, Settled, Settlement};
use postbox::time::{Clock, Instant};
use postbox::wakeup::Never;

const PLACES: usize = 4;
const MESSAGES: usize = 12;

static WAKES: WakeSet<2> = WakeSet::new();

/// Time that goes on by a millisecond at each look of a sleeper.
#[derive(Clone, Copy)]
struct Ticks<'a>(&'a Cell<u64>);

impl Clock for Ticks<'_> {
    fn now(&self) -> Instant {
        Instant::from_millis(self.0.get())
    }
}

impl Timer for Ticks<'_> {
    async fn sleep_until(&self, deadline: Instant) {
        poll_fn(|cx| {
            if self.now() >= deadline {
                return Poll::Ready(());
            }
            self.0.set(self.0.get() + 1);
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

/// Four places; a message is its number.
struct Places<'a> {
    rows: RefCell<[Option<(u8, Entry)>; PLACES]>,
    clock: Ticks<'a>,
}

impl Places<'_> {
    /// `false` when every place is taken.
    fn enqueue(&self, number: u8) -> bool {
        let mut rows = self.rows.borrow_mut();
        let free = rows.iter_mut().find(|row| row.is_none());
        let pending = Entry::pending(self.clock.now(), Duration::ZERO);
        free.map(|row| *row = Some((number, pending))).is_some()
    }
}

#[derive(Clone, Copy)]
struct Claimed {
    payload: [u8; 1],
    claim: ClaimRef<u8>,
    failures: u32,
}

impl ClaimedMessage for Claimed {
    type Key = u8;

    fn message(&self) -> MessageRef<'_> {
        MessageRef {
            id: "m",
            name: "counted",
            kind: MessageKind::Event,
            key: None,
            payload: &self.payload,
            content_type: "x/y",
            headers: Headers::EMPTY,
        }
    }
    fn claim(&self) -> ClaimRef<u8> {
        self.claim
    }
    fn failures(&self) -> u32 {
        self.failures
    }
    fn age(&self) -> Duration {
        Duration::ZERO
    }
}

/// As many as were claimed.
#[derive(Default)]
struct Batch([Option<Claimed>; 1]);

impl Deref for Batch {
    type Target = [Claimed];

    fn deref(&self) -> &[Claimed] {
        self.0[0].as_slice()
    }
}

impl OutboxStore for &Places<'_> {
    type Error = Infallible;
    type Key = u8;
    type Claimed = Claimed;
    type Batch = Batch;
    type Wakeup = Never;

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Batch, Infallible> {
        for (number, entry) in self.rows.borrow_mut().iter_mut().flatten() {
            let claiming = entry.claim(request.worker, request.lease, u32::MAX, self.clock.now());
            if let Claiming::Granted(fence) = claiming {
                return Ok(Batch([Some(Claimed {
                    payload: [*number],
                    claim: ClaimRef { key: *number, fence },
                    failures: entry.failures(),
                })]));
            }
        }
        Ok(Batch([None]))
    }

    async fn renew(&self, _: &[ClaimRef<u8>], _: Duration) -> Result<usize, Infallible> {
        Ok(0)
    }

    async fn settle(&self, settlements: &[Settlement<'_, u8>]) -> Result<Settled, Infallible> {
        let mut settled = Settled::none();
        for (index, settlement) in settlements.iter().enumerate() {
            let ClaimRef { key, fence } = settlement.claim;
            let mut rows = self.rows.borrow_mut();
            let row = rows
                .iter_mut()
                .find(|row| row.is_some_and(|(number, _)| number == key));
            let held = row.and_then(|row| {
                let (_, entry) = row.as_mut()?;
                entry.settle(fence, settlement.verdict, self.clock.now()).ok()?;
                if matches!(entry.state(), State::Published { .. }) {
                    *row = None;
                }
                Some(())
            });
            match held {
                Some(()) => settled.apply(),
                None => settled.refuse(index),
            }
        }
        Ok(settled)
    }

    fn max_batch(&self) -> usize {
        1
    }
    fn wakeup(&self) -> Never {
        Never
    }
}

/// Counts what it is given; every fourth time it fails.
struct Count<'a> {
    attempts: &'a Cell<usize>,
    seen: &'a Cell<[u8; MESSAGES]>,
}

impl AsyncMessagePublisher for Count<'_> {
    type Error = &'static str;

    async fn publish(&self, message: MessageRef<'_>) -> Result<(), PublishError<&'static str>> {
        self.attempts.set(self.attempts.get() + 1);
        if self.attempts.get() % 4 == 0 {
            return Err(PublishError::Retryable("every fourth"));
        }
        let mut seen = self.seen.get();
        seen[usize::from(message.payload[0])] += 1;
        self.seen.set(seen);
        Ok(())
    }
}

#[cortex_m_rt::entry]
fn main() -> ! {
    let (time, attempts, seen) = (Cell::new(0), Cell::new(0), Cell::new([0; MESSAGES]));
    let clock = Ticks(&time);
    let places = Places {
        rows: RefCell::new([None; PLACES]),
        clock,
    };
    let count = || Count {
        attempts: &attempts,
        seen: &seen,
    };
    let all = || seen.get().iter().all(|times| *times > 0);
    // Pinned here and joined by reference: the stack is all there is, and a join moves its children once.
    let mut produce = pin!(async {
        for number in 0..MESSAGES as u8 {
            while !places.enqueue(number) {
                clock.sleep_until(clock.now() + Duration::from_millis(5)).await;
            }
        }
        Ok(())
    });
    let published = async {
        while !all() {
            yield_now().await;
        }
    };
    let config = DispatchConfig::new(WorkerId::named("alone"));
    let dispatcher = OutboxDispatcher::new(&places, count(), config).with_timer(clock);
    let mut backstop = Backstop::new(dispatcher, BackstopConfig::new());
    let mut publish = pin!(async { backstop.run(published).await.map(|_| ()) });
    let children: [Pin<&mut dyn Future<Output = Result<(), Invalid>>>; 2] =
        [produce.as_mut(), publish.as_mut()];
    let Ok(wakes) = WAKES.claim() else { end(false) };
    let joined = board::block_on(TryJoin::new(children, wakes, |_| ()));
    let once = seen.get().iter().all(|times| *times == 1);
    let left = places.rows.borrow().iter().flatten().count();
    print!(
        "{}: once={} left={} attempts={} virtual_ms={}",
        board::NAME,
        once,
        left,
        attempts.get(),
        time.get()
    );
    end(joined.is_ok() && once && left == 0);
}
