//! A custom evaluation: the returns of a policy under gravity that it was not trained with.
//!
//! `cargo run --release --example custom_evaluation`

#[path = "common/program.rs"]
mod program;

use rekindle::algorithms::CallbackError;
use rekindle::prelude::*;

// ANCHOR: function
/// Replaces the built-in evaluation. The runners have the algorithm's weights and connectors, but
/// their own environments and random streams.
fn gravities(_: &mut Algorithm, runners: &mut EnvRunnerGroup) -> Result<Evaluation, CallbackError> {
    let mut metrics = Vec::new();
    for g in [5.0, 10.0, 15.0] {
        runners.set_env_config(&EnvConfig::new().with("g", g))?;
        let played = runners.sample_episodes(20, SampleOptions::greedy())?;
        metrics.push((format!("mean_return_at_g_{g}"), Evaluation::of(&played).mean_return()));
    }
    Ok(Evaluation::from_metrics(metrics))
}
// ANCHOR_END: function

fn main() -> Result<(), MainError> {
    program::no_arguments(
        "custom_evaluation",
        "Trains PPO on Pendulum with a custom evaluation function.",
    );
    program::show_warnings();
    let config = PpoConfig::new()
        .environment("Pendulum-v1")
        .env_runners(|e| {
            e.num_envs_per_env_runner(8).env_to_module_connector(ConnectorConfig::mean_std_filter())
        })
        .training(|t| {
            t.lr(1e-3).gamma(0.9).lambda_(0.95).train_batch_size(2048).minibatch_size(256)
        })
        .evaluation(|e| e.evaluation_interval(5).custom_evaluation_function(gravities))
        .seed(0);
    let mut algo = config.build(&DeviceSpec::Cpu.open()?)?;
    for _ in 0..20 {
        let result = algo.train()?;
        let evaluated = result.iter().filter(|(key, _)| key.starts_with("evaluation/mean_return"));
        let evaluated: Vec<_> = evaluated.map(|(key, mean)| format!("{key} {mean:.0}")).collect();
        if !evaluated.is_empty() {
            println!("{:>6} steps: {}", algo.env_steps(), evaluated.join(", "));
        }
    }
    Ok(())
}
