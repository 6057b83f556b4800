//! Looks back when all is over: at what was lost, came twice, out of order, or not in effect.

use std::collections::BTreeMap;

use super::{End, Promise, Record};
use crate::history::MessageNo;
use crate::world::State;

/// Checks everything that can only be told at the end.
pub(crate) fn at_the_end(state: &mut State) {
    let mut broken = Vec::new();
    for (message, record) in state.ledger.records.iter().enumerate() {
        let limits = (state.limits.failures, state.limits.abandoned);
        broken.extend(of_message(record, limits).map(|(promise, detail)| (promise, message, detail)));
    }
    broken.extend(order(&state.ledger.records));
    for (promise, message, detail) in broken {
        state.violated(promise, Some(message), detail);
    }
}

fn of_message(record: &Record, (failures, abandoned): (u32, u32)) -> impl Iterator<Item = (Promise, String)> {
    let came = record.deliveries.len();
    let dead = record.end == Some(End::Dead);
    let mut broken = Vec::new();
    if record.committed.is_some() && came == 0 && record.end == Some(End::Published) {
        let detail = format!(
            "{} is settled as published and never reached the broker",
            record.id
        );
        broken.push((Promise::Lost, detail));
    }
    if record.committed.is_some() && came == 0 && record.end.is_none() {
        let detail = format!("{} is committed and never reached the broker", record.id);
        broken.push((Promise::Lost, detail));
    }
    if came > record.excuses + 1 {
        let detail = format!("{} came {came} times, with {} excuses", record.id, record.excuses);
        broken.push((Promise::Duplicate, detail));
    }
    if record.counted > record.failures + u32::from(record.permanent) {
        let detail = format!(
            "{} lost {} attempts, its broker refused it {} times",
            record.id, record.counted, record.failures
        );
        broken.push((Promise::AttemptsBurnt, detail));
    }
    let may_die = record.permanent || record.failures >= failures || record.abandoned >= abandoned;
    if dead && !may_die {
        let detail = format!(
            "{} was given up after {} failures and {} lapsed leases",
            record.id, record.failures, record.abandoned
        );
        broken.push((Promise::AttemptsBurnt, detail));
    }
    if record.counted > failures || record.abandoned > abandoned {
        let detail = format!(
            "{} had {} failures of {failures} and {} lapsed leases of {abandoned}",
            record.id, record.counted, record.abandoned
        );
        broken.push((Promise::Limit, detail));
    }
    if record.told == Some(false) && record.committed.is_some() && !record.unknown {
        let detail = format!(
            "the command of {} is committed and its caller was told that it failed",
            record.id
        );
        broken.push((Promise::FailedThoughCommitted, detail));
    }
    if record.effects > 1 {
        let detail = format!("{} had its effect {} times", record.id, record.effects);
        broken.push((Promise::EffectTwice, detail));
    }
    if record.consumed && came > 0 && record.effects == 0 {
        let detail = format!("{} was delivered and had no effect", record.id);
        broken.push((Promise::NoEffect, detail));
    }
    broken.into_iter()
}

/// First deliveries of each key, against the order of the commits. A dead message gave up its place.
fn order(records: &[Record]) -> Vec<(Promise, MessageNo, String)> {
    let mut lanes: BTreeMap<&str, Vec<(u64, MessageNo)>> = BTreeMap::new();
    for (message, record) in records.iter().enumerate() {
        let lane = record.key.as_deref().zip(record.committed);
        if let Some((key, place)) = lane.filter(|_| record.end != Some(End::Dead)) {
            lanes.entry(key).or_default().push((place, message));
        }
    }
    let mut broken = Vec::new();
    for lane in lanes.values_mut() {
        lane.sort_unstable();
        let mut before: Option<&Record> = None;
        for record in lane.iter().filter_map(|(_, message)| records.get(*message)) {
            let Some(first) = record.deliveries.first() else {
                continue;
            };
            if let Some(earlier) = before.filter(|before| before.deliveries.first() > Some(first)) {
                let detail = format!(
                    "{} came before {}, which was committed earlier",
                    record.id, earlier.id
                );
                let message = records
                    .iter()
                    .position(|one| one.id == record.id)
                    .unwrap_or_default();
                broken.push((Promise::Order, message, detail));
            }
            before = Some(record);
        }
    }
    broken
}
