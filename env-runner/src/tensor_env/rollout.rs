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
#[non_exhaustive]
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
    /// Numbers of steps of the running episodes, including this step, `[T, N]`.
    pub episode_lens: Tensor<2>,
}

/// The episodes that ended within a rollout.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
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

    /// Appends the steps that the same runner recorded next.
    ///
    /// # Errors
    /// If the kinds or shapes of the actions differ.
    pub fn extend(&mut self, next: Self) -> rekindle_core::Result<()> {
        let cat = |column: &mut Tensor<2>, next| {
            *column = Tensor::cat(vec![column.clone(), next], 0);
        };
        self.actions = AnyTensor::cat(&[self.actions.clone(), next.actions])?;
        let logp = vec![self.action_logp.clone(), next.action_logp];
        self.action_logp = Tensor::cat(logp, 0);
        for (column, next) in [
            (&mut self.observations, next.observations),
            (&mut self.next_observations, next.next_observations),
            (&mut self.action_dist_inputs, next.action_dist_inputs),
            (&mut self.rewards, next.rewards),
            (&mut self.terminated, next.terminated),
            (&mut self.done, next.done),
            (&mut self.episode_returns, next.episode_returns),
            (&mut self.episode_lens, next.episode_lens),
        ] {
            cat(column, next);
        }
        Ok(())
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
