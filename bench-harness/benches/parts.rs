//! Statistics for the small parts: `cargo bench -p dynemix-bench`. The whole is measured by `dynemix bench`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dynemix_engine::accounts::memory::{HeapMemory, StateLayout};
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::free_list::FreeList;
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_engine::base::parameters::{ChainParameters, SUPPLY_GENESIS};
use dynemix_engine::chain::patch::Patch;
use dynemix_engine::transaction::check::check;
use dynemix_workload::{Workload, WorkloadSpec, genesis};
use std::hint::black_box;

const COUNT: usize = 4096;

fn lock_free(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lock-free");
    group.throughput(Throughput::Elements(64));
    let list = FreeList::full(1 << 16);
    let mut slots = Vec::new();
    group.bench_function("free-list, 64 out and in", |bencher| {
        bencher.iter(|| {
            slots.clear();
            list.pop_into(&mut slots, 64);
            list.push(&slots);
        });
    });
}

fn transactions(criterion: &mut Criterion) {
    let spec =
        WorkloadSpec { seed: 1, accounts: COUNT as u64, invalid_share: 0.0, invalid_senders: (1, 1), expires_slot: 9 };
    let cells = Workload::new(&spec, &[1; 32], COUNT as u64, |_| ()).cells;
    let parameters = ChainParameters::default();
    let mut group = criterion.benchmark_group("transaction");
    group.throughput(Throughput::Elements(COUNT as u64));
    group.bench_function("check", |bencher| {
        bencher.iter(|| cells.iter().filter(|cell| check(cell, &[], &parameters, 1).is_ok()).count())
    });
    group.bench_function("id", |bencher| {
        bencher.iter(|| cells.iter().fold(0u8, |sum, cell| sum ^ cell.id(&[1; 32])[0]))
    });
}

fn state(criterion: &mut Criterion) {
    let accounts = genesis(1, 100_000);
    let memory = HeapMemory::new(StateLayout::new(100_000));
    let mut state = State::genesis(memory, &accounts, SUPPLY_GENESIS, HashSeed::from_number(1)).expect("distinct keys");
    let mut group = criterion.benchmark_group("state");
    group.throughput(Throughput::Elements(COUNT as u64));
    let mut found = vec![None; COUNT];
    group.bench_function("find", |bencher| bencher.iter(|| state.find_all(COUNT, |i| &accounts[17 * i].0, &mut found)));
    group.bench_function("rebuild tree, 100 000 accounts", |bencher| bencher.iter(|| state.rebuild_tree()));
    let mut patch = Patch::default();
    patch.delta.debits.accounts = (0..COUNT as u32).map(|i| 20 * i).collect();
    patch.delta.debits.amounts = (0..COUNT as u64).map(|i| 1_000_000 + i * i).collect();
    let mut wire = Vec::new();
    patch.encode(&mut wire);
    group.bench_function("decode patch", |bencher| {
        bencher.iter(|| Patch::decode(black_box(&wire), COUNT).expect("our own encoding"))
    });
}

criterion_group!(parts, lock_free, transactions, state);
criterion_main!(parts);
