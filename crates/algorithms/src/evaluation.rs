//! Evaluation of a policy.

use burn::prelude::Device;
use rekindle_env_runner::{EnvRunnerConfig, EnvRunnerGroup, Rollout, SampleOptions};
use rekindle_rl_module::AnyRLModule;

use crate::Result;

/// Returns and lengths of evaluated episodes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluation {
    /// The sum of rewards of each episode.
    pub returns: Vec<f64>,
    /// The steps of each episode.
    pub lengths: Vec<usize>,
}

impl Evaluation {
    pub(crate) fn of(rollouts: &[Rollout]) -> Self {
        let mut evaluation = Self::default();
        for rollout in rollouts {
            for segment in &rollout.segments {
                let rewards = segment.rows().filter_map(|row| rollout.rewards.get(row));
                evaluation.returns.push(rewards.map(|r| f64::from(*r)).sum());
                evaluation.lengths.push(segment.len);
            }
        }
        evaluation
    }

    /// The mean return; NaN without episodes.
    pub fn mean_return(&self) -> f64 {
        self.returns.iter().sum::<f64>() / self.returns.len() as f64
    }

    /// The standard deviation of the returns; NaN without episodes.
    pub fn std_return(&self) -> f64 {
        let mean = self.mean_return();
        let squares = self.returns.iter().map(|r| (r - mean).powi(2)).sum::<f64>();
        (squares / self.returns.len() as f64).sqrt()
    }

    /// The smallest return; infinity without episodes.
    pub fn min_return(&self) -> f64 {
        self.returns.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The largest return; −infinity without episodes.
    pub fn max_return(&self) -> f64 {
        self.returns.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// The mean number of steps; NaN without episodes.
    pub fn mean_length(&self) -> f64 {
        self.lengths.iter().sum::<usize>() as f64 / self.lengths.len() as f64
    }
}

/// Plays `episodes` whole episodes with a module, without a training stack.
///
/// # Errors
/// If the environment is unknown or does not fit the module.
pub fn evaluate(
    module: &AnyRLModule,
    config: &EnvRunnerConfig,
    episodes: usize,
    options: SampleOptions,
    device: &Device,
) -> Result<Evaluation> {
    let mut group = EnvRunnerGroup::new(config, 1, 1, device)?;
    group.set_module(module, 0)?;
    Ok(Evaluation::of(&group.sample_episodes(episodes, options)?))
}
