//! In-memory dispatch beside other crates: 256 bytes a message, batches of 256, a publisher that does nothing;
//! nanoseconds and allocations a message, in turn. What it costs to make and enqueue a message is counted nowhere.

mod mailroom;
mod outbox_core;

use std::alloc::System;

use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::WorkerId;
use postbox::store::HasOutboxStore;
use postbox_benches::{
    Contender, Effort, Failure, Figures, Filled, Nowhere, nanoseconds, side_by_side, spin,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PAYLOAD: usize = 256;
const BATCH: u32 = 256;

/// Sets up so many messages; what is returned publishes them all.
type Prepare = fn(u64) -> Result<Box<dyn FnOnce() -> Result<(), Failure>>, Failure>;

const CONTENDERS: [(&str, Prepare); 4] = [
    ("postbox, a key each", |rows| postbox(rows, Some(rows))),
    ("postbox, no keys", |rows| postbox(rows, None)),
    ("outbox-core", outbox_core::prepare),
    ("mailroom", mailroom::prepare),
];

fn main() -> Result<(), Failure> {
    let Some(effort) = Effort::asked_for("dispatch") else {
        return Ok(());
    };
    let mut figures = Figures::printed();
    let rows: u64 = effort.pick(1_000, 100_000);
    let contenders = CONTENDERS.map(|(name, prepare)| {
        Contender::new(name, move || {
            let work = prepare(rows)?;
            let (done, each) = nanoseconds(rows, work);
            done.map(|()| each)
        })
    });
    side_by_side(
        &mut figures,
        "memory-peers",
        "ns a message",
        effort.rounds(),
        contenders.into(),
    )?;
    for (name, prepare) in CONTENDERS {
        let work = prepare(rows)?;
        let region = Region::new(ALLOCATOR);
        work()?;
        let change = region.change();
        #[allow(clippy::cast_precision_loss, reason = "some millions")]
        let each = (change.allocations + change.reallocations) as f64 / rows as f64;
        figures.add("memory-peers", "allocations a message", name, each)?;
    }
    Ok(())
}

fn postbox(rows: u64, keys: Option<u64>) -> Result<Box<dyn FnOnce() -> Result<(), Failure>>, Failure> {
    let repository = Filled::hashmap(rows, PAYLOAD, keys)?;
    let config = DispatchConfig::new(WorkerId::random());
    let dispatcher = OutboxDispatcher::new(repository.outbox_store(), Nowhere, config);
    Ok(Box::new(move || {
        spin(async {
            let mut published = 0;
            while published < rows {
                published += dispatcher.dispatch_batch(BATCH as usize).await?.published as u64;
            }
            Ok(())
        })
    }))
}
