//! `cargo bench -p postbox-benches --bench executors`: a backlog on each executor.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark: made by a macro, and it may end here"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use postbox::testing::VirtualClock;
use postbox_async_std::AsyncStdTimer;
use postbox_benches::{Backlog, spin};
use postbox_smol::SmolTimer;
use postbox_tokio::TokioTimer;

fn executors(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("executors: 1,000 messages");
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let fill = || Backlog::of(1_000).unwrap();
    let size = criterion::BatchSize::SmallInput;
    group.bench_function("polled by hand", |b| {
        b.iter_batched(
            fill,
            |backlog| spin(backlog.publish(VirtualClock::new())).unwrap(),
            size,
        );
    });
    group.bench_function("tokio", |b| {
        b.iter_batched(
            fill,
            |backlog| tokio.block_on(backlog.publish(TokioTimer)).unwrap(),
            size,
        );
    });
    group.bench_function("smol", |b| {
        b.iter_batched(
            fill,
            |backlog| smol::block_on(backlog.publish(SmolTimer)).unwrap(),
            size,
        );
    });
    group.bench_function("async-std", |b| {
        let block_on = |backlog: Backlog| async_std::task::block_on(backlog.publish(AsyncStdTimer));
        b.iter_batched(fill, |backlog| block_on(backlog).unwrap(), size);
    });
    group.finish();
}

criterion_group!(benches, executors);
criterion_main!(benches);
