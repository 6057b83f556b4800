//! From what came of a message to what is to become of it.

use core::time::Duration;

use super::{DispatchConfig, DispatchOutcome};
use crate::claim::Verdict;
use crate::id::{Excerpt, fnv1a};
use crate::publisher::{FailureKind, PANICKED, PublishOutcome};
use crate::retry::mix;
use crate::store::ClaimedMessage;

/// How a batch ended, which says what an unanswered message means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// At least one message was published.
    pub(super) any_published: bool,
    /// The publisher panicked.
    pub(super) panicked: bool,
}

/// What is to become of one message, and why.
pub(super) fn verdict<C: ClaimedMessage>(
    config: &DispatchConfig,
    held: &C,
    come: &PublishOutcome,
    ending: Ending,
) -> (Verdict, Excerpt) {
    let seed = mix(config.worker.get() ^ u64::from(held.claim().fence.attempt))
        ^ fnv1a(held.message().id.as_bytes());
    let retry = || config.retry.after_failure(held.failures(), held.age(), seed);
    let pause = || Verdict::Release {
        after: config.outage.pause(0),
    };
    match come {
        PublishOutcome::Published => (Verdict::Complete, Excerpt::EMPTY),
        PublishOutcome::Waiting => (
            Verdict::Release {
                after: Duration::ZERO,
            },
            Excerpt::EMPTY,
        ),
        // A publisher that panics is no outage: uncounted, its message would come first for ever.
        PublishOutcome::Started if ending.panicked => (retry(), Excerpt::new(PANICKED)),
        // Nothing came of anything: the broker hangs. Otherwise it is this message that hangs.
        PublishOutcome::Started => {
            let verdict = if ending.any_published { retry() } else { pause() };
            (verdict, Excerpt::new("no answer within the timeout"))
        }
        PublishOutcome::Failed { kind, error } => {
            let verdict = match kind {
                FailureKind::Retryable => retry(),
                FailureKind::Permanent => Verdict::Bury,
                FailureKind::Unavailable => pause(),
            };
            (verdict, error.clone())
        }
    }
}

/// Counts one message.
pub(super) fn count(outcome: &mut DispatchOutcome, come: &PublishOutcome, verdict: Verdict) {
    let counter = match verdict {
        Verdict::Complete => &mut outcome.published,
        Verdict::Bury => &mut outcome.dead,
        Verdict::Retry { .. } => &mut outcome.retried,
        Verdict::Release { .. } => &mut outcome.released,
    };
    *counter = counter.saturating_add(1);
    if let Verdict::Retry { after } | Verdict::Release { after } = verdict {
        outcome.due_after(after);
    }
    let released = matches!(verdict, Verdict::Release { .. });
    outcome.unavailable |= released && *come != PublishOutcome::Waiting;
}
