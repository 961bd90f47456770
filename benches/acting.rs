//! What training spends its time in, piece by piece: `cargo bench`.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rekindle::core::{HostBatch, checkpoint};
use rekindle::env::{VectorStep, seeds_from};
use rekindle::learner::ops::gae;
use rekindle::prelude::*;

type Outcome = Result<(), Box<dyn Error>>;

/// Steps of every environment in a vector of 64.
fn env_step(c: &mut Criterion) -> Outcome {
    let mut group = c.benchmark_group("env_step_64");
    group.throughput(Throughput::Elements(64));
    for id in ["CartPole-v1", "Pendulum-v1", "MountainCar-v0", "Acrobot-v1"] {
        let mut envs = make_vec(id, 64)?;
        let mut step = VectorStep::new(envs.observation_space(), 64);
        envs.reset(&seeds_from(Some(0), 64), &mut step)?;
        let actions = Buffer::zeros(envs.action_space(), 64);
        group.bench_function(id, |b| b.iter(|| envs.step(&actions, &mut step)));
    }
    group.finish();
    Ok(())
}

/// Acting: forward pass, sampling, stepping and recording.
fn sample(c: &mut Criterion) -> Outcome {
    let device = DeviceSpec::Cpu.open()?;
    let mut group = c.benchmark_group("sample_cartpole");
    for num_envs in [1, 8, 64, 1024] {
        let config = EnvRunnerConfig { num_envs, ..EnvRunnerConfig::new("CartPole-v1") };
        let mut runner = SingleAgentEnvRunner::new(config, 0, &device)?;
        let module = RLModuleSpec::default()
            .observation_space(runner.observation_space().clone())
            .action_space(runner.action_space().clone())
            .model_config(serde_json::json!({"fcnet_hiddens": [64, 64], "vf_share_layers": false}))
            .build(&device)?;
        runner.set_module(&module, 0)?;
        let steps = (64 * num_envs) as u64;
        group.throughput(Throughput::Elements(steps));
        group.bench_function(BenchmarkId::from_parameter(num_envs), |b| {
            b.iter(|| runner.sample(Amount::Timesteps(64 * num_envs), SampleOptions::default()));
        });
    }
    group.finish();
    Ok(())
}

/// One update of PPO on recorded experience: 1024 rows, 4 epochs, minibatches of 256.
fn update(c: &mut Criterion) -> Outcome {
    let device = DeviceSpec::Cpu.open()?;
    let mut group = c.benchmark_group("ppo_update_1024x4");
    group.throughput(Throughput::Elements(4 * 1024));
    for hidden in [64, 256] {
        let config = EnvRunnerConfig { num_envs: 8, ..EnvRunnerConfig::new("CartPole-v1") };
        let mut runner = SingleAgentEnvRunner::new(config, 0, &device)?;
        let spec = RLModuleSpec::default()
            .observation_space(runner.observation_space().clone())
            .action_space(runner.action_space().clone())
            .model_config(
                serde_json::json!({"fcnet_hiddens": [hidden, hidden], "vf_share_layers": false}),
            );
        let module = spec.build(&device)?;
        runner.set_module(&module, 0)?;
        let rollout = runner.sample(Amount::Timesteps(1024), SampleOptions::default())?;
        let data = BTreeMap::from([(DEFAULT_MODULE_ID.to_string(), vec![rollout])]);
        let training = PpoTraining::default().num_epochs(4).minibatch_size(256).lr(1e-5);
        let objective = Box::new(rekindle::algorithms::ppo::PpoObjective::new(training));
        let learner_config = LearnerConfig {
            num_epochs: 4,
            minibatch_size: Some(256),
            shuffle_batch_per_epoch: true,
            ..LearnerConfig::default()
        };
        let multi = module.as_multi_rl_module()?;
        let mut learner = Learner::new(learner_config, objective, multi, &device)?;
        group.bench_function(BenchmarkId::from_parameter(hidden), |b| {
            b.iter(|| learner.update(&data, 0));
        });
    }
    group.finish();
    Ok(())
}

/// Host loops: advantages and the gathering of a minibatch.
fn host(c: &mut Criterion) -> Outcome {
    let (rewards, values) = (vec![1.0; 128], vec![0.5; 128]);
    c.bench_function("gae_128", |b| {
        b.iter(|| gae(black_box(&rewards), black_box(&values), 0.3, 0.99, 0.95));
    });
    let device = DeviceSpec::Cpu.open()?;
    let mut batch = HostBatch::new();
    batch.insert(Columns::OBS, Buffer::from_f32(vec![0.0; 4 * 1024], &[4])?)?;
    batch.insert_f32(Columns::ADVANTAGES, vec![0.0; 1024])?;
    let rows: Vec<usize> = (0..256).map(|i| (i * 37) % 1024).collect();
    c.bench_function("gather_minibatch_256", |b| {
        b.iter(|| batch.gather_to_device(black_box(&rows), &device));
    });
    Ok(())
}

/// Saving and loading an algorithm.
fn checkpoints(c: &mut Criterion) -> Outcome {
    let device = DeviceSpec::Cpu.open()?;
    let config = PpoConfig::new().environment("CartPole-v1").seed(0);
    let algo = config.build(&device)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("checkpoint");
    c.bench_function("checkpoint_save", |b| b.iter(|| algo.save_to_path(&path)));
    c.bench_function("checkpoint_read", |b| b.iter(|| checkpoint::read(&path)));
    Ok(())
}

fn all(c: &mut Criterion) {
    for (name, bench) in [
        ("env_step", env_step as fn(&mut Criterion) -> Outcome),
        ("sample", sample),
        ("update", update),
        ("host", host),
        ("checkpoints", checkpoints),
    ] {
        if let Err(error) = bench(c) {
            eprintln!("{name} could not run: {error}");
        }
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
