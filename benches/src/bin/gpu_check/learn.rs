//! PPO learns with environments on the device.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use rekindle::prelude::*;
use rekindle_benches::Outcome;
use serde_json::json;

use crate::{settings, subject_spec};

/// Interval of the lines that say how far training is.
const PROGRESS: Duration = Duration::from_secs(5);

/// Trains PPO with environments on the device until the mean return of the last 100 episodes reaches a target.
///
/// Fails if the returns of training or of greedy episodes stay below their targets.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Environment
    #[arg(long)]
    env: Task,
    /// Copies of the environment
    #[arg(long, default_value_t = 128)]
    num_envs: usize,
    /// Steps of each copy per iteration
    #[arg(long, default_value_t = 32)]
    rollout: usize,
    /// Environment steps after which to give up
    #[arg(long, default_value_t = 1_500_000)]
    max_steps: u64,
    /// Greedy episodes after training
    #[arg(long, default_value_t = 100)]
    episodes: usize,
    /// Accept any return, to try the program with few steps
    #[arg(long)]
    toy: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Task {
    #[value(name = "cartpole")]
    CartPole,
    Pendulum,
}

impl Task {
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::CartPole => "CartPole-v1",
            Self::Pendulum => "Pendulum-v1",
        }
    }

    /// Mean returns to reach in training, and over greedy episodes. The latter vary with the first state.
    fn targets(self) -> [f64; 2] {
        match self {
            Self::CartPole => [475.0, 475.0],
            Self::Pendulum => [-200.0, -300.0],
        }
    }

    /// The settings of `examples/on_device_ppo.rs`.
    fn training(self, training: PpoTraining, args: &Args) -> PpoTraining {
        let rows = args.num_envs * args.rollout;
        let training = settings::ppo_settings(training).num_epochs(8).train_batch_size(rows);
        let until = args.max_steps;
        match self {
            Self::CartPole => {
                let training = training.lr([(0, 2.5e-3), (until, 0.0)]).gamma(0.99);
                training.minibatch_size(1024.min(rows))
            }
            Self::Pendulum => {
                let training = training.lr([(0, 1e-3), (until, 0.0)]).gamma(0.9);
                training.entropy_coeff(0.0).minibatch_size(256.min(rows))
            }
        }
    }
}

pub(crate) fn run(args: &Args) -> Outcome<bool> {
    let config = PpoConfig::new()
        .environment(args.env.id())
        .env_runners(|e| e.on_device(true).num_envs_per_env_runner(args.num_envs))
        .model("fcnet_hiddens", vec![64, 64])
        .training(|training| args.env.training(training, args))
        .evaluation(|e| e.evaluation_duration(args.episodes))
        .seed(0);
    let started = Instant::now();
    let mut algo = config.build(&subject_spec().open()?)?;
    let [target, greedy_target] = match args.toy {
        true => [f64::MIN; 2],
        false => args.env.targets(),
    };
    let (mut last, mut reported) = (f64::NEG_INFINITY, Instant::now());
    while last < target && algo.env_steps() < args.max_steps {
        // All copies of Pendulum end in the same step, so most iterations see no episode end.
        last = algo.train()?.get("env_runners/episode_return_mean").unwrap_or(last);
        if reported.elapsed() > PROGRESS {
            reported = Instant::now();
            eprintln!("{}: {} steps, return {last:.1}", args.env.id(), algo.env_steps());
        }
    }
    let steps_per_s = algo.env_steps() as f64 / started.elapsed().as_secs_f64();
    let greedy = algo.evaluate()?.mean_return();
    let passes = last >= target && greedy >= greedy_target;
    let line = json!({
        "case": args.env.id(), "passes": passes, "env_steps": algo.env_steps(),
        "training_return": last, "target": target, "greedy_return": greedy,
        "greedy_target": greedy_target, "env_steps_per_s": steps_per_s,
    });
    println!("{line}");
    Ok(passes)
}
