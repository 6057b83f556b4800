//! `cargo bench -p postbox-benches --bench publisher`: a publisher as a type, and one chosen at run time.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark: made by a macro, and it may end here"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use postbox_benches::{Nowhere, Same, dynamic};

fn publisher(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publisher: a batch of 256");
    let same = Same::of(256).unwrap();
    group.throughput(Throughput::Elements(256));
    group.bench_function("as a type", |b| b.iter(|| same.publish_to(Nowhere, 1)));
    group.bench_function("dyn", |b| b.iter(|| same.publish_to(dynamic(), 1)));
    group.finish();
}

criterion_group!(benches, publisher);
criterion_main!(benches);
