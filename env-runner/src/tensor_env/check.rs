//! A trial of an environment, so that wrong shapes surface before the first rollout.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::prelude::*;

use super::TensorEnv;
use crate::error::{Result, RunnerError};

/// Copies in the trial.
const ENVS: usize = 3;

/// Resets and steps a few copies, and checks the shapes of all results.
///
/// # Errors
/// [`RunnerError::TensorEnvShape`]; [`RunnerError::Panicked`] if the environment panics.
pub(super) fn check(id: &str, env: &dyn TensorEnv, index: usize, device: &Device) -> Result<()> {
    catch_unwind(AssertUnwindSafe(|| try_once(id, env, device))).unwrap_or_else(|panic| {
        let message = rekindle_core::panics::message(&*panic);
        let message = format!("in a trial of `{id}` on the device: {message}");
        Err(RunnerError::Panicked { runner: index, message })
    })
}

fn try_once(id: &str, env: &dyn TensorEnv, device: &Device) -> Result<()> {
    let expect = |part, expected: &[usize], found: &[usize]| {
        if expected == found {
            return Ok(());
        }
        let [expected, found] = [expected, found].map(<[usize]>::to_vec);
        Err(RunnerError::TensorEnvShape { env: id.into(), part, expected, found })
    };
    let state = env.reset(Tensor::zeros([ENVS, env.reset_draws()], device));
    let width = state.dims()[1];
    expect("reset", &[ENVS, width], &state.dims())?;
    let features = env.observation_space().flat_dim();
    expect("observe", &[ENVS, features], &env.observe(state.clone()).dims())?;
    let numbers = match env.action_space() {
        rekindle_env::Space::Box(space) => space.shape().iter().product(),
        _ => 1,
    };
    let step = env.step(state, Tensor::zeros([ENVS, numbers], device));
    expect("step (state)", &[ENVS, width], &step.state.dims())?;
    expect("step (rewards)", &[ENVS], &step.rewards.dims())?;
    match step.terminated {
        Some(terminated) => expect("step (terminated)", &[ENVS], &terminated.dims()),
        None => Ok(()),
    }
}
