//! Loops on the host: advantages and gathering of minibatches.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rekindle::core::{CoreError, HostBatch};
use rekindle::learner::ops::gae;
use rekindle::prelude::*;
use rekindle_benches::{Outcome, run};

fn advantages(c: &mut Criterion) -> Outcome {
    let mut group = c.benchmark_group("gae");
    for steps in [128, 2048] {
        let (rewards, values) = (vec![1.0; steps], vec![0.5; steps]);
        group.throughput(Throughput::Elements(steps as u64));
        group.bench_function(BenchmarkId::from_parameter(steps), |b| {
            b.iter(|| gae(black_box(&rewards), black_box(&values), 0.3, 0.99, 0.95));
        });
    }
    group.finish();
    Ok(())
}

/// Gathers shuffled rows of a batch of 4096.
fn gather(c: &mut Criterion) -> Outcome {
    const ROWS: usize = 4096;
    let device = DeviceSpec::Cpu.open()?;
    let mut batch = HostBatch::new();
    batch.insert(Columns::OBS, Buffer::from_f32(vec![0.0; 4 * ROWS], &[4])?)?;
    batch.insert_f32(Columns::ADVANTAGES, vec![0.0; ROWS])?;
    let batch = Arc::new(batch);
    let mut group = c.benchmark_group("gather_minibatch");
    for size in [64, 256, 1024] {
        let rows: Vec<usize> = (0..size).map(|i| (i * 37) % ROWS).collect();
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                let minibatch = batch.gather_to_device(black_box(rows.clone()), &device);
                let obs = minibatch.float::<2>(Columns::OBS)?;
                Ok::<_, CoreError>((obs, minibatch.float::<1>(Columns::ADVANTAGES)?))
            });
        });
    }
    group.finish();
    Ok(())
}

fn all(c: &mut Criterion) {
    run(c, &[("advantages", advantages), ("gather", gather)]);
}

criterion_group!(benches, all);
criterion_main!(benches);
