//! PPO learns Pendulum: continuous actions, and observations standardised by a running filter.
//!
//! `cargo run --release --example pendulum_ppo` (see `--help`)

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rekindle::prelude::*;

/// Trains PPO on Pendulum-v1 until the mean return of the last 100 episodes is at least -300.
#[derive(Parser)]
struct Args {
    /// Seeds environments, actions, parameters and minibatches.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Environments stepped as one vector.
    #[arg(long, default_value_t = 10)]
    num_envs: usize,
    /// `auto`, `cpu`, `wgpu`, `wgpu:N`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "cpu")]
    device: DeviceSpec,
    /// The folder for metrics.jsonl, learning_curve.svg and checkpoint/.
    #[arg(long, default_value = "runs/pendulum_ppo")]
    out: PathBuf,
}

const ENV: &str = "Pendulum-v1";
const TARGET_RETURN: f64 = -300.0;
const MAX_STEPS: u64 = 400_000;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args = Args::parse();
    let device = args.device.open().map_err(|error| error.to_string())?;
    fs::create_dir_all(&args.out)?;

    // The filter's statistics are part of the checkpoint: a policy without them would see other
    // observations than it was trained on.
    let mut algo = PpoConfig::new()
        .environment(ENV)
        .env_runners(|e| {
            e.num_envs_per_env_runner(args.num_envs)
                .env_to_module_connector(ConnectorConfig::mean_std_filter())
        })
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| {
            t.lr([(0, 1e-3), (MAX_STEPS, 1e-4)])
                .gamma(0.9)
                .lambda_(0.95)
                .train_batch_size(2000)
                .minibatch_size(64)
                .num_epochs(10)
                .vf_clip_param(f64::INFINITY)
                .vf_loss_coeff(0.5)
                .use_kl_loss(false)
                .clip_param(0.2)
                .grad_clip(0.5)
        })
        .evaluation(|e| e.evaluation_duration(100))
        .seed(args.seed)
        .build(&device)?;

    let mut console = ConsoleSink::stdout().columns(rekindle::algorithms::ppo::console_columns());
    let mut jsonl = JsonlSink::create(args.out.join("metrics.jsonl"))?;
    let bar = ProgressBar::with_draw_target(Some(MAX_STEPS), ProgressDrawTarget::stderr())
        .with_style(ProgressStyle::with_template(
            "{wide_bar} {human_pos}/{human_len} steps, {eta} left at most",
        )?);
    let mut curve = Vec::new();
    let solved = loop {
        let metrics = algo.train()?;
        bar.suspend(|| console.write(algo.iteration(), &metrics))?;
        jsonl.write(algo.iteration(), &metrics)?;
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
    LearningCurve::new(format!("PPO on {ENV}, seed {}", args.seed))
        .x_label("environment steps")
        .y_label("mean return of the last 100 episodes")
        .threshold(TARGET_RETURN)
        .series("PPO", &curve)
        .save(args.out.join("learning_curve.svg"))?;
    algo.save_to_path(args.out.join("checkpoint"))?;

    // Everything comes back, filter included, and plays 100 greedy episodes.
    let steps = algo.env_steps();
    drop(algo);
    let mut algo = Algorithm::from_checkpoint::<PpoTraining>(args.out.join("checkpoint"), &device)?;
    let evaluation = algo.evaluate()?;

    println!();
    println!("steps trained             {steps:>10}");
    println!(
        "training return, mean 100 {:>10.1}",
        curve.last().map_or(f64::NAN, |(_, mean)| *mean)
    );
    println!(
        "greedy return, mean 100   {:>10.1}  ± {:.1}, min {:.0}, max {:.0}",
        evaluation.mean_return(),
        evaluation.std_return(),
        evaluation.min_return(),
        evaluation.max_return()
    );
    println!("run folder                {:>10}", args.out.display());
    if solved {
        println!("solved: at least {TARGET_RETURN} over 100 training episodes");
        Ok(ExitCode::SUCCESS)
    } else {
        println!("not solved: {TARGET_RETURN} was not reached within {MAX_STEPS} steps");
        Ok(ExitCode::FAILURE)
    }
}
