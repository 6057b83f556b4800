//! What can happen in a world, and what must hold at each step. How states are gone through is in `search`.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;

use postbox::claim::{Claiming, Entry, Verdict};
use postbox::id::WorkerId;
use postbox::retry::RetryPolicy;
use postbox::store::DeadPolicy;

use super::rules::{Rules, is_dead, is_head};
use super::world::{Held, NOW, Phase, Right, Row, World};
use super::{LEASE, Setting};

/// The claim protocol in one [`Setting`], as a machine to search.
///
/// A step is wrong if
///
/// - a claim is granted while the lease of another runs, before the message is due, or after it was published;
/// - a settle or renewal of an overtaken holder is accepted, or changes anything; or one of the holder that
///   nobody overtook is refused;
/// - a fence does not grow with a grant, or shrinks at any time;
/// - a ceiling of failures or abandonments is passed;
/// - the first delivery of a message comes before that of an earlier one of its key (unless that one was given
///   up and the policy is to skip it);
/// - a message counts as published that the broker never took, or no continuation without faults delivers all
///   that was committed.
#[derive(Debug)]
pub struct Protocol<R> {
    pub(super) setting: Setting,
    pub(super) rules: R,
    /// Stored parts of states from which everything can be delivered.
    pub(super) recovers: RefCell<HashSet<u128>>,
}

/// Something that happens. Messages are numbered in commit order, claims by their place in the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "what they are numbers of is said above")]
pub enum Step {
    /// A message is committed; born claimed by a worker if it is the head of its key.
    Commit { message: usize, birth: Option<u64> },
    /// A worker asks for a message.
    Claim { message: usize, worker: u64 },
    /// A holder starts to publish.
    Publish { message: usize, claim: usize },
    /// A publish lands that its holder waits for. The acknowledgement arrives or is lost.
    Land {
        message: usize,
        claim: usize,
        acknowledged: bool,
    },
    /// A publish lands that nobody waits for any more.
    LandLate { message: usize },
    /// A holder says what became of its message.
    Settle {
        message: usize,
        claim: usize,
        said: Said,
    },
    /// A holder asks for more time.
    Renew { message: usize, claim: usize },
    /// The lease or the pause of a message ends.
    Pass { message: usize },
    /// A worker loses all it knows.
    Crash { worker: u64 },
    /// An operator puts a message back.
    Requeue { message: usize },
}

/// What a holder says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The broker has it.
    Complete,
    /// It failed and may succeed later: one more failure, or the last.
    Retry,
    /// It was not tried, or the broker is down.
    Release,
    /// It will never be accepted.
    Bury,
}

impl Step {
    /// The message it is about.
    pub(super) const fn message(&self) -> Option<usize> {
        match *self {
            Self::Crash { .. } => None,
            Self::Commit { message, .. }
            | Self::Claim { message, .. }
            | Self::Publish { message, .. }
            | Self::Land { message, .. }
            | Self::LandLate { message }
            | Self::Settle { message, .. }
            | Self::Renew { message, .. }
            | Self::Pass { message }
            | Self::Requeue { message } => Some(message),
        }
    }
}

impl<R: Rules> Protocol<R> {
    /// In this setting, by these rules.
    pub fn new(setting: Setting, rules: R) -> Self {
        Self {
            setting,
            rules,
            recovers: RefCell::default(),
        }
    }

    fn policy(&self) -> RetryPolicy {
        RetryPolicy {
            max_failures: self.setting.max_failures,
            max_abandoned: self.setting.max_abandoned,
            ..RetryPolicy::DEFAULT
        }
    }

    fn commit(&self, world: &mut World, message: usize, birth: Option<u64>) {
        let row = match birth {
            Some(worker) if is_head(&self.setting, world, message) => {
                let entry = Entry::in_flight(WorkerId::new(worker), LEASE, NOW);
                let mut row = Row::new(entry);
                row.hold(Held::new(entry.fence()), self.setting.held);
                row
            }
            _ => Row::new(Entry::pending(NOW, Duration::ZERO)),
        };
        world.rows[message] = Some(row);
    }

    fn claim(&self, row: &mut Row, worker: u64) -> Result<(), String> {
        let before = row.entry;
        let was_free = before.due().is_some_and(|due| due <= NOW);
        let worker = WorkerId::new(worker);
        match self
            .rules
            .claim(&mut row.entry, worker, self.setting.max_abandoned)
        {
            Claiming::Granted(fence) => {
                if row.holders().any(|(_, held)| held.right == Right::Live) {
                    return Err("a live lease was stolen: two workers hold the message".into());
                }
                if !before.is_live() {
                    return Err(format!(
                        "a message was claimed that is {:?}",
                        before.state().status()
                    ));
                }
                if !was_free {
                    return Err("a message was claimed before it was due".into());
                }
                if fence.attempt <= before.fence().attempt {
                    return Err("the fence did not grow with a claim".into());
                }
                row.overtake();
                row.hold(Held::new(fence), self.setting.held);
            }
            Claiming::Abandoned if !was_free => return Err("a message was buried that was not free".into()),
            Claiming::Abandoned => row.overtake(),
            Claiming::NotFree if was_free => return Err("a free message was refused".into()),
            Claiming::NotFree if row.entry != before => {
                return Err("a refused claim changed a message".into());
            }
            Claiming::NotFree => {}
        }
        Ok(())
    }

