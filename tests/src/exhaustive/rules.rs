//! The rules that are searched: those of core as they stand. A planted bug replaces one of them.

use std::time::Duration;

use postbox::claim::{Claiming, Entry, Fence, Overtaken, Verdict};
use postbox::id::WorkerId;
use postbox::store::DeadPolicy;

use super::world::{NOW, World};
use super::{LEASE, Setting};

/// What a store does with a message. The defaults are right.
pub trait Rules {
    /// Whether a claim looks at this message: no earlier one of its key is in its way.
    fn is_next(&self, setting: &Setting, world: &World, message: usize) -> bool {
        is_head(setting, world, message)
    }

    /// See [`Entry::claim`].
    fn claim(&self, entry: &mut Entry, worker: WorkerId, max_abandoned: u32) -> Claiming {
        entry.claim(worker, LEASE, max_abandoned, NOW)
    }

    /// See [`Entry::renew`].
    fn renew(&self, entry: &mut Entry, fence: Fence, lease: Duration) -> Result<(), Overtaken> {
        entry.renew(fence, lease, NOW)
    }

    /// See [`Entry::settle`].
    fn settle(&self, entry: &mut Entry, fence: Fence, verdict: Verdict) -> Result<(), Overtaken> {
        entry.settle(fence, verdict, NOW)
    }

    /// See [`Entry::requeue`].
    fn requeue(&self, entry: &mut Entry) -> bool {
        entry.requeue(NOW)
    }
}

/// The rules of `postbox::claim`, and the head of a key as the stores choose it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Core;

impl Rules for Core {}

/// Whether every earlier message of the key is done with. A message without a key waits for nobody.
pub fn is_head(setting: &Setting, world: &World, message: usize) -> bool {
    let in_the_way = |(_, row): (usize, &super::world::Row)| match setting.dead {
        DeadPolicy::Skip => row.entry.is_live(),
        DeadPolicy::Block => row.entry.is_live() || is_dead(&row.entry),
    };
    !world
        .committed()
        .filter(|(earlier, _)| *earlier < message && setting.same_key(*earlier, message))
        .any(in_the_way)
}

/// Whether it was given up.
pub(super) fn is_dead(entry: &Entry) -> bool {
    matches!(entry.state(), postbox::claim::State::Dead { .. })
}
