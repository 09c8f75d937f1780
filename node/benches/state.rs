//! A durable block of balance changes: the flat state and redb, the same changes, by criterion.
#![allow(missing_docs, reason = "criterion's macros")]

#[path = "../src/cli/durable.rs"]
mod durable;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use durable::DurableState;
use dynemix_bench::apply::random_quilt;
use dynemix_bench::rivals::Redb;
use dynemix_bench::state::{BALANCE, StateUnderTest};
use dynemix_workload::Choices;

const ACCOUNTS: u64 = 1_000_000;
const ENTRIES: usize = 50_000;

fn durable(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut ours = DurableState::create(&directory.path().join("store"), ACCOUNTS, 1).expect("the disk works");
    let mut redb = Redb::create(&directory.path().join("redb"), ACCOUNTS, BALANCE).expect("the disk works");
    let mut choices = Choices::new(1, 5);
    let mut group = criterion.benchmark_group("durable block");
    group.throughput(Throughput::Elements(ENTRIES as u64)).sample_size(10);
    let mut wire = Vec::new();
    group.bench_function("flat state and log", |bencher| {
        bencher.iter(|| {
            let (height, slot, root) = ours.header();
            let quilt = random_quilt(&mut choices, ACCOUNTS, ENTRIES, height + 1, slot + 1, root);
            wire.clear();
            quilt.encode(&mut wire);
            ours.commit(&quilt, &wire).expect("the disk works").sync_s
        });
    });
    let mut height = 0;
    group.bench_function("redb", |bencher| {
        bencher.iter(|| {
            height += 1;
            let quilt = random_quilt(&mut choices, ACCOUNTS, ENTRIES, height, height, [0; 32]);
            redb.commit(&quilt).expect("the disk works");
        });
    });
}

criterion_group!(state, durable);
criterion_main!(state);
