//! Hints that there may be something to claim. A hint is never the guarantee: polling is.

/// Tells a backstop to look now instead of at its next poll: there may be something to claim, or there will be sooner.
///
/// # Contract
/// A hint that came since the previous `wait` returned must resolve the next one at once, so that none is
/// lost between a look and a wait. Spurious hints are harmless. `wait` is cancel-safe.
pub trait Wakeup {
    /// Resolves when there may be something to claim.
    async fn wait(&mut self);
}

impl<W: Wakeup + ?Sized> Wakeup for &mut W {
    async fn wait(&mut self) {
        (**self).wait().await;
    }
}

/// No hints: polling alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Never;

impl Wakeup for Never {
    async fn wait(&mut self) {
        core::future::pending::<()>().await;
    }
}
