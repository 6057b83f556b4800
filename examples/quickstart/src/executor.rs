//! The executor, chosen when building: all that the rest of the program knows of it is here.

use std::time::Duration;

use futures_channel::oneshot;
use postbox::runtime::Timer as _;
use postbox::time::Clock as _;

pub(crate) use chosen::{BackstopHandle, NAME, TIMER, block_on, spawn_backstop};

#[cfg(feature = "tokio")]
mod chosen {
    pub(crate) use postbox_tokio::{BackstopHandle, TokioTimer as Timer, spawn_backstop};

    pub(crate) const NAME: &str = "tokio";
    pub(crate) const TIMER: Timer = postbox_tokio::TokioTimer;

    pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
        Ok(tokio::runtime::Runtime::new()?.block_on(future))
    }

    pub(super) fn detach(task: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(task));
    }
}

#[cfg(all(feature = "smol", not(feature = "tokio")))]
mod chosen {
    pub(crate) use postbox_smol::{BackstopHandle, SmolTimer as Timer, spawn_backstop};

    pub(crate) const NAME: &str = "smol";
    pub(crate) const TIMER: Timer = postbox_smol::SmolTimer;

    #[expect(clippy::unnecessary_wraps, reason = "starting another executor can fail")]
    pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
        Ok(smol::block_on(future))
    }

    pub(super) fn detach(task: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(task).detach();
    }
}

#[cfg(all(feature = "async-std", not(any(feature = "tokio", feature = "smol"))))]
mod chosen {
    pub(crate) use postbox_async_std::{AsyncStdTimer as Timer, BackstopHandle, spawn_backstop};

    pub(crate) const NAME: &str = "async-std";
    pub(crate) const TIMER: Timer = postbox_async_std::AsyncStdTimer;

    #[expect(clippy::unnecessary_wraps, reason = "starting another executor can fail")]
    pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
        Ok(async_std::task::block_on(future))
    }

    pub(super) fn detach(task: impl Future<Output = ()> + Send + 'static) {
        drop(async_std::task::spawn(task));
    }
}

#[cfg(not(any(feature = "tokio", feature = "smol", feature = "async-std")))]
compile_error!("choose an executor: --features tokio, smol or async-std");

/// A task beside this one. What is returned resolves to its output, or to an error if it panicked.
pub(crate) fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> oneshot::Receiver<T> {
    let (tell, told) = oneshot::channel();
    chosen::detach(async move {
        // Nobody may be waiting for it.
        let _ = tell.send(task.await);
    });
    told
}

pub(crate) async fn sleep(time: Duration) {
    TIMER.sleep_until(TIMER.now() + time).await;
}
