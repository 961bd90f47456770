//! What was recorded on the device.

use burn::prelude::*;
use rekindle_core::AnyTensor;
use rekindle_core::any_tensor::to_f32;

use crate::Result;

/// `T` steps of `N` copies on their device; nothing in it was read by the host.
///
/// # Shapes
/// Rows are time-major: row `t·N + n` is step `t` of copy `n`.
#[derive(Debug, Clone)]
pub struct TensorRollout {
    /// What actions were chosen from, `[T·N, O]`.
    pub observations: Tensor<2>,
    /// What they led to, `[T·N, O]`: the final observation where an episode ended.
    pub next_observations: Tensor<2>,
    /// Actions as they were sampled, `[T·N]` or `[T·N, A]`.
    pub actions: AnyTensor,
    /// What they were drawn from, `[T·N, inputs]`.
    pub action_dist_inputs: Tensor<2>,
    /// Their log-probabilities or log-densities, `[T·N]`.
    pub action_logp: Tensor<1>,
    /// `[T, N]`.
    pub rewards: Tensor<2>,
    /// 1 where the environment ended the episode, else 0, `[T, N]`.
    pub terminated: Tensor<2>,
    /// 1 where the episode ended, for either reason, else 0, `[T, N]`.
    pub done: Tensor<2>,
    /// The sums of rewards of the running episodes, this step included, `[T, N]`.
    pub episode_returns: Tensor<2>,
}

/// The episodes that ended within a rollout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FinishedEpisodes {
    /// How many.
    pub count: f64,
    /// The sum of their returns.
    pub return_sum: f64,
}

impl FinishedEpisodes {
    /// The mean return; not a number without an episode.
    pub fn mean_return(&self) -> f64 {
        self.return_sum / self.count
    }
}

impl TensorRollout {
    /// Steps of all copies together.
    pub fn env_steps(&self) -> usize {
        self.rewards.dims().iter().product()
    }

    /// The episodes that ended; waits for the device.
    ///
    /// # Errors
    /// If the device fails.
    pub fn finished_episodes(&self) -> Result<FinishedEpisodes> {
        let returns = (self.episode_returns.clone() * self.done.clone()).sum();
        let read = to_f32(Tensor::cat(vec![self.done.clone().sum(), returns], 0))?;
        let at = |i: usize| read.get(i).copied().map_or(0.0, f64::from);
        Ok(FinishedEpisodes { count: at(0), return_sum: at(1) })
    }
}
