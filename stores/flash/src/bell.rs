//! Hints to backstops, without an allocator: a count of rings, and a few wakers.

use core::cell::RefCell;
use core::future::poll_fn;
use core::task::Poll;

use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_sync::waitqueue::MultiWakerRegistration;
use postbox::wakeup::Wakeup;

/// So many listeners wait at no cost to each other; one more wakes them all, which is a hint too many.
const LISTENERS: usize = 2;

pub(crate) struct Bell<M: RawMutex>(Mutex<M, RefCell<Rings>>);

struct Rings {
    count: u32,
    waiting: MultiWakerRegistration<LISTENERS>,
}

impl<M: RawMutex> Bell<M> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(RefCell::new(Rings {
            count: 0,
            waiting: MultiWakerRegistration::new(),
        })))
    }

    pub(crate) fn ring(&self) {
        // Woken once the mutex is released: waking runs other people's code.
        let mut waiting = self.with(|rings| {
            rings.count = rings.count.wrapping_add(1);
            core::mem::replace(&mut rings.waiting, MultiWakerRegistration::new())
        });
        waiting.wake();
    }

    pub(crate) fn watch(&self) -> FlashWatch<'_, M> {
        let seen = self.with(|rings| rings.count);
        FlashWatch { bell: self, seen }
    }

    fn with<R>(&self, work: impl FnOnce(&mut Rings) -> R) -> R {
        self.0.lock(|rings| work(&mut rings.borrow_mut()))
    }
}

/// Hears every hint that came since it last listened, once; [`OutboxStore::wakeup`](postbox::store::OutboxStore::wakeup)
/// hands it out. Any number may listen; beyond two they wake each other now and then, which costs a look and loses
/// nothing. The [crate] has an example.
pub struct FlashWatch<'o, M: RawMutex> {
    bell: &'o Bell<M>,
    seen: u32,
}

impl<M: RawMutex> Wakeup for FlashWatch<'_, M> {
    async fn wait(&mut self) {
        let Self { bell, seen } = self;
        poll_fn(|cx| {
            bell.with(|rings| {
                if core::mem::replace(seen, rings.count) != rings.count {
                    return Poll::Ready(());
                }
                rings.waiting.register(cx.waker());
                Poll::Pending
            })
        })
        .await;
    }
}

impl<M: RawMutex> core::fmt::Debug for FlashWatch<'_, M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FlashWatch").finish_non_exhaustive()
    }
}
