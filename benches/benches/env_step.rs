//! Stepping environments, by their number: `cargo bench -p rekindle-benches --bench env_step`.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rekindle::env::{VectorStep, seeds_from};
use rekindle::prelude::*;
use rekindle_benches::{Outcome, run};

const ENVS: [&str; 7] = [
    "CartPole-v1",
    "Pendulum-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Acrobot-v1",
    "Catch-v0",
    "Breakout-v0",
];

fn env_step(c: &mut Criterion) -> Outcome {
    for id in ENVS {
        let mut group = c.benchmark_group(format!("env_step/{id}"));
        for width in [1, 8, 64, 1024] {
            let mut envs = make_vec(id, width)?;
            let mut step = VectorStep::new(envs.observation_space(), width);
            envs.reset(&seeds_from(Some(0), width), &mut step)?;
            let actions = Buffer::zeros(envs.action_space(), width);
            group.throughput(Throughput::Elements(width as u64));
            group.bench_function(BenchmarkId::from_parameter(width), |b| {
                b.iter(|| envs.step(&actions, &mut step));
            });
        }
        group.finish();
    }
    Ok(())
}

fn all(c: &mut Criterion) {
    run(c, &[("env_step", env_step)]);
}

criterion_group!(benches, all);
criterion_main!(benches);
