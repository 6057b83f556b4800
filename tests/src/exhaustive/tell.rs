//! A history in words, for people. Nothing is decided here.

use std::fmt::Write;

use postbox::claim::Status;

use super::protocol::{Protocol, Said, Step};
use super::rules::Rules;
use super::search::Machine;
use super::world::{Right, World};

impl<R: Rules> Protocol<R> {
    /// The history, a line for each step, numbered from 1.
    pub fn tell(&self, history: &[Step]) -> String {
        let (mut world, mut text) = (self.initial(), String::new());
        for (step, number) in history.iter().zip(1..) {
            // The last step may be wrong: then there is no world behind it.
            let next = self.act(&world, *step).ok();
            let line = sentence(&world, *step, next.as_ref());
            // A string takes everything.
            let _ = writeln!(text, "{number:>3}. {line}");
            world = next.unwrap_or(world);
        }
        text
    }
}

fn sentence(world: &World, step: Step, next: Option<&World>) -> String {
    let holder = |message: usize, claim: usize| {
        let held = world.rows[message].and_then(|row| row.held[claim]);
        held.map_or_else(String::new, |held| {
            let (worker, attempt) = (name(held.fence.worker.get()), held.fence.attempt);
            let stale = if held.right == Right::Overtaken {
                "overtaken"
            } else {
                "claim"
            };
            format!("{worker} ({stale} {attempt})")
        })
    };
    let after = |message: usize| next.and_then(|next| next.rows[message]);
    match step {
        Step::Commit { message, birth } => {
            let born = after(message).and_then(|row| row.held[0]).is_some();
            match birth.filter(|_| born) {
                Some(worker) => format!(
                    "m{message} is committed, born claimed by {} (claim 1)",
                    name(worker)
                ),
                None => format!("m{message} is committed"),
            }
        }
        Step::Claim { message, worker } => {
            let before = world.rows[message].map(|row| row.entry.fence());
            let now = after(message).map(|row| row.entry.fence());
            match now.filter(|now| Some(*now) != before) {
                Some(fence) => format!("{} claims m{message} (claim {})", name(worker), fence.attempt),
                None => format!("{} asks for m{message}", name(worker)),
            }
        }
        Step::Publish { message, claim } => {
            format!("{} starts to publish m{message}", holder(message, claim))
        }
        Step::Land {
            message,
            claim,
            acknowledged,
        } => {
            let answer = if acknowledged {
                "acknowledged"
            } else {
                "but the acknowledgement is lost"
            };
            format!(
                "the broker takes m{message} from {}, {answer}",
                holder(message, claim)
            )
        }
        Step::LandLate { message } => {
            format!("the broker takes m{message} from a publish that nobody waits for any more")
        }
        Step::Settle { message, claim, said } => {
            let what = match said {
                Said::Complete => "completes",
                Said::Retry => "returns, after a failure,",
                Said::Release => "releases",
                Said::Bury => "gives up",
            };
            format!("{} {what} m{message}", holder(message, claim))
        }
        Step::Renew { message, claim } => {
            format!("{} renews its lease of m{message}", holder(message, claim))
        }
        Step::Pass { message } => {
            let entry = world.rows[message].map(|row| row.entry);
            let is_leased = entry.is_some_and(|entry| entry.state().status() == Status::InFlight);
            let what = if is_leased { "lease" } else { "pause" };
            format!("the {what} of m{message} ends")
        }
        Step::Crash { worker } => format!("{} crashes, and comes back empty-handed", name(worker)),
        Step::Requeue { message } => format!("an operator puts m{message} back"),
    }
}

fn name(worker: u64) -> &'static str {
    if worker == 0 { "A" } else { "B" }
}
