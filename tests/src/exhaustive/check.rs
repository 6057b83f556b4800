//! Which steps a world offers, and what must hold in every state. What a step does is in `protocol`.

use postbox::claim::{Claiming, State, Verdict};
use postbox::id::WorkerId;

use super::protocol::{Protocol, Said, Step};
use super::rules::{Rules, is_dead};
use super::search::Machine;
use super::world::{Held, NOW, Phase, Right, Row, World};

/// Their names are numbers.
const WORKERS: [u64; 2] = [0, 1];

impl<R: Rules> Machine for Protocol<R> {
    type State = World;
    type Step = Step;

    fn initial(&self) -> World {
        World::default()
    }

    fn key(&self, world: &World) -> u128 {
        world.pack()
    }

    fn steps(&self, world: &World, steps: &mut Vec<Step>) {
        let message = world.committed().count();
        if message < self.setting.keys.len() {
            let births = [None, Some(WORKERS[0]), Some(WORKERS[1])];
            steps.extend(births.map(|birth| Step::Commit { message, birth }));
        }
        for (message, row) in world.committed() {
            for (claim, held) in row.holders() {
                self.steps_of_holder(message, claim, held, steps);
            }
            self.steps_of_store(world, message, row, steps);
        }
        let crashes = WORKERS.map(|worker| Step::Crash { worker });
        steps.extend(crashes.iter().filter(|_| self.setting.faults.crash));
    }

    fn take(&self, world: &World, step: Step) -> Result<World, String> {
        let mut next = self.act(world, step)?;
        for (message, (row, before)) in next.rows.iter_mut().zip(&world.rows).enumerate() {
            let Some(row) = row else { continue };
            if step.message().is_some_and(|changed| changed != message) {
                continue;
            }
            row.died |= is_dead(&row.entry);
            self.check(row)?;
            if before.is_some_and(|before| row.entry.fence().attempt < before.entry.fence().attempt) {
                return Err("a fence shrank".into());
            }
            row.normalise();
        }
        if self.recovers.borrow_mut().insert(next.pack_stored()) {
            self.recover(&next)?;
        }
        Ok(next)
    }
}

impl<R: Rules> Protocol<R> {
    fn steps_of_store(&self, world: &World, message: usize, row: &Row, steps: &mut Vec<Step>) {
        let has_place = row.holders().count() < self.setting.held;
        // What is at its end is asked for as well: it must be refused.
        let is_asked_for = self.rules.is_next(&self.setting, world, message) || !row.entry.is_live();
        if has_place && is_asked_for {
            // The other worker first: of two histories of one length that one reads better.
            let workers = WORKERS.into_iter().rev();
            steps.extend(workers.map(|worker| Step::Claim { message, worker }));
        }
        let waits = row.entry.due().is_some_and(|due| due > NOW);
        let is_leased = matches!(row.entry.state(), State::InFlight { .. });
        if waits && (self.setting.faults.lapse || !is_leased) {
            steps.push(Step::Pass { message });
        }
        if row.late > 0 {
            steps.push(Step::LandLate { message });
        }
        steps.push(Step::Requeue { message });
    }

    fn steps_of_holder(&self, message: usize, claim: usize, held: &Held, steps: &mut Vec<Step>) {
        let mut settle = |said| steps.push(Step::Settle { message, claim, said });
        let may_fail = self.setting.faults.unanswered;
        match held.phase {
            Phase::Claimed => settle(Said::Release),
            Phase::Sent | Phase::Unanswered if may_fail => {
                [Said::Retry, Said::Release, Said::Bury]
                    .into_iter()
                    .for_each(settle);
            }
            Phase::Sent | Phase::Unanswered => {}
            Phase::Acknowledged => settle(Said::Complete),
        }
        match held.phase {
            Phase::Claimed => steps.push(Step::Publish { message, claim }),
            Phase::Sent => {
                let answers = [true, false].into_iter().filter(|answered| *answered || may_fail);
                steps.extend(answers.map(|acknowledged| Step::Land {
                    message,
                    claim,
                    acknowledged,
                }));
            }
            Phase::Unanswered | Phase::Acknowledged => {}
        }
        if held.right != Right::Live {
            steps.push(Step::Renew { message, claim });
        }
    }

    fn check(&self, row: &Row) -> Result<(), String> {
        let (entry, setting) = (&row.entry, &self.setting);
        if entry.failures() >= setting.max_failures || entry.abandoned() > setting.max_abandoned {
            return Err("a ceiling was passed".into());
        }
        if matches!(entry.state(), State::Published { .. }) && row.landed == 0 {
            return Err("a message counts as published that the broker never took: it is lost".into());
        }
        Ok(())
    }

    /// From here on nothing goes wrong: leases end, an operator puts back what is dead, one worker claims,
    /// publishes and settles. It has to deliver everything, within a bound.
    fn recover(&self, world: &World) -> Result<(), String> {
        let mut world = *world;
        // For each message: two deadlines, a claim that buries it, a requeue, a claim that serves it.
        for _ in 0..8 * world.committed().count() {
            for message in 0..self.setting.keys.len() {
                let next = self.rules.is_next(&self.setting, &world, message);
                let Some(row) = &mut world.rows[message] else {
                    continue;
                };
                row.pass();
                self.rules.requeue(&mut row.entry);
                if !next {
                    continue;
                }
                let worker = WorkerId::new(WORKERS[1]);
                let claiming = self
                    .rules
                    .claim(&mut row.entry, worker, self.setting.max_abandoned);
                if let Claiming::Granted(fence) = claiming {
                    row.landed = 1;
                    let _ = self.rules.settle(&mut row.entry, fence, Verdict::Complete);
                }
            }
        }
        let is_done = |row: &Row| row.landed > 0 && matches!(row.entry.state(), State::Published { .. });
        if world.committed().all(|(_, row)| is_done(row)) {
            Ok(())
        } else {
            Err("a message is lost: nothing that may happen delivers it".into())
        }
    }
}
