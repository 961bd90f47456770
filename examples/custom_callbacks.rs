//! Callbacks: a custom metric logged at every step, and a copy of the best policy.
//!
//! `cargo run --release --example custom_callbacks`

#[path = "common/program.rs"]
mod program;

use rekindle::prelude::*;

// ANCHOR: callbacks
/// Logs the mean angle of the pole.
struct PoleAngle;

impl Callbacks for PoleAngle {
    // Runners call this hook, possibly from several threads. The metric is reported as
    // `env_runners/pole_angle`.
    fn on_episode_step(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        let Some(observation) = event.observation() else { return Ok(()) };
        let angle = f64::from(observation.as_f32()?[2]).to_degrees();
        Ok(event.metrics.log_value("pole_angle", angle.abs(), Reducer::MEAN)?)
    }
}

/// Saves the best policy so far. Its mean return is a metric, because checkpoints hold metrics, and no fields of
/// callbacks.
struct KeepBest;

impl Callbacks for KeepBest {
    // Called after every iteration. The hook may read, save and change the algorithm.
    fn on_train_result(&self, algorithm: &mut Algorithm, result: &mut Metrics) -> CallbackResult {
        let mean = result.get("env_runners/episode_return_mean").unwrap_or(f64::NEG_INFINITY);
        let metrics = algorithm.metrics_logger();
        if mean > metrics.peek_or("best_return_mean", f64::NEG_INFINITY) {
            // A window of one value keeps it until the next one.
            metrics.log_value("best_return_mean", mean, Reducer::max_over(1))?;
            algorithm.module(DEFAULT_MODULE_ID)?.save_to_path("runs/custom_callbacks/best")?;
        }
        Ok(())
    }
}
// ANCHOR_END: callbacks

fn main() -> Result<(), MainError> {
    program::no_arguments(
        "custom_callbacks",
        "Trains PPO on CartPole with callbacks: a custom metric, and a copy of the best policy in runs/custom_callbacks/best.",
    );
    program::show_warnings();
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .training(|t| t.lr(1e-3).train_batch_size(1024).minibatch_size(256).num_epochs(8))
        .callbacks(PoleAngle)
        .callbacks(KeepBest)
        .seed(0);
    let mut algo = config.build(&DeviceSpec::Cpu.open()?)?;
    for _ in 0..20 {
        let result = algo.train()?;
        let of = |key| result.get(key).unwrap_or(f64::NAN);
        println!(
            "{:>6} steps, mean return {:>5.1}, pole leans {:.2} degrees",
            algo.env_steps(),
            of("env_runners/episode_return_mean"),
            of("env_runners/pole_angle"),
        );
    }

    // Checkpoints hold no code, so callbacks are passed again on restore.
    algo.save_to_path("runs/custom_callbacks/algorithm")?;
    let mut resumed = Algorithm::from_checkpoint_with::<PpoTraining>(
        "runs/custom_callbacks/algorithm",
        &DeviceSpec::Cpu.open()?,
        |config| config.callbacks(PoleAngle).callbacks(KeepBest),
    )?;
    resumed.train()?;
    Ok(())
}
