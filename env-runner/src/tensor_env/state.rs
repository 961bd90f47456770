//! The saved state of a runner on a device.

use std::collections::BTreeMap;

use burn::prelude::*;
use rekindle_checkpoint::Array;
use rekindle_checkpoint::{Checkpointable, State};
use rekindle_core::Generator;
use rekindle_core::any_tensor::to_f32;
use rekindle_rl_module::ExplorationStream;
use serde::{Deserialize, Serialize};

use super::{TensorEnv, TensorEnvRunner};
use crate::error::{Result, RunnerError};

/// The plain part. Everything on the device is saved as tensors.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunnerState {
    action_rng: Generator,
    reset_rng: Generator,
    /// The streams that exploration passes drew from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    exploration_rngs: BTreeMap<usize, ExplorationStream>,
    /// Environment steps so far.
    #[serde(default)]
    env_steps: u64,
}

const STATE: &str = "state";
const ELAPSED: &str = "elapsed";
const RETURNS: &str = "returns";

impl<E: TensorEnv> Checkpointable for TensorEnvRunner<E> {
    type Error = RunnerError;

    /// Returns everything that determines the next steps of the runner. Waits for the device.
    fn get_state(&self) -> Result<State> {
        let (action_rng, reset_rng) = (self.action_rng.clone(), self.reset_rng.clone());
        let exploration_rngs = self.exploration.streams().clone();
        let env_steps = self.exploration.env_steps();
        let plain = RunnerState { action_rng, reset_rng, exploration_rngs, env_steps };
        Ok(State::from_data(&plain)?
            .with_tensor(STATE, array(self.env.state())?)
            .with_tensor(ELAPSED, array(self.env.elapsed())?)
            .with_tensor(RETURNS, array(self.returns.clone())?))
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        let RunnerState { action_rng, reset_rng, exploration_rngs, env_steps } = state.data_as()?;
        let (n, device) = (self.num_envs, &self.device);
        let of_env = tensor(state, STATE, self.env.state().dims(), device)?;
        let elapsed = tensor(state, ELAPSED, [n], device)?;
        self.returns = tensor(state, RETURNS, [n], device)?;
        self.env.set_state(of_env, elapsed);
        self.observations = self.env.observations();
        self.action_rng = action_rng;
        self.reset_rng = reset_rng;
        self.exploration.set_streams(exploration_rngs);
        self.exploration.set_env_steps(env_steps);
        Ok(())
    }
}

/// Returns the number of environments of a saved runner.
pub(super) fn saved_envs(state: &State) -> Result<usize> {
    Ok(state.tensor(ELAPSED)?.shape().first().copied().unwrap_or_default())
}

impl<E: TensorEnv> TensorEnvRunner<E> {
    /// Continues the random streams of a saved runner, and begins new episodes.
    pub(super) fn restore_streams(&mut self, state: &State) -> Result<()> {
        let RunnerState { action_rng, reset_rng, exploration_rngs, env_steps } = state.data_as()?;
        (self.action_rng, self.reset_rng) = (action_rng, reset_rng);
        self.exploration.set_streams(exploration_rngs);
        self.exploration.set_env_steps(env_steps);
        self.reset();
        Ok(())
    }
}

fn array<const D: usize>(tensor: Tensor<D>) -> Result<Array> {
    Ok(Array::new(tensor.dims(), to_f32(tensor)?)?)
}

fn tensor<const D: usize>(
    state: &State,
    name: &str,
    shape: [usize; D],
    device: &Device,
) -> Result<Tensor<D>> {
    let array = state.tensor(name)?;
    if array.shape() != shape {
        let found = array.shape();
        let reason = format!("`{name}` has shape {found:?}, this runner's has {shape:?}");
        return Err(RunnerError::InvalidState { component: "tensor env runner", reason });
    }
    Ok(Tensor::from_data(TensorData::new(array.as_slice::<f32>()?.to_vec(), shape), device))
}
