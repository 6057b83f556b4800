//! How the workers of a world are set: differently from seed to seed.

use std::time::Duration;

use postbox::backstop::BackstopConfig;
use postbox::retry::{Backoff, RetryPolicy};

use crate::dice::Dice;

/// How the workers of a world are set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    pub(crate) lease: Duration,
    pub(crate) retry: RetryPolicy,
    pub(crate) outage: Backoff,
    pub(crate) backstop: BackstopConfig,
}

impl Tuning {
    /// Leases and retries that differ from seed to seed, and are short enough to see their ends.
    pub(super) fn of(dice: &mut Dice) -> Self {
        let millis = Duration::from_millis;
        let backoff = |base, cap| Backoff::new(millis(base), millis(cap)).unwrap_or(Backoff::PUBLISH);
        let retry = RetryPolicy {
            backoff: backoff(dice.one_of(&[10, 100], 10), dice.one_of(&[500, 3_000], 500)),
            max_failures: dice.one_of(&[2_u32, 4, 20], 4),
            max_age: Duration::from_secs(24 * 3600),
            max_abandoned: dice.one_of(&[3_u32, 10, 50], 10),
        };
        let batch = usize::try_from(dice.one_of(&[1, 3, 32], 32)).unwrap_or(32);
        let poll = millis(dice.one_of(&[50, 300, 1_000], 300));
        let backstop = BackstopConfig::new().with_store_backoff(backoff(50, 1_000));
        let backstop = backstop
            .with_batch(batch)
            .and_then(|config| config.with_poll(poll));
        Self {
            lease: millis(dice.one_of(&[200, 1_000, 5_000], 1_000)),
            retry,
            outage: backoff(50, 1_000),
            backstop: backstop.unwrap_or_default(),
        }
    }
}
