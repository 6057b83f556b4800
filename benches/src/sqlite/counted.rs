//! Instructions and allocations of a commit, a claim and a settlement, in the caller's thread on a database in memory.

use postbox::aggregate::{Birth, CommitBatch, Repository};
use postbox::claim::Verdict;
use postbox::id::WorkerId;
use postbox::lease::Lease;
use postbox::store::{
    ClaimRef, ClaimRequest, ClaimedMessage, HasOutboxStore, OutboxStore, Settlement, Which,
};
use postbox_sqlite::{Execution, SqliteOptions, SqliteRepository};

use crate::shop::message;
use crate::{Case, Failure, spin};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "sqlite: a message committed claimed, and settled",
        steps: 200,
        units: 1,
        run: |steps| done(&whole_lives(steps)),
    },
    Case {
        name: "sqlite: a message of a backlog, batches of 256",
        steps: 4,
        units: 256,
        run: |steps| done(&backlog(steps)),
    },
];

/// What fails shows as a count that is far off, and in the tests.
fn done(result: &Result<(), Failure>) {
    debug_assert!(result.is_ok(), "{result:?}");
}

fn open() -> Result<SqliteRepository, Failure> {
    Ok(SqliteOptions::memory().with_execution(Execution::Inline).open()?)
}

fn whole_lives(messages: u64) -> Result<(), Failure> {
    let repository = open()?;
    let store = repository.outbox_store();
    for number in 0..messages {
        let mut batch = CommitBatch::new();
        batch.messages.push(message(number)?);
        batch.claim = Some(Birth {
            worker: WorkerId::new(7),
            lease: Lease::IMMEDIATE,
        });
        let committed = spin(repository.commit(batch))?;
        let claims = committed.messages.iter().filter_map(|message| message.claim);
        let settlements: Vec<_> = claims.map(complete).collect();
        spin(store.settle_soon(&settlements))?;
    }
    Ok(())
}

fn backlog(batches: u64) -> Result<(), Failure> {
    let repository = open()?;
    let store = repository.outbox_store();
    for number in 0..batches {
        let mut batch = CommitBatch::new();
        for place in 0..256 {
            batch.messages.push(message(number * 256 + place)?);
        }
        spin(repository.commit(batch))?;
        let claimed = spin(store.claim(&ClaimRequest {
            worker: WorkerId::new(7),
            lease: std::time::Duration::from_secs(30),
            limit: 256,
            max_abandoned: 5,
            which: Which::Due,
        }))?;
        let settlements: Vec<_> = claimed.iter().map(|claimed| complete(claimed.claim())).collect();
        spin(store.settle(&settlements))?;
    }
    Ok(())
}

/// Says that a message was published.
pub(super) fn complete(claim: ClaimRef<i64>) -> Settlement<'static, i64> {
    Settlement {
        claim,
        verdict: Verdict::Complete,
        error: "",
    }
}
