//! PPO learns CartPole with environments that are tensor programs: observations, actions, rewards,
//! advantages and minibatches stay on the device; the host only says what is to be computed.
//!
//! `cargo run --release --example on_device_cartpole_ppo` (see `--help`); with `--iterations` it
//! measures and prints one line of JSON.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use rekindle::algorithms::TrainingConfig as _;
use rekindle::algorithms::ppo::batch_of_tensors;
use rekindle::core::rng::{Purpose, stream};
use rekindle::env_runner::{TensorCartPole, TensorEnv as _, TensorEnvRunner};
use rekindle::prelude::*;
use serde_json::json;

/// Trains PPO on CartPole on the device until the mean return of a rollout is at least 475.
#[derive(Parser)]
struct Args {
    /// `auto`, `cpu`, `wgpu`, `wgpu:N`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "cpu")]
    device: DeviceSpec,
    /// Copies of the environment.
    #[arg(long, default_value_t = 128)]
    num_envs: usize,
    /// Steps of every copy between two updates.
    #[arg(long, default_value_t = 32)]
    rollout: usize,
    /// Rows of a minibatch.
    #[arg(long, default_value_t = 1024)]
    minibatch_size: usize,
    /// Passes over the rows of an update.
    #[arg(long, default_value_t = 8)]
    num_epochs: usize,
    /// Seeds environments, actions, parameters and minibatches.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// When to give up, in environment steps.
    #[arg(long, default_value_t = 1_500_000)]
    max_steps: u64,
    /// Runs so many iterations, however much is learnt, and prints what a second brings. The first
    /// one warms up and is not counted.
    #[arg(long)]
    iterations: Option<u64>,
}

const TARGET_RETURN: f64 = 475.0;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args = Args::parse();
    let device = args.device.open().map_err(|error| error.to_string())?;

    // 1. Settings, environments, module and learner.
    let training = PpoTraining::default()
        .lr([(0, 2.5e-3), (args.max_steps, 0.0)])
        .gamma(0.99)
        .lambda_(0.95)
        .minibatch_size(args.minibatch_size)
        .num_epochs(args.num_epochs)
        .clip_param(0.2)
        .vf_clip_param(f64::INFINITY)
        .vf_loss_coeff(0.5)
        .entropy_coeff(0.01)
        .use_kl_loss(false)
        .grad_clip(0.5)
        .train_batch_size(args.num_envs * args.rollout);
    training.validate()?;
    let env = TensorCartPole::new()?;
    let module = RLModuleSpec::default()
        .observation_space(env.observation_space().clone())
        .action_space(env.action_space().clone())
        .model_config(json!({ "fcnet_hiddens": [64, 64], "vf_share_layers": false }))
        .build_seeded(&device, stream(args.seed, 0, 0, Purpose::Init))?
        .as_multi_rl_module()?;
    let objective = training.objective(BTreeMap::new());
    let mut learner = Learner::new(training.learner(args.seed), objective, module, &device)?;
    let mut runner = TensorEnvRunner::new(env, args.num_envs, args.seed, &device)?;

    // 2. Rollouts and updates.
    let mut meter = Meter::default();
    let mut env_steps = 0;
    let mut iteration = 0;
    let last = loop {
        let started = Instant::now();
        let module = learner.module().module(DEFAULT_MODULE_ID)?;
        let rollout = runner.sample(module, args.rollout)?;
        env_steps += rollout.env_steps() as u64;
        let batch = batch_of_tensors(&training, module, &rollout)?;
        let sampled = started.elapsed();
        let batches = BTreeMap::from([(DEFAULT_MODULE_ID.to_owned(), batch)]);
        learner.update_from_batches(&batches, env_steps)?;
        // The first read of the rollout, after the update.
        let finished = rollout.finished_episodes()?;
        iteration += 1;
        meter.add(iteration, rollout.env_steps(), sampled, started.elapsed());

        let mean = finished.mean_return();
        if iteration % 10 == 0 || mean >= TARGET_RETURN {
            eprintln!("iteration {iteration:>4}, {env_steps:>8} steps, mean return {mean:>6.1}");
        }
        match args.iterations {
            Some(iterations) if iteration > iterations => break mean,
            None if mean >= TARGET_RETURN || env_steps >= args.max_steps => break mean,
            _ => {}
        }
    };

    // 3. What came of it.
    if args.iterations.is_some() {
        println!("{}", meter.report(&args));
        return Ok(ExitCode::SUCCESS);
    }
    // A rollout is too short to see long episodes: the policy plays whole ones, on the CPU.
    let policy = learner.module().module(DEFAULT_MODULE_ID)?;
    let config = EnvRunnerConfig {
        num_envs: 10,
        seed: args.seed + 1_000_000,
        ..EnvRunnerConfig::new("CartPole-v1")
    };
    let greedy = SampleOptions::greedy();
    let played = evaluate(policy, &config, 100, greedy, &DeviceSpec::Cpu.open()?)?;
    println!("steps trained             {env_steps:>10}");
    println!("training return           {last:>10.1}");
    println!("greedy return, mean 100   {:>10.1}", played.mean_return());
    if last >= TARGET_RETURN && played.mean_return() >= TARGET_RETURN {
        println!("learnt: at least {TARGET_RETURN} in training and in evaluation");
        return Ok(ExitCode::SUCCESS);
    }
    println!("not learnt: {TARGET_RETURN} was not reached within {} steps", args.max_steps);
    Ok(ExitCode::FAILURE)
}

/// Steps and seconds of all iterations but the first.
#[derive(Default)]
struct Meter {
    steps: usize,
    /// Until a rollout was asked for; the device may still be at work.
    sampling: Duration,
    total: Duration,
}

impl Meter {
    fn add(&mut self, iteration: u64, steps: usize, sampling: Duration, total: Duration) {
        if iteration > 1 {
            self.steps += steps;
            self.sampling += sampling;
            self.total += total;
        }
    }

    fn report(&self, args: &Args) -> serde_json::Value {
        json!({
            "workload": "on-device-cartpole-ppo",
            "system": "rekindle",
            "device": args.device.to_string(),
            "num_envs": args.num_envs,
            "rollout": args.rollout,
            "num_epochs": args.num_epochs,
            "minibatch_size": args.minibatch_size,
            "env_steps_per_s": self.steps as f64 / self.total.as_secs_f64(),
            "share_of_time_until_the_rollout_was_asked_for":
                self.sampling.as_secs_f64() / self.total.as_secs_f64(),
        })
    }
}
