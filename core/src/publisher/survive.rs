//! Futures of publishers, so wrapped that a panic inside costs only its own message.

use core::pin::Pin;
use core::task::{Context, Poll};

use super::Ticket;

pin_project_lite::pin_project! {
    /// Runs a publisher; with `std` a panic inside is `None` instead of the end of the worker. Not polled after that.
    pub(crate) struct Survive<F> {
        #[pin]
        publishing: F,
    }
}

impl<F> Survive<F> {
    pub(crate) const fn new(publishing: F) -> Self {
        Self { publishing }
    }
}

impl<F: Future> Future for Survive<F> {
    type Output = Option<F::Output>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let publishing = self.project().publishing;
        #[cfg(feature = "std")]
        {
            use std::panic::{AssertUnwindSafe, catch_unwind};
            match catch_unwind(AssertUnwindSafe(|| publishing.poll(cx))) {
                Ok(polled) => polled.map(Some),
                Err(_) => Poll::Ready(None),
            }
        }
        #[cfg(not(feature = "std"))]
        publishing.poll(cx).map(Some)
    }
}

pin_project_lite::pin_project! {
    /// A publish that knows whose it is.
    pub(super) struct Tagged<F> {
        ticket: Ticket,
        #[pin]
        publishing: Survive<F>,
    }
}

impl<F> Tagged<F> {
    pub(super) const fn new(ticket: Ticket, publishing: F) -> Self {
        let publishing = Survive::new(publishing);
        Self { ticket, publishing }
    }
}

impl<F: Future> Future for Tagged<F> {
    type Output = (Ticket, Option<F::Output>);

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let ticket = *this.ticket;
        this.publishing.poll(cx).map(|output| (ticket, output))
    }
}
