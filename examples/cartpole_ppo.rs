//! PPO learns CartPole. Its policy is saved, restored on its own, and evaluated.
//!
//! `cargo run --release --example cartpole_ppo` (see `--help`)

#[path = "common/program.rs"]
mod program;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rekindle::prelude::*;

/// Trains PPO on CartPole-v1 until the mean return of the last 100 episodes reaches 475, or for 300 000
/// steps.
#[derive(Parser)]
#[command(after_help = COLUMNS)]
struct Args {
    /// Seed of environments, actions, parameters and minibatches
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
    /// Number of environments stepped as one vector
    #[arg(long, default_value_t = 8)]
    num_envs: usize,
    /// Device: `auto`, `cpu`, `wgpu`, `wgpu:N`, `cuda` or `cuda:N`
    #[arg(long, default_value = "cpu")]
    device: DeviceSpec,
    /// Directory for metrics.jsonl, learning_curve.svg and checkpoint/
    #[arg(long, default_value = "runs/cartpole_ppo")]
    out: PathBuf,
}

const COLUMNS: &str = "\
Columns: environment steps and steps/s; mean, min and max return and mean length of the last 100 episodes;
losses, KL divergence and entropy; env/inf/con/lrn %: share of time in environments, inference, connectors
and learner.";

const ENV: &str = "CartPole-v1";
const TARGET_RETURN: f64 = 475.0;
const MAX_STEPS: u64 = 300_000;

fn main() -> Result<ExitCode, MainError> {
    let args = Args::parse();
    program::show_warnings();
    let device = args.device.open()?;
    fs::create_dir_all(&args.out)
        .map_err(|error| format!("cannot create directory {}: {error}", args.out.display()))?;
    let checkpoint = args.out.join("checkpoint");

    // 1. The configuration. Settings that are not named here have RLlib's defaults.
    let config = PpoConfig::new()
        .environment(ENV)
        .env_runners(|e| e.num_envs_per_env_runner(args.num_envs))
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| {
            t.lr([(0, 1e-3), (MAX_STEPS, 0.0)])
                .lambda_(0.95)
                .train_batch_size(1024)
                .minibatch_size(256)
                .num_epochs(10)
                .clip_param(0.2)
                .vf_clip_param(f64::INFINITY)
                .vf_loss_coeff(0.5)
                .entropy_coeff(0.01)
                .use_kl_loss(false)
                .grad_clip(0.5)
        })
        .seed(args.seed);

    // 2. Training, with one line per iteration above a progress bar and another one in a file.
    let bar = ProgressBar::with_draw_target(Some(MAX_STEPS), ProgressDrawTarget::stderr())
        .with_style(ProgressStyle::with_template(
            "{wide_bar} {human_pos}/{human_len} steps, at most {eta} left",
        )?);
    let columns = rekindle::algorithms::ppo::console_columns();
    let mut algo = config
        .build(&device)?
        .with_sink(ConsoleSink::new(Box::new(program::Above(bar.clone())), columns))
        .with_sink(JsonlSink::create(args.out.join("metrics.jsonl"))?);
    let mut curve = Vec::new();
    let solved = loop {
        let metrics = algo.train()?;
        bar.set_position(algo.env_steps().min(MAX_STEPS));
        let mean = metrics.get("env_runners/episode_return_mean").unwrap_or(f64::NAN);
        curve.push((algo.env_steps() as f64, mean));
        if mean >= TARGET_RETURN {
            break true;
        }
        if algo.env_steps() >= MAX_STEPS {
            break false;
        }
    };
    bar.finish_and_clear();
    let steps = algo.env_steps();
    LearningCurve::new(format!("PPO on {ENV}, seed {}", args.seed))
        .x_label("environment steps")
        .y_label("mean return of the last 100 episodes")
        .threshold(TARGET_RETURN)
        .series("PPO", &curve)
        .save(args.out.join("learning_curve.svg"))?;

    // 3. Save the whole algorithm, restore the policy alone.
    algo.save_to_path(&checkpoint)?;
    drop(algo);
    let policy =
        AnyRLModule::from_checkpoint(checkpoint.join("learner/rl_module/default_policy"), &device)?;

    // 4. Evaluate greedily on seeds that training has not seen.
    let runner = EnvRunnerConfig::new(ENV).num_envs(10).seed(args.seed + 1_000_000);
    let evaluation = evaluate(&policy, &runner, 100, SampleOptions::greedy(), &device)?;

    let last = curve.last().map_or(f64::NAN, |(_, mean)| *mean);
    println!();
    println!("steps trained             {steps:>10}");
    println!("training return, mean 100 {last:>10.1}");
    println!(
        "greedy return, mean 100   {:>10.1}  ± {:.1}, min {:.0}, max {:.0}",
        evaluation.mean_return(),
        evaluation.std_return(),
        evaluation.min_return(),
        evaluation.max_return()
    );
    println!("run directory             {:>10}", args.out.display());
    if solved && evaluation.mean_return() >= TARGET_RETURN {
        println!("solved: at least {TARGET_RETURN} in training and in evaluation");
        Ok(ExitCode::SUCCESS)
    } else {
        println!("not solved: {TARGET_RETURN} was not reached within {MAX_STEPS} steps");
        Ok(ExitCode::FAILURE)
    }
}
