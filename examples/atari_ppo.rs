//! PPO on images of an Atari game, with the settings of CleanRL.
//!
//! `cargo run --release --example atari_ppo -- Pong` (see `--help`), with a Python that has `gymnasium`, `ale-py` and
//! `opencv-python-headless`

#[path = "common/program.rs"]
mod program;

use std::f64::consts::SQRT_2;
use std::path::PathBuf;

use clap::Parser;
use rekindle::algorithms::{RunConfig, VideoConfig};
use rekindle::prelude::*;
use serde_json::{Value, json};

/// Trains PPO in a game of the Arcade Learning Environment.
#[derive(Parser)]
#[command(
    after_help = "The interpreter is that of the environment variable REKINDLE_PYTHON, of the \
                        active virtual environment, or `python3`."
)]
struct Args {
    /// Name of the game, such as `Pong` or `SpaceInvaders`
    #[arg(default_value = "Pong")]
    game: String,
    /// Environment steps of training, of four frames each
    #[arg(long, default_value_t = 10_000_000)]
    steps: u64,
    /// Mean return of the last 100 episodes at which training ends
    #[arg(long, allow_negative_numbers = true)]
    stop_at: Option<f64>,
    /// Number of environments, shared by one worker process per core
    #[arg(long, default_value_t = 8)]
    num_envs: usize,
    /// Seed of environments, actions, parameters and minibatches
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
    /// Record an episode of each evaluation in `videos/` of the run
    #[arg(long)]
    video: bool,
    /// Directory in which the folder of the run is created
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
}

fn main() -> Result<(), MainError> {
    let args = Args::parse();
    program::show_warnings();
    // `AtariPreprocessing` skips frames itself. Gymnasium's defaults repeat an action at random.
    let game = EnvConfig::new()
        .with("frameskip", 1)
        .with("repeat_action_probability", 0.0)
        .with("wrappers", vec!["AtariPreprocessing"]);
    let config = PpoConfig::new()
        .environment(format!("gymnasium:ALE/{}-v5", args.game))
        .env_config(game)
        .env_runners(|e| {
            e.num_envs_per_env_runner(args.num_envs)
                .env_to_module_connector(ConnectorConfig::frame_stacking(4))
                // The sign of each reward, as in most work on Atari.
                .env_to_module_connector(ConnectorConfig::clip_rewards(None))
        })
        .model("vf_share_layers", true)
        .model(
            "conv_filters",
            json!([[32, 8, 4, "valid"], [64, 4, 2, "valid"], [64, 3, 1, "valid"]]),
        )
        .model("conv_fcnet_hiddens", vec![512])
        .model("conv_kernel_initializer", orthogonal(SQRT_2))
        .model("conv_bias_initializer", json!({"type": "zeros"}))
        .model("head_fcnet_kernel_initializer", orthogonal(1.0))
        .model("head_fcnet_bias_initializer", json!({"type": "zeros"}))
        .model("pi_output_kernel_initializer", orthogonal(0.01))
        .training(|t| {
            t.lr([(0, 2.5e-4), (args.steps, 0.0)])
                .train_batch_size(128 * args.num_envs)
                .minibatch_size(32 * args.num_envs)
                .num_epochs(4)
                .gamma(0.99)
                .lambda_(0.95)
                .clip_param(0.1)
                .vf_clip_param(f64::INFINITY)
                .vf_loss_coeff(0.5)
                .entropy_coeff(0.01)
                .use_kl_loss(false)
                .grad_clip(0.5)
                .optimizer(OptimizerConfig::adam(1e-5))
        })
        .evaluation(|e| {
            e.evaluation_interval(200)
                .evaluation_duration(2)
                .evaluation_config(|c| c.num_envs_per_env_runner(2))
                .evaluation_video(args.video.then(VideoConfig::default))
        })
        .fault_tolerance(|f| f.restart_failed_sub_environments(true))
        .seed(args.seed);
    let run = RunConfig::default()
        .max_env_steps(args.steps)
        .stop_value(args.stop_at)
        .checkpoint_interval(100);
    let algo = config.build(&DeviceSpec::Cpu.open()?)?;
    let mut algo = algo.with_run_folder(&args.runs, run.clone())?;
    loop {
        let result = algo.train()?;
        let metric = |key: &str| result.get(key).unwrap_or(f64::NAN);
        if algo.iteration().is_multiple_of(10) {
            println!(
                "{:>9} steps, mean return {:>7.1}, {:>5.0} steps/s",
                algo.env_steps(),
                metric("env_runners/episode_return_mean"),
                algo.env_steps() as f64 / metric("time_total_s"),
            );
        }
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

/// Initial weights of CleanRL.
fn orthogonal(gain: f64) -> Value {
    json!({"type": "orthogonal", "gain": gain})
}
