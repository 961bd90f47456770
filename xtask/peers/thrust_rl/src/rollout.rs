//! Sampling and advantages.

use anyhow::Result;
use burn::backend::ndarray::NdArrayDevice;
use burn::tensor::{Int, Tensor, TensorData};
use thrust_rl::env::cartpole::CartPole;
use thrust_rl::env::pool::EnvPool;
use thrust_rl::policy::mlp::MlpBurnPolicy;

use crate::Backend;

const OBS_DIM: usize = 4;

/// Environments and their current observations.
pub(crate) struct Sampler {
    pool: EnvPool<CartPole>,
    observations: Vec<Vec<f32>>,
    steps: usize,
}

/// The recorded steps, one row per step and environment, in the order of time.
pub(crate) struct Rollout {
    envs: usize,
    observations: Vec<f32>,
    actions: Vec<i64>,
    log_probs: Vec<f32>,
    values: Vec<f32>,
    rewards: Vec<f32>,
    dones: Vec<bool>,
    last_values: Vec<f32>,
}

/// The tensors that a training step takes.
pub(crate) struct Batch {
    pub(crate) observations: Tensor<Backend, 2>,
    pub(crate) actions: Tensor<Backend, 1, Int>,
    pub(crate) log_probs: Tensor<Backend, 1>,
    pub(crate) values: Tensor<Backend, 1>,
    pub(crate) advantages: Tensor<Backend, 1>,
    pub(crate) returns: Tensor<Backend, 1>,
}

impl Sampler {
    pub(crate) fn new(envs: usize, steps: usize) -> Self {
        let mut pool = EnvPool::new(CartPole::new, envs);
        let observations = pool.reset();
        Self { pool, observations, steps }
    }

    /// Records `steps` steps of every environment.
    pub(crate) fn sample(
        &mut self,
        policy: &MlpBurnPolicy<Backend>,
        device: &NdArrayDevice,
    ) -> Result<Rollout> {
        let envs = self.pool.num_envs();
        let rows = envs * self.steps;
        let mut rollout = Rollout {
            envs,
            observations: Vec::with_capacity(rows * OBS_DIM),
            actions: Vec::with_capacity(rows),
            log_probs: Vec::with_capacity(rows),
            values: Vec::with_capacity(rows),
            rewards: Vec::with_capacity(rows),
            dones: Vec::with_capacity(rows),
            last_values: Vec::new(),
        };
        for _ in 0..self.steps {
            let observations = self.observations.concat();
            let (actions, log_probs, values) =
                policy.get_action_host(tensor(&observations, device));
            rollout.observations.extend(observations);
            rollout.log_probs.extend(log_probs);
            rollout.values.extend(values);
            for (env, result) in self.pool.step(&actions).into_iter().enumerate() {
                let done = result.terminated || result.truncated;
                rollout.rewards.push(result.reward);
                rollout.dones.push(done);
                self.observations[env] =
                    if done { self.pool.reset_env(env)? } else { result.observation };
            }
            rollout.actions.extend(actions);
        }
        let last = tensor(&self.observations.concat(), device);
        (_, _, rollout.last_values) = policy.get_action_host(last);
        Ok(rollout)
    }
}

impl Rollout {
    /// Advantages and returns.
    pub(crate) fn gae(&self, gamma: f32, lambda: f32) -> (Vec<f32>, Vec<f32>) {
        let mut advantages = vec![0.0; self.rewards.len()];
        for env in 0..self.envs {
            let (mut advantage, mut next_value) = (0.0, self.last_values[env]);
            for row in (env..self.rewards.len()).step_by(self.envs).rev() {
                let going_on = if self.dones[row] { 0.0 } else { 1.0 };
                let value = self.values[row];
                let delta = self.rewards[row] + gamma * next_value * going_on - value;
                advantage = delta + gamma * lambda * going_on * advantage;
                advantages[row] = advantage;
                next_value = value;
            }
        }
        let returns = advantages.iter().zip(&self.values).map(|(a, v)| a + v).collect();
        (advantages, returns)
    }

    pub(crate) fn into_batch(
        self,
        advantages: Vec<f32>,
        returns: Vec<f32>,
        device: &NdArrayDevice,
    ) -> Batch {
        let rows = self.actions.len();
        let column = |values: Vec<f32>| Tensor::from_data(TensorData::new(values, [rows]), device);
        Batch {
            observations: tensor(&self.observations, device),
            actions: Tensor::from_data(TensorData::new(self.actions, [rows]), device),
            log_probs: column(self.log_probs),
            values: column(self.values),
            advantages: column(advantages),
            returns: column(returns),
        }
    }
}

fn tensor(observations: &[f32], device: &NdArrayDevice) -> Tensor<Backend, 2> {
    let rows = observations.len() / OBS_DIM;
    Tensor::from_data(TensorData::new(observations.to_vec(), [rows, OBS_DIM]), device)
}
