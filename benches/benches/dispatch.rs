//! `cargo bench -p postbox-benches --bench dispatch`: a backlog in memory, beside a slab by hand.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark: made by a macro, and it may end here"
)]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use postbox_benches::{Drain, Slab};

fn dispatch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dispatch: batches of 256");
    for rows in [1_000, 100_000] {
        group.throughput(Throughput::Elements(rows)).sample_size(10);
        let fill = || Drain::of(rows, true).unwrap();
        let drain = |mut drain: Drain| while drain.pass(256) > 0 {};
        group.bench_function(BenchmarkId::new("ours", rows), |b| {
            b.iter_batched(fill, drain, BatchSize::PerIteration);
        });
        let drain = |mut slab: Slab| while slab.pass(256) > 0 {};
        group.bench_function(BenchmarkId::new("a slab by hand", rows), |b| {
            b.iter_batched(|| Slab::of(rows), drain, BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, dispatch);
criterion_main!(benches);
