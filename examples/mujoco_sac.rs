//! SAC in a robot of MuJoCo, with the settings of Stable-Baselines3.
//!
//! `cargo run --release --example mujoco_sac -- HalfCheetah-v5 --steps 300000` (see `--help`), with a Python that
//! has `gymnasium[mujoco]`

#[path = "common/program.rs"]
mod program;

use std::path::PathBuf;

use clap::Parser;
use rekindle::algorithms::{RunConfig, VideoConfig};
use rekindle::prelude::*;

/// Trains SAC in an environment of MuJoCo.
#[derive(Parser)]
#[command(
    after_help = "The interpreter is that of the environment variable REKINDLE_PYTHON, of the \
                        active virtual environment, or `python3`."
)]
struct Args {
    /// Id in Gymnasium, such as `HalfCheetah-v5` or `Hopper-v5`
    #[arg(default_value = "HalfCheetah-v5")]
    env: String,
    /// Environment steps of training
    #[arg(long, default_value_t = 300_000)]
    steps: u64,
    /// Seed of environments, actions, parameters and minibatches
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
    /// Record an episode of each evaluation in `videos/` of the run. MuJoCo then needs OpenGL, for example with
    /// `MUJOCO_GL=egl`
    #[arg(long)]
    video: bool,
    /// Directory in which the folder of the run is created
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
}

fn main() -> Result<(), MainError> {
    let args = Args::parse();
    program::show_warnings();
    let config = SacConfig::new()
        .environment(format!("gymnasium:{}", args.env))
        .training(|t| {
            t.actor_lr(3e-4)
                .critic_lr(3e-4)
                .alpha_lr(3e-4)
                .train_batch_size(256)
                .num_steps_sampled_before_learning_starts(10_000)
        })
        // Returns of training are those of random actions, too.
        .reporting(|r| r.min_sample_timesteps_per_iteration(10_000))
        .evaluation(|e| {
            e.evaluation_interval(1)
                .evaluation_duration(5)
                .evaluation_config(|c| c.num_envs_per_env_runner(5))
                .evaluation_video(args.video.then(VideoConfig::default))
        })
        .seed(args.seed);
    let run = RunConfig::default().max_env_steps(args.steps).checkpoint_interval(5);
    let algo = config.build(&DeviceSpec::Cpu.open()?)?;
    let mut algo = algo.with_run_folder(&args.runs, run.clone())?;
    loop {
        let result = algo.train()?;
        let metric = |key: &str| result.get(key).unwrap_or(f64::NAN);
        println!(
            "{:>8} steps, greedy return {:>8.1}, {:>5.0} steps/s",
            algo.env_steps(),
            metric("evaluation/env_runners/episode_return_mean"),
            algo.env_steps() as f64 / metric("time_total_s"),
        );
        if run.is_over(&algo, &result).is_some() {
            break;
        }
    }
    algo.save_run()?;
    if let Some(folder) = algo.run_folder() {
        println!("run directory {}", folder.path().display());
    }
    Ok(())
}
