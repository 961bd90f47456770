//! Training steps of MLPs by width, activation and batch, and a complete update of PPO.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]

use std::collections::BTreeMap;

use burn::prelude::*;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rekindle::algorithms::TrainingConfig as _;
use rekindle::catalog::{Activation, ModelBuilder};
use rekindle::core::rng::{Purpose, stream};
use rekindle::learner::{Gradients, Optimizer};
use rekindle::prelude::*;
use rekindle_benches::{Outcome, cartpole, run};

/// Forward pass, mean square, backward pass, and a step of Adam.
fn step(c: &mut Criterion) -> Outcome {
    let device = DeviceSpec::Cpu.open()?.autodiff();
    for hidden in [64, 256] {
        for (name, activation) in [("tanh", Activation::Tanh), ("relu", Activation::Relu)] {
            let config = MlpConfig {
                hidden_layer_activation: activation,
                ..MlpConfig::new(4, &[hidden, hidden], Some(2))
            };
            let mut group = c.benchmark_group(format!("training_step/{hidden}_{name}"));
            for batch in [64, 128, 512, 4096] {
                let builder = ModelBuilder::new(&device, stream(0, 0, 0, Purpose::Init));
                let mut mlp = Some(config.build(&builder).train());
                let mut optimizer = Optimizer::new(OptimizerConfig::default());
                let inputs = Tensor::<2>::ones([batch, 4], &device);
                group.throughput(Throughput::Elements(batch as u64));
                group.bench_function(BenchmarkId::from_parameter(batch), |b| {
                    b.iter(|| {
                        let module = mlp.take()?;
                        let loss = module.forward(inputs.clone()).square().mean();
                        let gradients = Gradients::take(&module, &mut loss.backward());
                        let (module, outcome) = optimizer.step(1e-4, None, module, gradients);
                        mlp = Some(module);
                        outcome.ok()
                    });
                });
            }
            group.finish();
        }
    }
    Ok(())
}

/// PPO on recorded experience: 1024 rows, 4 epochs, minibatches of 256.
fn update(c: &mut Criterion) -> Outcome {
    let device = DeviceSpec::Cpu.open()?;
    let mut group = c.benchmark_group("ppo_update_1024x4");
    group.throughput(Throughput::Elements(4 * 1024));
    for hidden in [64, 256] {
        let (mut runner, module) = cartpole(8, hidden, 0)?;
        let rollout = runner.sample(Amount::Timesteps(1024), SampleOptions::default())?;
        let data = BTreeMap::from([(DEFAULT_MODULE_ID.to_string(), vec![rollout])]);
        let training = PpoTraining::default().num_epochs(4).minibatch_size(256).lr(1e-5);
        let config = LearnerConfig::default()
            .num_epochs(4)
            .minibatch_size(256)
            .shuffle_batch_per_epoch(true);
        let module = module.as_multi_rl_module()?;
        let mut learner = Learner::new(config, move |_| training.loss(), module, &device)?;
        group.bench_function(BenchmarkId::from_parameter(hidden), |b| {
            b.iter(|| learner.update(&data, 0));
        });
    }
    group.finish();
    Ok(())
}

fn all(c: &mut Criterion) {
    run(c, &[("step", step), ("update", update)]);
}

criterion_group!(benches, all);
criterion_main!(benches);
