//! A future that several wait for: whoever of them is polled polls it, and all are woken when it can go on. One who waits
//! without being polled, in a `select!` that is busy with something else, so holds up nobody.

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use postbox::sync::Mutex;

/// A future and those who wait for it.
pub(super) struct Drive<T> {
    state: Mutex<State<T>>,
    herd: Arc<Herd>,
}

struct State<T> {
    /// Away while somebody polls it.
    future: Option<Future<T>>,
    output: Option<Arc<T>>,
    /// Those who came while it was away. Whoever polled it may never do so again, so they have to.
    missed: Vec<Waker>,
    abandoned: bool,
}

type Future<T> = Pin<Box<dyn std::future::Future<Output = T> + Send>>;

/// Those who wait; `None` has left.
#[derive(Default)]
struct Herd(Mutex<Vec<Option<Waker>>>);

impl<T: Send + Sync> Drive<T> {
    pub(super) fn new(future: impl std::future::Future<Output = T> + Send + 'static) -> Self {
        let state = State {
            future: Some(Box::pin(future)),
            output: None,
            missed: Vec::new(),
            abandoned: false,
        };
        Self {
            state: Mutex::new(state),
            herd: Arc::default(),
        }
    }

    /// Drops the future, at once or when the poll that is under way ends. It wakes nobody of itself.
    pub(super) fn abandon(&self) {
        let future = self.state.with(|state| {
            state.abandoned = true;
            state.future.take()
        });
        drop(future);
    }

    /// Waits for the output.
    ///
    /// # Cancel safety
    /// Dropped, it leaves the future to those who still wait.
    pub(super) const fn wait(&self) -> Wait<'_, T> {
        Wait {
            drive: self,
            place: None,
        }
    }
}

/// What [`Drive::wait`] returns.
pub(super) struct Wait<'a, T> {
    drive: &'a Drive<T>,
    place: Option<usize>,
}

impl<T: Send + Sync> std::future::Future for Wait<'_, T> {
    type Output = Arc<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Arc<T>> {
        // First, so that nothing that happens from here on is missed.
        let (drive, place) = (self.drive, &mut self.place);
        drive.herd.join(place, cx.waker());
        let (output, future) = drive.state.with(|state| {
            if state.output.is_none() && state.future.is_none() {
                state.missed.push(cx.waker().clone());
            }
            (state.output.clone(), state.future.take())
        });
        if let Some(output) = output {
            return Poll::Ready(output);
        }
        // Somebody else polls it.
        let Some(future) = future else {
            return Poll::Pending;
        };
        let mut polling = Polling {
            drive,
            future: Some(future),
        };
        let waker = Waker::from(drive.herd.clone());
        polling.poll(&mut Context::from_waker(&waker))
    }
}

/// A future that is polled, and goes back if that comes to nothing.
struct Polling<'a, T> {
    drive: &'a Drive<T>,
    future: Option<Future<T>>,
}

impl<T> Polling<'_, T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Arc<T>> {
        let Some(Poll::Ready(output)) = self.future.as_mut().map(|future| future.as_mut().poll(cx)) else {
            return Poll::Pending;
        };
        self.future = None;
        let output = Arc::new(output);
        self.drive.state.with(|state| state.output = Some(output.clone()));
        self.drive.herd.wake_all();
        Poll::Ready(output)
    }
}

impl<T> Drop for Polling<'_, T> {
    fn drop(&mut self) {
        let future = self.future.take();
        let (abandoned, missed) = self.drive.state.with(|state| {
            let missed = mem::take(&mut state.missed);
            if state.abandoned {
                return (future, missed);
            }
            state.future = future;
            (None, missed)
        });
        drop(abandoned);
        missed.into_iter().for_each(Waker::wake);
    }
}

impl Herd {
    fn join(&self, place: &mut Option<usize>, waker: &Waker) {
        self.0
            .with(|wakers| match place.and_then(|at| wakers.get_mut(at)) {
                Some(Some(known)) if known.will_wake(waker) => {}
                Some(known) => *known = Some(waker.clone()),
                None => {
                    *place = Some(wakers.len());
                    wakers.push(Some(waker.clone()));
                }
            });
    }

    fn leave(&self, place: Option<usize>) {
        let waker = self
            .0
            .with(|wakers| place.and_then(|at| wakers.get_mut(at)).and_then(Option::take));
        drop(waker);
    }

