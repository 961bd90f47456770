//! Acting: forward pass, sampling of actions, stepping and recording, by number of environments.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rekindle::prelude::*;
use rekindle_benches::{Outcome, cartpole, run};

/// Samples 64 steps of each environment.
fn sample(c: &mut Criterion) -> Outcome {
    let mut group = c.benchmark_group("sample_cartpole");
    for num_envs in [1, 8, 64, 1024] {
        let (mut runner, _module) = cartpole(num_envs, 64, 0)?;
        group.throughput(Throughput::Elements(64 * num_envs as u64));
        group.bench_function(BenchmarkId::from_parameter(num_envs), |b| {
            b.iter(|| runner.sample(Amount::Timesteps(64 * num_envs), SampleOptions::default()));
        });
    }
    group.finish();
    Ok(())
}

fn all(c: &mut Criterion) {
    run(c, &[("sample", sample)]);
}

criterion_group!(benches, all);
criterion_main!(benches);
