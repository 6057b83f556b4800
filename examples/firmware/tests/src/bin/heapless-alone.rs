//! The outbox of fixed size and nothing else: stored, claimed, renewed, failed, buried, put back, published, by hand.
//! What is linked is looked through for parts of an allocator.
#![no_std]
#![no_main]

use core::time::Duration;

use board::block_on;
use board::qemu::{end, print};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex as Raw;
use postbox::claim::Verdict;
use postbox::id::WorkerId;
use postbox::message::{Headers, MessageKind, MessageRef};
use postbox::store::{ClaimRef, ClaimRequest, ClaimedMessage, OutboxStore, Settlement, Which};
use postbox::time::{Clock, Instant};
use postbox_heapless::{EnqueueError, HeaplessOutbox};

struct Still;

impl Clock for Still {
    fn now(&self) -> Instant {
        Instant::ZERO
    }
}

static OUTBOX: HeaplessOutbox<Raw, Still, 3, 24, 8> = HeaplessOutbox::new(Still);

const fn message(id: &str) -> MessageRef<'_> {
    MessageRef {
        id,
        name: "read",
        kind: MessageKind::Event,
        key: Some("k"),
        payload: &[7; 8],
        content_type: "x/y",
        headers: Headers::EMPTY,
    }
}

/// Claims the head of the key, which must be this one.
fn claim(id: &str) -> Option<ClaimRef<postbox_heapless::HeaplessKey>> {
    let request = ClaimRequest {
        worker: WorkerId::named("alone"),
        lease: Duration::from_secs(30),
        limit: 4,
        max_abandoned: 3,
        which: Which::Due,
    };
    let batch = block_on((&OUTBOX).claim(&request)).ok()?;
    let held = batch
        .first()
        .filter(|held| batch.len() == 1 && held.message().id == id)?;
    let renewed = block_on((&OUTBOX).renew(&[held.claim()], Duration::from_secs(60)));
    (renewed == Ok(1)).then(|| held.claim())
}

fn settle(id: &str, verdict: Verdict) -> Option<()> {
    let settlement = Settlement {
        claim: claim(id)?,
        verdict,
        error: "why",
    };
    let settled = block_on((&OUTBOX).settle(&[settlement])).ok()?;
    (settled.applied() == 1).then_some(())
}

fn life() -> Option<()> {
    for id in ["a", "b", "c"] {
        OUTBOX.enqueue(message(id)).ok()?;
    }
    let full = OUTBOX.enqueue(message("d"));
    if full != Err(EnqueueError::Full { capacity: 3 }) {
        return None;
    }
    let after = Duration::ZERO;
    settle("a", Verdict::Retry { after })?;
    settle("a", Verdict::Release { after })?;
    settle("a", Verdict::Bury)?;
    settle("b", Verdict::Complete)?;
    OUTBOX.enqueue(message("d")).ok()?;
    OUTBOX.requeue("a").then_some(())?;
    for id in ["a", "c", "d"] {
        settle(id, Verdict::Complete)?;
    }
    Some(())
}

#[cortex_m_rt::entry]
fn main() -> ! {
    let lived = life().is_some();
    let counts = OUTBOX.counts();
    let left = counts.pending + counts.in_flight + counts.dead;
    print!("{}: lived={} left={}", board::NAME, lived, left);
    end(lived && left == 0);
}
