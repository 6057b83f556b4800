//! From what came of a message to what is to become of it.

use core::time::Duration;

use super::{DispatchConfig, DispatchOutcome};
use crate::claim::Verdict;
use crate::id::fnv1a;
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

impl Ending {
    pub(super) fn of(outcomes: &[PublishOutcome], panicked: bool) -> Self {
        Self {
            any_published: outcomes.contains(&PublishOutcome::Published),
            panicked,
        }
    }
}

/// What is to become of one message, and why.
#[inline]
pub(super) fn verdict<'c, C: ClaimedMessage>(
    config: &DispatchConfig,
    held: &C,
    come: &'c PublishOutcome,
    ending: Ending,
) -> (Verdict, &'c str) {
    if matches!(come, PublishOutcome::Published) {
        return (Verdict::Complete, "");
    }
    unpublished(config, held, come, ending)
}

#[cold]
fn unpublished<'c, C: ClaimedMessage>(
    config: &DispatchConfig,
    held: &C,
    come: &'c PublishOutcome,
    ending: Ending,
) -> (Verdict, &'c str) {
    let retry = || {
        let seed = mix(config.worker.get() ^ u64::from(held.claim().fence.attempt));
        let seed = seed ^ fnv1a(held.message().id.as_bytes());
        config.retry.after_failure(held.failures(), held.age(), seed)
    };
    let pause = || Verdict::Release {
        after: config.outage.pause(0),
    };
    match come {
        PublishOutcome::Published => (Verdict::Complete, ""),
        PublishOutcome::Waiting => (
            Verdict::Release {
                after: Duration::ZERO,
            },
            "",
        ),
        // A publisher that panics is no outage: uncounted, its message would come first for ever.
        PublishOutcome::Started if ending.panicked => (retry(), PANICKED),
        // Nothing came of anything: the broker hangs. Otherwise it is this message that hangs.
        PublishOutcome::Started => {
            let verdict = if ending.any_published { retry() } else { pause() };
            (verdict, "no answer within the timeout")
        }
        PublishOutcome::Failed { kind, error } => {
            let verdict = match kind {
                FailureKind::Retryable => retry(),
                FailureKind::Permanent => Verdict::Bury,
                FailureKind::Unavailable => pause(),
            };
            (verdict, error.as_str())
        }
    }
}

/// Counts one message.
#[inline]
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
    outcome.unavailable |= released && !matches!(come, PublishOutcome::Waiting);
}
