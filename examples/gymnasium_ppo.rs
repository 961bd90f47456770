//! PPO in any environment of Gymnasium whose observations are vectors.
//!
//! `cargo run --release --example gymnasium_ppo -- HalfCheetah-v5` (see `--help`), with a Python that has
//! `gymnasium` and the packages of the environment

#[path = "common/program.rs"]
mod program;

use std::f64::consts::SQRT_2;
use std::fs;
use std::path::PathBuf;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rekindle::prelude::*;
use serde_json::{Value, json};

/// Trains PPO in an environment of Python's Gymnasium, with the settings of CleanRL's PPO for continuous
/// actions.
#[derive(Parser)]
#[command(
    after_help = "The interpreter is that of the option `python` in --env-config, of the environment \
                        variable REKINDLE_PYTHON, of the active virtual environment, or `python3`."
)]
struct Args {
    /// Id, such as `HalfCheetah-v5` or `ale_py:ALE/Pong-ram-v5`, or `python:MODULE:CALLABLE`
    env: String,
    /// Keyword arguments and options of the environment, as a JSON object
    #[arg(long, default_value = "{}")]
    env_config: String,
    /// Environment steps of training
    #[arg(long, default_value_t = 1_000_000)]
    steps: u64,
    /// Number of environments, shared by one worker process per core
    #[arg(long, default_value_t = 8)]
    num_envs: usize,
    /// Episodes of the greedy evaluation at the end
    #[arg(long, default_value_t = 20)]
    episodes: usize,
    /// Seed of environments, actions, parameters and minibatches
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
    /// Directory for metrics.jsonl, learning_curve.svg and checkpoint/ [default: runs/gymnasium_ppo/ENV]
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> Result<(), MainError> {
    let args = Args::parse();
    program::show_warnings();
    let id = match args.env.split_once(':') {
        Some(("gymnasium" | "python", _)) => args.env.clone(),
        _ => format!("gymnasium:{}", args.env),
    };
    let folder = id.replace(['/', ':'], "-");
    let out = args.out.unwrap_or_else(|| PathBuf::from("runs/gymnasium_ppo").join(folder));
    fs::create_dir_all(&out)
        .map_err(|error| format!("cannot create directory {}: {error}", out.display()))?;
    let settings: EnvConfig = serde_json::from_str(&args.env_config)
        .map_err(|error| format!("--env-config is not a JSON object: {error}"))?;

    // The settings depend on the action space.
    rekindle::gymnasium::register();
    let is_continuous = {
        let env = rekindle::env::make_with(&id, &settings)?;
        println!("observations {}\nactions      {}", env.observation_space(), env.action_space());
        matches!(env.action_space(), Space::Box(_))
    };

    let mut config = PpoConfig::new()
        .environment(&id)
        .env_config(settings)
        .env_runners(|e| {
            // Observations and rewards of robots have very different sizes.
            e.num_envs_per_env_runner(args.num_envs)
                .env_to_module_connector(ConnectorConfig::mean_std_filter())
                .env_to_module_connector(ConnectorConfig::normalize_rewards())
        })
        .model("fcnet_hiddens", vec![64, 64])
        .model("fcnet_kernel_initializer", orthogonal(SQRT_2))
        .model("fcnet_bias_initializer", json!({"type": "zeros"}))
        .model("head_fcnet_kernel_initializer", orthogonal(1.0))
        .model("head_fcnet_bias_initializer", json!({"type": "zeros"}))
        .model("pi_output_kernel_initializer", orthogonal(0.01))
        .training(|t| {
            t.lr([(0, 3e-4), (args.steps, 0.0)])
                .train_batch_size(2048)
                .minibatch_size(64)
                .num_epochs(10)
                .gamma(0.99)
                .lambda_(0.95)
                .clip_param(0.2)
                .vf_clip_param(f64::INFINITY)
                .vf_loss_coeff(0.5)
                .use_kl_loss(false)
                .grad_clip(0.5)
                .optimizer(OptimizerConfig::adam(1e-5))
        })
        .evaluation(|e| e.evaluation_duration(args.episodes))
        .fault_tolerance(|f| f.restart_failed_sub_environments(true))
        .seed(args.seed);
    if is_continuous {
        config = config.model("free_log_std", true).normalize_actions(false).clip_actions(true);
    }

    let bar = ProgressBar::with_draw_target(Some(args.steps), ProgressDrawTarget::stderr())
        .with_style(ProgressStyle::with_template(
            "{wide_bar} {human_pos}/{human_len} steps, at most {eta} left",
        )?);
    let columns = rekindle::algorithms::ppo::console_columns();
    let mut algo = config
        .build(&DeviceSpec::Cpu.open()?)?
        .with_sink(ConsoleSink::new(Box::new(program::Above(bar.clone())), columns))
        .with_sink(JsonlSink::create(out.join("metrics.jsonl"))?);
    let mut curve = Vec::new();
    while algo.env_steps() < args.steps {
        let metrics = algo.train()?;
        bar.set_position(algo.env_steps().min(args.steps));
        if let Some(mean) = metrics.get("env_runners/episode_return_mean") {
            curve.push((algo.env_steps() as f64, mean));
        }
    }
    bar.finish_and_clear();
    LearningCurve::new(format!("PPO on {id}, seed {}", args.seed))
        .x_label("environment steps")
        .y_label("mean return of the last 100 episodes")
        .series("PPO", &curve)
        .save(out.join("learning_curve.svg"))?;
    algo.save_to_path(out.join("checkpoint"))?;

    let evaluation = algo.evaluate()?;
    println!();
    println!("steps trained           {:>10}", algo.env_steps());
    println!(
        "greedy return, mean {:<4}{:>10.1}  ± {:.1}, min {:.1}, max {:.1}",
        args.episodes,
        evaluation.mean_return(),
        evaluation.std_return(),
        evaluation.min_return(),
        evaluation.max_return()
    );
    println!("run directory           {}", out.display());
    Ok(())
}

/// Initial weights of CleanRL.
fn orthogonal(gain: f64) -> Value {
    json!({"type": "orthogonal", "gain": gain})
}
