//! Saving and loading an algorithm.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]

use criterion::{Criterion, criterion_group, criterion_main};
use rekindle::checkpoint;
use rekindle::prelude::*;
use rekindle_benches::{Outcome, run};

fn checkpoints(c: &mut Criterion) -> Outcome {
    let device = DeviceSpec::Cpu.open()?;
    let mut algo = PpoConfig::new().environment("CartPole-v1").seed(0).build(&device)?;
    // The optimizer has no state before the first update.
    algo.train()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("checkpoint");
    let mut group = c.benchmark_group("checkpoint");
    group.bench_function("save", |b| b.iter(|| algo.save_to_path(&path)));
    group.bench_function("read", |b| b.iter(|| checkpoint::read(&path)));
    group.bench_function("load", |b| {
        b.iter(|| Algorithm::from_checkpoint::<PpoTraining>(&path, &device));
    });
    group.finish();
    Ok(())
}

fn all(c: &mut Criterion) {
    run(c, &[("checkpoints", checkpoints)]);
}

criterion_group!(benches, all);
criterion_main!(benches);
