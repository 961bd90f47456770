//! Measures how fast a Python environment is stepped with random actions, and prints one line of JSON.
//!
//! `cargo run --release -p rekindle-gymnasium --example step_speed -- gymnasium:CartPole-v1 2 8 20000`: the
//! id, the workers, the environments of each, and the steps of the vector

use std::time::Instant;

use rekindle_env::{Buffer, EnvConfig, VectorEnv, VectorStep, seeds_from};
use rekindle_gymnasium::GymnasiumVectorEnv;
use serde_json::json;

/// Vectors of actions that are drawn before the measurement.
const DRAWN: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [id, workers, envs, steps] = args.as_slice() else {
        return Err("usage: step_speed ID WORKERS ENVS_PER_WORKER STEPS".into());
    };
    let (workers, envs, steps): (usize, usize, usize) =
        (workers.parse()?, envs.parse()?, steps.parse()?);
    let num_envs = workers * envs;
    let config = EnvConfig::new().with("num_workers", workers);
    let mut env = GymnasiumVectorEnv::new(id, num_envs, &config)?;
    let mut sampler = env.action_space().sampler(0);
    let mut actions = vec![Buffer::zeros(env.action_space(), num_envs); DRAWN];
    for actions in &mut actions {
        for row in 0..num_envs {
            sampler.sample_into(actions.row_mut(row))?;
        }
    }
    let mut out = VectorStep::new(env.observation_space(), num_envs);
    env.reset(&seeds_from(Some(0), num_envs), &mut out)?;
    for actions in &actions {
        env.step(actions, &mut out)?;
    }
    let start = Instant::now();
    for actions in actions.iter().cycle().take(steps) {
        env.step(actions, &mut out)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({
            "env": id,
            "workers": workers,
            "envs_per_worker": envs,
            "env_steps_per_s": (steps * num_envs) as f64 / seconds,
            "us_per_vector_step": 1e6 * seconds / steps as f64,
        })
    );
    Ok(())
}
