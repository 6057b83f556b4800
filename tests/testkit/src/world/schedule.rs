//! Who is polled next, who dies, when time moves on: the whole of a world's concurrency, drawn by its dice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Context;
use std::time::Duration;

use postbox::sync::Stop;
use postbox::time::{Clock, Instant};

use super::slot::Slot;
use super::{Node, NodeTimer, World, millis};
use crate::check::Promise;
use crate::history::{Event, NodeId};
use crate::sabotage::Sabotage;

/// How long after the storm everything must have come to its end.
const BOUND: Duration = Duration::from_secs(120);
/// How long a node may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(60);
/// More polls than any sound world needs.
const MAX_POLLS: u64 = 1_000_000;
/// How long a dead process stays dead.
const DEAD_FOR: (u64, u64) = (1, 500);

impl World {
    /// Everything, from the first start to the last stop.
    pub(super) fn play(&mut self) {
        let now = self.sim.clock.now();
        let mut slots: Vec<Slot> = self.programs.iter().map(|_| Slot::new(now)).collect();
        {
            let mut state = self.sim.lock();
            state.stops = slots.iter().map(|_| Stop::new()).collect();
            state.under_way = vec![0; slots.len()];
            state.deaths = vec![0; slots.len()];
            state.stalled_until = vec![Instant::ZERO; slots.len()];
        }
        let bound = self.bound();
        let mut stop_by = None;
        let mut ready = Vec::new();
        loop {
            let now = self.sim.clock.now();
            for node in 0..slots.len() {
                if slots
                    .get(node)
                    .and_then(|slot| slot.start_at)
                    .is_some_and(|at| at <= now)
                {
                    self.start(node, &mut slots);
                }
            }
            ready.clear();
            ready.extend(
                (0..slots.len()).filter(|node| slots.get(*node).is_some_and(|slot| slot.is_ready(now))),
            );
            let packet = self.sim.lock().packets.keys().next().map(|(at, _)| *at);
            let due = packet.is_some_and(|at| at <= now);
            let choices = ready.len() + usize::from(due);
            if choices > 0 {
                let choice = self.sim.lock().dice.below(choices as u64);
                match usize::try_from(choice).ok().and_then(|choice| ready.get(choice)) {
                    Some(node) => self.poll(*node, &mut slots, stop_by.is_some()),
                    None => self.sim.arrive(),
                }
                if self.polls > MAX_POLLS {
                    let detail = format!("it goes round in circles: {MAX_POLLS} polls");
                    self.sim.lock().violated(Promise::NotInTime, None, detail);
                    break;
                }
                continue;
            }
            if stop_by.is_none()
                && !slots.iter().any(|slot| slot.has_to_start(self.starts))
                && self.is_quiet()
            {
                stop_by = Some(now + STOP_WITHIN);
                self.stop_all(&mut slots);
                continue;
            }
            let running = slots.iter().any(|slot| slot.future.is_some());
            if stop_by.is_some() && !running {
                break;
            }
            let waits = slots.iter().filter_map(Slot::next);
            let next = waits.chain(packet).chain(self.sim.clock.next_deadline()).min();
            let Some(next) = next.filter(|next| *next <= stop_by.unwrap_or(bound)) else {
                self.gave_out(stop_by.is_some());
                break;
            };
            self.sim.clock.move_to(next);
        }
        // What still runs dies with the world: that is no fault of its messages.
        for (node, slot) in slots.iter_mut().enumerate() {
            self.sim.lock().crashing = Some(node);
            slot.future = None;
        }
    }

    /// When everything must have come to its end. A message that is turned away holds up its key until it is
    /// given up.
    fn bound(&self) -> Instant {
        let state = self.sim.lock();
        let turned_away = u32::try_from(state.broker.turns_away.len()).unwrap_or(u32::MAX);
        let each = self.tuning.retry.backoff.pause(u32::MAX) * self.tuning.retry.max_failures;
        state.storm_ends + BOUND + each * turned_away
    }

    fn start(&self, node: NodeId, slots: &mut [Slot]) {
        let Some((slot, program)) = slots.get_mut(node).zip(self.programs.get(node)) else {
            return;
        };
        slot.start_at = None;
        slot.stalled_until = None;
        slot.starts += 1;
        slot.ended = false;
        let mut state = self.sim.lock();
        state.log(Event::Started {
            node,
            again: slot.starts > 1,
        });
        let drift = state.faults.drift;
        let mut ahead = state.dice.below(2 * drift + 1).cast_signed() - drift.cast_signed();
        if state.sabotaged(Sabotage::SlowsClocks) {
            ahead = -666_666;
        }
        let stop = Stop::new();
        if let Some(kept) = state.stops.get_mut(node) {
            *kept = stop.clone();
        }
        if let Some(under_way) = state.under_way.get_mut(node) {
            *under_way = 0;
        }
        drop(state);
        let timer = NodeTimer::new(self.sim.clock.clone(), ahead);
        let (sim, id, start, tuning) = (self.sim.clone(), node, slot.starts, self.tuning);
        slot.future = Some(program(Node {
            sim,
            id,
            start,
            timer,
            stop,
            tuning,
        }));
        slot.set_woken(true);
    }

