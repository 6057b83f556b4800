//! What a join allocates: nothing on static wakes, once on shared ones, never for a wake.
#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use postbox::join::{JoinVec, SharedWakes, TryJoin, WakeSet};

/// Counts what the current thread allocates, and hands on to the system.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static WAKERS: RefCell<[Option<Waker>; N]> = const { RefCell::new([const { None }; N]) };
}

// SAFETY: all is done by the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get().wrapping_add(1));
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const N: usize = 100;

fn child(index: usize) -> impl Future<Output = Result<(), ()>> {
    poll_fn(move |cx| {
        WAKERS.with_borrow_mut(|wakers| *wakers.get_mut(index).unwrap() = Some(cx.waker().clone()));
        Poll::Pending
    })
}

fn poll<F: Future>(future: Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

fn wake_and_poll<F: Future>(mut join: Pin<&mut F>) {
    for round in 0..3 {
        assert!(!poll(join.as_mut()));
        for index in 0..N {
            let waker = WAKERS.with_borrow_mut(|wakers| wakers.get_mut(index).unwrap().take());
            waker.into_iter().for_each(Waker::wake);
            if round == 1 {
                assert!(!poll(join.as_mut()));
            }
        }
    }
    WAKERS.with_borrow_mut(|wakers| wakers.fill(None));
}

fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNT.get();
    work();
    COUNT.get().wrapping_sub(before)
}

#[test]
fn a_join_on_static_wakes_never_allocates() {
    static WAKES: WakeSet<N> = WakeSet::new();
    let count = allocations(|| {
        let children = std::array::from_fn::<_, N, _>(child);
        wake_and_poll(pin!(TryJoin::new(children, WAKES.claim().unwrap(), |()| ())));
    });
    assert_eq!(count, 0);
}

#[test]
fn a_join_on_shared_wakes_allocates_once() {
    let count = allocations(|| {
        let children = std::array::from_fn::<_, N, _>(child);
        wake_and_poll(pin!(TryJoin::new(children, SharedWakes::new(), |()| ())));
    });
    assert_eq!(count, 1);
}

#[test]
fn a_join_of_a_vec_allocates_twice() {
    let count = allocations(|| {
        wake_and_poll(pin!(JoinVec::new((0..N).map(child), |()| ()).unwrap()));
    });
    assert_eq!(count, 2);
}
