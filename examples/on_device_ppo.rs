//! PPO learns CartPole or Pendulum with environments that are tensor programs. Observations, actions,
//! rewards, advantages and minibatches stay on the device; the host only issues operations.
//!
//! `cargo run --release --example on_device_ppo -- --env pendulum` (see `--help`). With `--iterations`,
//! it measures and prints one line of JSON.

#[path = "common/program.rs"]
mod program;

#[path = "common/settings.rs"]
mod settings;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use rekindle::algorithms::TrainingConfig as _;
use rekindle::core::rng::{Purpose, stream};
use rekindle::env_runner::{TensorCartPole, TensorEnv, TensorEnvRunner, TensorPendulum};
use rekindle::prelude::*;
use serde_json::json;

/// Trains PPO on the device until the mean return of the episodes of a rollout reaches 475 (CartPole)
/// or -200 (Pendulum).
#[derive(Parser)]
struct Args {
    /// Environment to learn
    #[arg(long, default_value = "cartpole")]
    env: Task,
    /// Device: `auto`, `cpu`, `wgpu`, `wgpu:N`, `cuda` or `cuda:N`
    #[arg(long, default_value = "cpu")]
    device: DeviceSpec,
    /// Number of copies of the environment
    #[arg(long, default_value_t = 128)]
    num_envs: usize,
    /// Steps of each copy per iteration
    #[arg(long, default_value_t = 32)]
    rollout: usize,
    /// Rows per minibatch [default: 1024 for CartPole, 256 for Pendulum]
    #[arg(long)]
    minibatch_size: Option<usize>,
    /// Passes over the rows of each update
    #[arg(long, default_value_t = 8)]
    num_epochs: usize,
    /// Seed of environments, actions, parameters and minibatches
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
    /// Environment steps after which to give up
    #[arg(long, default_value_t = 1_500_000)]
    max_steps: u64,
    /// Measure this many iterations, after one to warm up, instead of training to the target, and
    /// print the speed as JSON
    #[arg(long)]
    iterations: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Task {
    #[value(name = "cartpole")]
    CartPole,
    Pendulum,
}

impl Task {
    fn id(self) -> &'static str {
        match self {
            Self::CartPole => "CartPole-v1",
            Self::Pendulum => "Pendulum-v1",
        }
    }

    fn minibatch_size(self, args: &Args) -> usize {
        args.minibatch_size.unwrap_or(match self {
            Self::CartPole => 1024,
            Self::Pendulum => 256,
        })
    }

    /// Mean returns that count as learned: in training, and over 100 greedy episodes. The bar for
    /// greedy episodes of Pendulum is lower because returns vary with the first state.
    fn target_returns(self) -> [f64; 2] {
        match self {
            Self::CartPole => [475.0, 475.0],
            Self::Pendulum => [-200.0, -300.0],
        }
    }

    fn training(self, args: &Args) -> PpoTraining {
        let training = settings::ppo_settings(PpoTraining::default())
            .minibatch_size(self.minibatch_size(args))
            .num_epochs(args.num_epochs)
            .train_batch_size(args.num_envs * args.rollout);
        match self {
            Self::CartPole => training.lr([(0, 2.5e-3), (args.max_steps, 0.0)]).gamma(0.99),
            Self::Pendulum => {
                training.lr([(0, 1e-3), (args.max_steps, 0.0)]).gamma(0.9).entropy_coeff(0.0)
            }
        }
    }
}

fn main() -> Result<ExitCode, MainError> {
    let args = Args::parse();
    program::show_warnings();
    match args.env {
        Task::CartPole => train(TensorCartPole::new()?, &args),
        Task::Pendulum => train(TensorPendulum::new()?, &args),
    }
}

