//! `cargo bench -p postbox-benches --bench join`: a thousand wakes of children of a join.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark: made by a macro, and it may end here"
)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use postbox_benches::{Ours, Round, SIZES};

fn join(criterion: &mut Criterion) {
    for round in Round::EACH {
        let mut group = criterion.benchmark_group(format!("join: {round:?} woken, 1,024 wakes"));
        for children in SIZES {
            let rounds = round.rounds(1_024, children);
            group.bench_function(BenchmarkId::new("static wakes", children), |b| {
                b.iter(|| Ours::fixed(children, round, rounds).unwrap());
            });
            group.bench_function(BenchmarkId::new("vec", children), |b| {
                b.iter(|| Ours::vec(children, round, rounds).unwrap());
            });
        }
        group.finish();
    }
}

criterion_group!(benches, join);
criterion_main!(benches);
