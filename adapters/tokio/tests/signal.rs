//! The signals of the operating system, in a process of their own.
#![cfg(unix)]

use std::future::poll_fn;
use std::pin::pin;
use std::process::Command;
use std::task::Poll;
use std::time::Duration;

use postbox::bus::{InMemoryBus, RunOptions};
use postbox::service::Service;

#[tokio::test]
async fn a_service_ends_gracefully_at_sigterm_and_at_ctrl_c() {
    for signal in ["-TERM", "-INT"] {
        let app = Service::with_repo(()).with_bus(InMemoryBus::new());
        let mut run = pin!(postbox_tokio::run_until_shutdown(&app, RunOptions::idempotent()));
        // Listening begins at the first poll.
        poll_fn(|cx| {
            assert!(run.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        let mut kill = Command::new("kill")
            .args([signal, &std::process::id().to_string()])
            .spawn()
            .unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(20), run).await;
        assert_eq!(ended.expect(signal), Ok(()));
        kill.wait().unwrap();
    }
}
