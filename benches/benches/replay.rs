//! Replay buffers of a million rows: storing, drawing and saving.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rekindle::checkpoint;
use rekindle::learner::replay::{PrioritizedConfig, TransitionSpec};
use rekindle::prelude::*;
use rekindle_benches::replay::{CAPACITY, EPISODE, MINIBATCH, episode, full};
use rekindle_benches::{Outcome, run};

fn replay(c: &mut Criterion) -> Outcome {
    let mut group = c.benchmark_group("replay");
    let spec = TransitionSpec::new(0.99);
    let of = [("uniform", None), ("prioritized", Some(PrioritizedConfig::default()))];
    for (name, prioritized) in of {
        let mut buffer = full(prioritized.clone())?;
        let mut rng = Generator::from_seed(0);
        group.throughput(Throughput::Elements(EPISODE as u64));
        let steps = episode(1_000_000)?;
        group.bench_function(format!("push_{EPISODE}_{name}"), |b| {
            b.iter(|| buffer.push(&steps));
        });
        group.throughput(Throughput::Elements(MINIBATCH as u64));
        group.bench_function(format!("sample_{MINIBATCH}_{name}"), |b| {
            b.iter(|| buffer.sample(MINIBATCH, &spec, 0, &mut rng));
        });
        let rows: Vec<usize> = (0..MINIBATCH).map(|i| i * 3011 % CAPACITY).collect();
        let errors = vec![0.5; MINIBATCH];
        group.bench_function(format!("set_errors_{MINIBATCH}_{name}"), |b| {
            b.iter(|| buffer.set_errors(&rows, &errors));
        });
        group.throughput(Throughput::Elements(CAPACITY as u64));
        group.sample_size(10);
        let folder = tempfile::tempdir()?;
        let state = || buffer.get_state();
        // A new buffer has not been saved anywhere.
        group.bench_function(format!("save_{name}"), |b| {
            let fresh = || full(prioritized.clone());
            b.iter_batched(
                fresh,
                |buffer| {
                    Ok::<_, Box<dyn std::error::Error>>(checkpoint::write(
                        folder.path().join("a"),
                        &buffer?.get_state()?,
                    )?)
                },
                BatchSize::PerIteration,
            );
        });
        group.bench_function(format!("save_unchanged_{name}"), |b| {
            b.iter(|| {
                Ok::<_, Box<dyn std::error::Error>>(checkpoint::write(
                    folder.path().join("b"),
                    &state()?,
                )?)
            });
        });
    }
    group.finish();
    Ok(())
}

fn all(c: &mut Criterion) {
    run(c, &[("replay", replay)]);
}

criterion_group!(benches, all);
criterion_main!(benches);
