//! Metrics of the episodes that ended on the device.

use burn::prelude::*;
use rekindle_core::any_tensor::to_f32;
use rekindle_metrics::MetricsLogger;

use super::TensorRollout;
use crate::env_runner::metrics::{log_default_returns, log_episodes};
use crate::error::{Result, RunnerError};
use crate::experience::EpisodeSummary;

/// The columns of a rollout that metrics need, on the device.
#[derive(Debug)]
pub(super) struct Unread {
    done: Tensor<2>,
    returns: Tensor<2>,
    lens: Tensor<2>,
}

impl Unread {
    pub(super) fn of(rollout: &TensorRollout) -> Self {
        Self {
            done: rollout.done.clone(),
            returns: rollout.episode_returns.clone(),
            lens: rollout.episode_lens.clone(),
        }
    }

    /// Waits for the device and logs the episodes that ended, in order of time, then of the copy.
    ///
    /// # Errors
    /// [`RunnerError::InvalidReward`] if the return of an episode is not finite.
    pub(super) fn log(
        self,
        env: &str,
        metrics: &mut MetricsLogger,
        window: Option<usize>,
    ) -> Result<()> {
        let [steps, envs] = self.done.dims();
        let all = to_f32(Tensor::cat(vec![self.done, self.returns, self.lens], 0))?;
        let (done, rest) = all.split_at((steps * envs).min(all.len()));
        let (returns, lens) = rest.split_at((steps * envs).min(rest.len()));
        let mut episodes = Vec::new();
        for (row, ((done, value), len)) in done.iter().zip(returns).zip(lens).enumerate() {
            if !value.is_finite() {
                return Err(RunnerError::InvalidReward {
                    env: env.into(),
                    index: row % envs,
                    agent: None,
                    reward: f64::from(*value),
                });
            }
            if *done == 0.0 {
                continue;
            }
            let episode_return = f64::from(*value);
            episodes.push(EpisodeSummary { episode_return, len: *len as usize });
        }
        log_default_returns(metrics, &episodes, window)?;
        log_episodes(metrics, &episodes, &[], window)
    }
}