    fn settle(&self, row: &mut Row, claim: usize, said: Said) -> Result<(), String> {
        let Some(held) = row.let_go(claim) else {
            return Ok(());
        };
        if held.phase == Phase::Sent {
            row.late = self.setting.late.min(row.late + 1);
        }
        let verdict = match said {
            Said::Complete => Verdict::Complete,
            // The pause itself is jittered down to nothing, which is the same as one that is over at once.
            Said::Retry => match self
                .policy()
                .after_failure(row.entry.failures(), Duration::ZERO, 0)
            {
                Verdict::Retry { .. } => Verdict::Retry { after: LEASE },
                given_up => given_up,
            },
            Said::Release => Verdict::Release { after: LEASE },
            Said::Bury => Verdict::Bury,
        };
        let before = row.entry;
        let accepted = self.rules.settle(&mut row.entry, held.fence, verdict).is_ok();
        judge("settle", held, accepted, &before, &row.entry)
    }

    fn renew(&self, row: &mut Row, claim: usize) -> Result<(), String> {
        let Some(held) = row.held[claim] else {
            return Ok(());
        };
        let before = row.entry;
        let accepted = self.rules.renew(&mut row.entry, held.fence, LEASE).is_ok();
        judge("renewal", held, accepted, &before, &row.entry)?;
        if accepted {
            row.held[claim] = Some(Held {
                right: Right::Live,
                ..held
            });
        }
        Ok(())
    }

    fn requeue(&self, row: &mut Row) -> Result<(), String> {
        let before = row.entry;
        let requeued = self.rules.requeue(&mut row.entry);
        if requeued != is_dead(&before) || (!requeued && row.entry != before) {
            return Err("a requeue is for dead messages".into());
        }
        Ok(())
    }

    /// The broker takes a message. Its first delivery comes behind those of all earlier ones of its key.
    fn land(&self, world: &mut World, message: usize) -> Result<(), String> {
        let may_be_behind = |row: &Row| row.landed > 0 || (self.setting.dead == DeadPolicy::Skip && row.died);
        let is_first = world.rows[message].is_some_and(|row| row.landed == 0);
        let is_out_of_order = world
            .committed()
            .take(message)
            .any(|(earlier, row)| self.setting.same_key(earlier, message) && !may_be_behind(row));
        if is_first && is_out_of_order {
            return Err("a message was delivered before an earlier one of its key".into());
        }
        if let Some(row) = &mut world.rows[message] {
            row.landed = 2.min(row.landed + 1);
        }
        Ok(())
    }

    fn crash(&self, row: &mut Row, worker: u64) {
        for held in &mut row.held {
            if held.is_some_and(|held| held.fence.worker.get() == worker) {
                let lost = held.take();
                if lost.is_some_and(|held| held.phase == Phase::Sent) {
                    row.late = self.setting.late.min(row.late + 1);
                }
            }
        }
        row.held.sort_by_key(Option::is_none);
    }

    /// One step, on the true numbers of attempts.
    pub(super) fn act(&self, world: &World, step: Step) -> Result<World, String> {
        let mut next = *world;
        match step {
            Step::Commit { message, birth } => self.commit(&mut next, message, birth),
            Step::Crash { worker } => next
                .rows
                .iter_mut()
                .flatten()
                .for_each(|row| self.crash(row, worker)),
            Step::Land { message, .. } | Step::LandLate { message } => self.land(&mut next, message)?,
            _ => {}
        }
        let Some(row) = step.message().and_then(|message| next.rows[message].as_mut()) else {
            return Ok(next);
        };
        match step {
            Step::Commit { .. } | Step::Crash { .. } => {}
            Step::Claim { worker, .. } => self.claim(row, worker)?,
            Step::Publish { claim, .. } => row.advance(claim, Phase::Sent),
            Step::Land {
                claim,
                acknowledged: true,
                ..
            } => row.advance(claim, Phase::Acknowledged),
            Step::Land { claim, .. } => row.advance(claim, Phase::Unanswered),
            Step::LandLate { .. } => row.late = row.late.saturating_sub(1),
            Step::Settle { claim, said, .. } => self.settle(row, claim, said)?,
            Step::Renew { claim, .. } => self.renew(row, claim)?,
            Step::Pass { .. } => row.pass(),
            Step::Requeue { .. } => self.requeue(row)?,
        }
        Ok(next)
    }
}

/// A holder is refused if and only if it was overtaken, and then nothing changes.
fn judge(what: &str, held: Held, accepted: bool, before: &Entry, after: &Entry) -> Result<(), String> {
    match (held.right, accepted) {
        (Right::Overtaken, true) => Err(format!("a stale {what} was accepted")),
        (Right::Overtaken, false) if before != after => Err(format!("a refused {what} changed a message")),
        (Right::Live | Right::Lapsed, false) => {
            Err(format!("a {what} was refused that nobody had overtaken"))
        }
        _ => Ok(()),
    }
}
