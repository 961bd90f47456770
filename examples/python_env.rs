//! A custom environment in Python: the class in `examples/python/grid_world.py`, trained to its optimum.
//!
//! `cargo run --release --example python_env`, with a Python that has `gymnasium`

#[path = "common/program.rs"]
mod program;

use rekindle::prelude::*;

/// Settings for PPO in the grid world. The id names a Python module and a class in this module.
pub(crate) fn config(seed: u64) -> PpoConfig {
    // The directory of the module, independent of the working directory.
    let modules = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/python");
    let settings = EnvConfig::new()
        .with("python_path", vec![modules])
        // Names in `gymnasium.wrappers`, innermost first.
        .with("wrappers", vec![serde_json::json!({"TimeLimit": {"max_episode_steps": 50}})])
        // A keyword argument of the class.
        .with("size", 5);
    PpoConfig::new()
        .environment("python:grid_world:GridWorld")
        .env_config(settings)
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .model("fcnet_hiddens", vec![64])
        .training(|t| t.lr(5e-3).train_batch_size(1024).minibatch_size(256).num_epochs(6))
        .evaluation(|e| e.evaluation_duration(100))
        // An exception or a dead worker loses only the episodes of the environments that failed.
        .fault_tolerance(|f| f.restart_failed_sub_environments(true))
        .seed(seed)
}

/// Trains until 100 greedy episodes all reach the optimum, for at most `max_steps` environment steps.
/// Returns the algorithm and the mean return of these episodes.
pub(crate) fn train(max_steps: u64, seed: u64) -> Result<(Algorithm, f64), MainError> {
    let mut algo = config(seed).build(&DeviceSpec::Cpu.open()?)?;
    loop {
        algo.train()?;
        let evaluation = algo.evaluate()?;
        if evaluation.min_return() >= 1.0 || algo.env_steps() >= max_steps {
            return Ok((algo, evaluation.mean_return()));
        }
    }
}

#[allow(dead_code, reason = "a test calls `train` instead")]
fn main() -> Result<(), MainError> {
    let about =
        "Trains PPO in an environment written in Python to its optimum, saves and restores it.";
    program::no_arguments("python_env", about);
    program::show_warnings();
    let (algo, mean) = train(100_000, 0)?;
    println!("greedy return after {} steps: {mean:.2} of 1.00", algo.env_steps());

    // The checkpoint names Python code to run, so restoring it needs permission.
    algo.save_to_path("runs/python_env")?;
    let device = DeviceSpec::Cpu.open()?;
    let mut restored =
        Algorithm::from_checkpoint_with::<PpoTraining>("runs/python_env", &device, |config| {
            config.allow_external_environments(true)
        })?;
    let evaluation = restored.evaluate()?;
    println!("greedy return after restoring: {:.2}", evaluation.mean_return());
    Ok(())
}