    fn wake_all(&self) {
        // Not under the lock: a waker is somebody else's code.
        let wakers = self.0.with(|wakers| wakers.clone());
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Wake for Herd {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}

impl<T> Drop for Wait<'_, T> {
    fn drop(&mut self) {
        self.drive.herd.leave(self.place);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    type Shared<T> = Arc<Mutex<T>>;

    fn woken(count: &Count) -> usize {
        count.0.load(Ordering::Relaxed)
    }

    /// A future that is over when somebody says so, and the waker of whoever polled it.
    fn ringing() -> (Drive<u32>, Shared<Option<Waker>>, Shared<bool>) {
        let (polled, over) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(false)));
        let (by, done) = (polled.clone(), over.clone());
        let future = std::future::poll_fn(move |cx| {
            by.with(|by| *by = Some(cx.waker().clone()));
            if done.with(|done| *done) {
                Poll::Ready(7)
            } else {
                Poll::Pending
            }
        });
        (Drive::new(future), polled, over)
    }

    #[test]
    fn all_who_wait_are_woken_and_whoever_is_polled_goes_on() {
        for first in 0..3 {
            let (drive, polled, over) = ringing();
            let counts: [Arc<Count>; 3] = Default::default();
            let wakers = counts.each_ref().map(|count| Waker::from(count.clone()));
            let mut waits = [drive.wait(), drive.wait(), drive.wait()].map(Box::pin);
            for (wait, waker) in waits.iter_mut().zip(&wakers) {
                assert!(wait.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
            }
            over.with(|over| *over = true);
            polled.with(|by| by.clone().unwrap().wake());
            assert_eq!(counts.each_ref().map(|count| woken(count)), [1, 1, 1]);
            // Nobody but this one needs to be polled.
            let mut cx = Context::from_waker(&wakers[first]);
            assert_eq!(waits[first].as_mut().poll(&mut cx), Poll::Ready(Arc::new(7)));
            assert_eq!(counts.each_ref().map(|count| woken(count)), [2, 2, 2]);
        }
    }

    #[test]
    fn who_leaves_is_woken_no_more_and_leaves_the_future_to_the_others() {
        let (drive, polled, over) = ringing();
        let counts: [Arc<Count>; 2] = Default::default();
        let wakers = counts.each_ref().map(|count| Waker::from(count.clone()));
        let mut waits = [drive.wait(), drive.wait()].map(|wait| Some(Box::pin(wait)));
        for (wait, waker) in waits.iter_mut().zip(&wakers) {
            let wait = wait.as_mut().unwrap().as_mut();
            assert!(wait.poll(&mut Context::from_waker(waker)).is_pending());
        }
        waits[0] = None;
        over.with(|over| *over = true);
        polled.with(|by| by.clone().unwrap().wake());
        assert_eq!(counts.each_ref().map(|count| woken(count)), [0, 1]);
        let mut last = waits[1].take().unwrap();
        let mut cx = Context::from_waker(&wakers[1]);
        assert!(last.as_mut().poll(&mut cx).is_ready());
    }

    #[test]
    fn who_comes_while_it_is_polled_is_woken_afterwards() {
        // Its poll lets somebody else poll, as another thread may.
        let (drive, other) = (
            Arc::new(Mutex::new(None::<Arc<Drive<u32>>>)),
            Arc::new(Count::default()),
        );
        let (inner, by) = (drive.clone(), Waker::from(other.clone()));
        let this = Arc::new(Drive::new(std::future::poll_fn(move |_| {
            if let Some(drive) = inner.with(Option::take) {
                let mut second = Box::pin(drive.wait());
                assert!(second.as_mut().poll(&mut Context::from_waker(&by)).is_pending());
                return Poll::Pending;
            }
            Poll::Ready(7)
        })));
        drive.with(|drive| *drive = Some(this.clone()));
        // The first never comes again.
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(this.wait()).poll(&mut cx).is_pending());
        assert_eq!(woken(&other), 1);
        assert_eq!(pin!(this.wait()).poll(&mut cx), Poll::Ready(Arc::new(7)));
    }

    #[test]
    fn what_is_abandoned_is_dropped_at_once() {
        let (drive, polled, over) = ringing();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(drive.wait()).poll(&mut cx).is_pending());
        drive.abandon();
        assert_eq!((Arc::strong_count(&polled), Arc::strong_count(&over)), (1, 1));
    }

    #[test]
    fn who_comes_after_the_end_has_the_output_at_once() {
        let (drive, _, over) = ringing();
        over.with(|over| *over = true);
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            assert_eq!(pin!(drive.wait()).poll(&mut cx), Poll::Ready(Arc::new(7)));
        }
    }
}