fn train(env: impl TensorEnv, args: &Args) -> Result<ExitCode, MainError> {
    let device = args.device.open()?;

    // 1. Settings, environments, module and learner.
    let training = args.env.training(args);
    training.validate()?;
    let module = RLModuleSpec::default()
        .observation_space(env.observation_space().clone())
        .action_space(env.action_space().clone())
        .model_config(json!({ "fcnet_hiddens": [64, 64], "vf_share_layers": false }))
        .build_seeded(&device, stream(args.seed, 0, 0, Purpose::Init))?
        .as_multi_rl_module()?;
    let config = LearnerConfig { seed: args.seed, ..training.learner() };
    let mut learner = Learner::new(config, move |_| training.loss(), module, &device)?;
    let mut runner = TensorEnvRunner::new(env, args.num_envs, args.seed, &device)?;

    // 2. Rollouts and updates.
    let [target, bar] = args.env.target_returns();
    let mut meter = Meter::default();
    let mut env_steps = 0;
    let mut iteration = 0;
    let mut last = f64::NEG_INFINITY;
    loop {
        let started = Instant::now();
        let module = learner.module().module(DEFAULT_MODULE_ID)?;
        let rollout = runner.sample(module, args.rollout)?;
        env_steps += rollout.env_steps() as u64;
        let sampled = started.elapsed();
        let data = BTreeMap::from([(DEFAULT_MODULE_ID.to_owned(), TrainData::from(&rollout))]);
        let data = learner.prepare(data, env_steps)?;
        learner.learn(data, env_steps)?;
        // The host reads the rollout for the first time here, after the update.
        let finished = rollout.finished_episodes()?;
        iteration += 1;
        meter.add(iteration, rollout.env_steps(), sampled, started.elapsed());

        // All copies of Pendulum end in the same step, so most rollouts see no episode end.
        if finished.count > 0.0 {
            last = finished.mean_return();
        }
        if iteration % 10 == 0 || last >= target {
            eprintln!("iteration {iteration:>4}, {env_steps:>8} steps, mean return {last:>7.1}");
        }
        let enough = match args.iterations {
            Some(iterations) => iteration > iterations,
            None => last >= target || env_steps >= args.max_steps,
        };
        if enough {
            break;
        }
    }

    // 3. Results.
    if args.iterations.is_some() {
        println!("{}", meter.report(args));
        return Ok(ExitCode::SUCCESS);
    }
    // A rollout is too short for long episodes, so the policy plays complete ones on the CPU.
    let policy = learner.module().module(DEFAULT_MODULE_ID)?;
    let config = EnvRunnerConfig {
        num_envs: 10,
        seed: args.seed + 1_000_000,
        ..EnvRunnerConfig::new(args.env.id())
    };
    let greedy = SampleOptions::greedy();
    let played = evaluate(policy, &config, 100, greedy, &DeviceSpec::Cpu.open()?)?;
    println!("steps trained             {env_steps:>10}");
    println!("training return           {last:>10.1}");
    println!("greedy return, mean 100   {:>10.1}", played.mean_return());
    if last >= target && played.mean_return() >= bar {
        println!("learned: at least {target} in training and {bar} in evaluation");
        return Ok(ExitCode::SUCCESS);
    }
    println!("not learned: below {target} in training or {bar} in evaluation");
    Ok(ExitCode::FAILURE)
}

/// Steps and time of all iterations except the first.
#[derive(Default)]
struct Meter {
    steps: usize,
    /// Time until all operations of a rollout were issued. The device may still be computing.
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
            "workload": format!("on-device PPO, {}", args.env.id()),
            "system": "rekindle",
            "device": args.device.to_string(),
            "num_envs": args.num_envs,
            "rollout": args.rollout,
            "num_epochs": args.num_epochs,
            "minibatch_size": args.env.minibatch_size(args),
            "env_steps_per_s": self.steps as f64 / self.total.as_secs_f64(),
            "share_of_time_until_the_rollout_was_issued":
                self.sampling.as_secs_f64() / self.total.as_secs_f64(),
        })
    }
}
