//! Vectors of test environments.

use std::path::{Path, PathBuf};

use rekindle_env::{Buffer, EnvConfig, Space, SpaceSampler, VectorEnv, VectorStep, seeds_from};
use rekindle_gymnasium::GymnasiumVectorEnv;
use serde_json::Value as Json;

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/envs")
}

/// The options of an environment of `envs/lab.py`.
pub(crate) fn config(options: Json) -> EnvConfig {
    let config: EnvConfig = serde_json::from_value(options).unwrap();
    config.with("python_path", vec![folder().display().to_string()]).with("show_output", false)
}

/// A vector of an environment of `envs/lab.py`, or of Gymnasium.
pub(crate) fn vector(id: &str, num_envs: usize, options: Json) -> GymnasiumVectorEnv {
    GymnasiumVectorEnv::new(id, num_envs, &config(options)).unwrap()
}

pub(crate) fn step_of(env: &impl VectorEnv) -> VectorStep {
    VectorStep::new(env.observation_space(), env.num_envs())
}

/// Resets a vector with the seeds `seed`, `seed + 1`, and so on.
pub(crate) fn reset(env: &mut impl VectorEnv, seed: u64) -> VectorStep {
    let mut out = step_of(env);
    env.reset(&seeds_from(Some(seed), env.num_envs()), &mut out).unwrap();
    out
}

/// Random actions.
pub(crate) struct Actions {
    sampler: SpaceSampler,
    pub(crate) actions: Buffer,
}

impl Actions {
    pub(crate) fn new(space: &Space, num_envs: usize) -> Self {
        Self { sampler: space.sampler(7), actions: Buffer::zeros(space, num_envs) }
    }

    pub(crate) fn next(&mut self) -> &Buffer {
        for row in 0..self.actions.rows() {
            self.sampler.sample_into(self.actions.row_mut(row)).unwrap();
        }
        &self.actions
    }
}

/// Fails unless two results are equal, bit for bit.
pub(crate) fn assert_equal(a: &VectorStep, b: &VectorStep, at: &str) {
    let bits = |numbers: &[f64]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&a.rewards), bits(&b.rewards), "rewards {at}");
    assert_eq!((&a.terminated, &a.truncated), (&b.terminated, &b.truncated), "flags {at}");
    assert_same_bits(&a.observations, &b.observations, at);
    for row in (0..a.num_envs()).filter(|&row| a.is_done(row)) {
        let last = |step: &VectorStep| step.final_observations.slice(row..row + 1).unwrap();
        assert_same_bits(&last(a), &last(b), &format!("at the end of episode {row}, {at}"));
    }
}

fn assert_same_bits(a: &Buffer, b: &Buffer, at: &str) {
    assert_eq!(a, b, "observations {at}");
    for ((path, a), (_, b)) in a.leaves().into_iter().zip(b.leaves()) {
        if let (Ok(a), Ok(b)) = (a.as_f32(), b.as_f32()) {
            let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(a), bits(b), "observations {path} {at}");
        }
    }
}
