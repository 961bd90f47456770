//! Recorded steps on the device.

use burn::prelude::*;
use rekindle_core::AnyTensor;
use rekindle_core::any_tensor::to_f32;

use crate::error::Result;

/// `T` steps of `N` copies, on their device.
///
/// # Shapes
/// Rows are time-major: row `t·N + n` is step `t` of copy `n`.
#[derive(Debug, Clone)]
pub struct TensorRollout {
    /// The observations that actions were chosen on, `[T·N, O]`.
    pub observations: Tensor<2>,
    /// The observations that actions led to, `[T·N, O]`. Where an episode ended, its final one.
    pub next_observations: Tensor<2>,
    /// Actions as the module sampled them, `[T·N]` or `[T·N, A]`.
    pub actions: AnyTensor,
    /// Inputs of the distributions that the actions were drawn from, `[T·N, inputs]`.
    pub action_dist_inputs: Tensor<2>,
    /// Log-probabilities or log-densities of the actions, `[T·N]`.
    pub action_logp: Tensor<1>,
    /// Rewards, `[T, N]`.
    pub rewards: Tensor<2>,
    /// 1 where the episode reached a terminal state, else 0, `[T, N]`.
    pub terminated: Tensor<2>,
    /// 1 where the episode was terminated or truncated, else 0, `[T, N]`.
    pub done: Tensor<2>,
    /// Sums of the rewards of the running episodes, including this step, `[T, N]`.
    pub episode_returns: Tensor<2>,
}

/// The episodes that ended within a rollout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FinishedEpisodes {
    /// Number of episodes.
    pub count: f64,
    /// Sum of their returns.
    pub return_sum: f64,
}

impl FinishedEpisodes {
    /// Returns the mean return; NaN without episodes.
    #[must_use]
    pub fn mean_return(&self) -> f64 {
        self.return_sum / self.count
    }
}

impl TensorRollout {
    /// Returns the number of steps of all copies.
    #[must_use]
    pub fn env_steps(&self) -> usize {
        self.rewards.dims().iter().product()
    }

    /// Returns the episodes that ended. Waits for the device.
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