    fn poll(&mut self, node: NodeId, slots: &mut [Slot], stopping: bool) {
        let Some(slot) = slots.get_mut(node) else {
            return;
        };
        slot.stalled_until = None;
        slot.set_woken(false);
        let Some(future) = slot.future.as_mut() else {
            return;
        };
        self.polls += 1;
        let mut cx = Context::from_waker(&slot.waker);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx)));
        let mut state = self.sim.lock();
        match polled {
            Ok(poll) if poll.is_ready() => {
                slot.ended = true;
                // Its supervisor starts it again, unless the world ends.
                let pause = millis(&mut state.dice, DEAD_FOR);
                slot.start_at = (!stopping).then(|| state.now() + pause);
                drop(state);
                slot.future = None;
                return;
            }
            Ok(_) => {}
            Err(_) => {
                state.log(Event::Panicked { node });
                drop(state);
                self.crash(node, slot, stopping);
                return;
            }
        }
        let (crash, stall, stop) = (state.faults.crash, state.faults.stall, state.faults.stop);
        let told = self.stop_after.contains(&self.polls);
        if self.crash_after.contains(&self.polls) || state.happens(crash) {
            state.log(Event::Crashed { node });
            drop(state);
            self.crash(node, slot, stopping);
        } else if state.happens(stall) {
            let range = state.faults.stall_for;
            let lasts = millis(&mut state.dice, range);
            let until = state.now() + lasts;
            slot.stalled_until = Some(until);
            if let Some(last) = state.stalled_until.get_mut(node) {
                *last = until;
            }
            state.log(Event::Stalled { node, lasts });
            state.ledger.excuse_all_of(node);
        } else if told || state.happens(stop) {
            state.log(Event::ToldToStop { node });
            let stop = state.stops.get(node).cloned();
            drop(state);
            if let Some(stop) = stop {
                stop.set();
            }
        }
    }

    /// Drops a node in the middle of whatever it does.
    fn crash(&self, node: NodeId, slot: &mut Slot, stopping: bool) {
        {
            let mut state = self.sim.lock();
            state.ledger.excuse_all_of(node);
            state.crashing = Some(node);
            if let Some(deaths) = state.deaths.get_mut(node) {
                *deaths += 1;
            }
            let pause = millis(&mut state.dice, DEAD_FOR);
            slot.start_at = (!stopping).then(|| state.now() + pause);
        }
        // What it was awaiting is dropped with it, on the way out of a panic too.
        let _ = catch_unwind(AssertUnwindSafe(|| slot.future = None));
        self.sim.lock().crashing = None;
    }

    fn stop_all(&self, slots: &mut [Slot]) {
        let stops = {
            let mut state = self.sim.lock();
            for node in 0..slots.len() {
                state.log(Event::ToldToStop { node });
            }
            state.stops.clone()
        };
        for (slot, stop) in slots.iter_mut().zip(stops) {
            slot.start_at = None;
            stop.set();
        }
    }

    /// Whether nothing is left to do.
    fn is_quiet(&self) -> bool {
        {
            let state = self.sim.lock();
            let busy = !state.requests.is_empty() || state.in_hand > 0 || !state.packets.is_empty();
            if busy || !state.ledger.is_settled() {
                return false;
            }
            let unheard = usize::try_from(state.broker.unheard()).unwrap_or(usize::MAX);
            let bus = &self.sim.bus;
            if bus.len() > unheard && bus.len() > unheard + bus.dead_letters().len() + bus.parked().len() {
                return false;
            }
        }
        let counts = self.sim.backing.counts();
        counts.is_ok_and(|counts| counts.pending + counts.in_flight == 0)
    }

    /// Nothing moves any more, or not fast enough.
    fn gave_out(&self, stopping: bool) {
        let mut state = self.sim.lock();
        if stopping {
            let detail = format!("a node told to stop still runs after {STOP_WITHIN:?}");
            state.violated(Promise::DidNotStop, None, detail);
            return;
        }
        let open = state
            .ledger
            .records
            .iter()
            .position(|record| record.committed.is_some() && record.end.is_none());
        let detail = match open.and_then(|message| state.ledger.records.get(message)) {
            Some(record) => format!("{} is not settled although everything is well again", record.id),
            None => String::from("something is left to do although everything is well again"),
        };
        state.violated(Promise::NotInTime, open, detail);
    }
}
