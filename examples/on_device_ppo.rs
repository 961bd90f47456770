//! PPO learns CartPole or Pendulum with environments that are tensor programs. Observations, actions,
//! rewards, advantages and minibatches stay on the device; the host only issues operations.
//!
//! `cargo run --release --example on_device_ppo -- --env pendulum` (see `--help`).

#[path = "common/program.rs"]
mod program;

#[path = "common/settings.rs"]
mod settings;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use rekindle::prelude::*;

/// Trains PPO on the device until the mean return of the last 100 episodes reaches 475 (CartPole) or -200
/// (Pendulum).
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

    fn training(self, training: PpoTraining, args: &Args) -> PpoTraining {
        let training = settings::ppo_settings(training)
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

    // 1. The configuration: environments and experience on the device, evaluation on the host.
    let config = PpoConfig::new()
        .environment(args.env.id())
        .env_runners(|e| e.on_device(true).num_envs_per_env_runner(args.num_envs))
        .model("fcnet_hiddens", vec![64, 64])
        .training(|training| args.env.training(training, &args))
        .evaluation(|e| e.evaluation_duration(100))
        .seed(args.seed);
    let algo = config.build(&args.device.open()?)?;

    // 2. Training.
    let [target, bar] = args.env.target_returns();
    let mut algo = algo.with_sink(ConsoleSink::stdout());
    let mut last = f64::NEG_INFINITY;
    while last < target && algo.env_steps() < args.max_steps {
        // All copies of Pendulum end in the same step, so most iterations see no episode end.
        last = algo.train()?.get("env_runners/episode_return_mean").unwrap_or(last);
    }

    // 3. Results.
    let greedy = algo.evaluate()?.mean_return();
    println!("steps trained             {:>10}", algo.env_steps());
    println!("training return           {last:>10.1}");
    println!("greedy return, mean 100   {greedy:>10.1}");
    if last >= target && greedy >= bar {
        println!("learned: at least {target} in training and {bar} in evaluation");
        return Ok(ExitCode::SUCCESS);
    }
    println!("not learned: below {target} in training or {bar} in evaluation");
    Ok(ExitCode::FAILURE)
}
