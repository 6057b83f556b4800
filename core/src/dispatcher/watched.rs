//! Work under a watch that may end it.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::Poll;

/// Runs `work` until it ends or `watch` does; then it is `None`. Work that ends at its first poll is never
/// watched, so that it costs no timer; later on the watch comes first, so that a worker that stood still past
/// its lease starts nothing more.
pub(super) async fn watched<T>(
    mut work: Pin<&mut impl Future<Output = T>>,
    mut watch: Pin<&mut impl Future<Output = ()>>,
) -> Option<T> {
    let mut watching = false;
    poll_fn(|cx| {
        if watching && watch.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        if !watching && watch.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        watching = true;
        Poll::Pending
    })
    .await
}
