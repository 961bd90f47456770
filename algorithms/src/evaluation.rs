//! Evaluation of a policy.

use std::fmt;
use std::sync::Arc;

use burn::prelude::Device;
use rekindle_env_runner::{EnvRunnerConfig, EnvRunnerGroup, Experience, SampleOptions};
use rekindle_metrics::{Metrics, MetricsLogger};
use rekindle_rl_module::AnyRLModule;

use crate::{Algorithm, CallbackError, Result};

/// What an evaluation found. Two are equal if the same was played; metrics hold times of the clock.
#[derive(Debug, Clone, Default)]
pub struct Evaluation {
    /// The sum of rewards of each episode.
    pub returns: Vec<f64>,
    /// The steps of each episode.
    pub lengths: Vec<usize>,
    /// Everything that the runners reported, under `env_runners/` (as training results do), and what
    /// else was measured.
    pub metrics: Metrics,
}

impl PartialEq for Evaluation {
    fn eq(&self, other: &Self) -> bool {
        (&self.returns, &self.lengths) == (&other.returns, &other.lengths)
    }
}

impl Evaluation {
    /// What a custom evaluation function measured.
    pub fn from_metrics<K: Into<String>>(metrics: impl IntoIterator<Item = (K, f64)>) -> Self {
        Self { metrics: metrics.into_iter().collect(), ..Self::default() }
    }

    /// The returns and lengths of the episodes in what runners collected.
    pub fn of(experience: &Experience) -> Self {
        let episodes = experience.episodes.iter();
        Self {
            returns: episodes.clone().map(|episode| episode.episode_return).collect(),
            lengths: episodes.map(|episode| episode.len).collect(),
            metrics: Metrics::new(),
        }
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
    let config = EnvRunnerConfig { metrics_num_episodes_for_smoothing: None, ..config.clone() };
    let mut group = EnvRunnerGroup::new(&config, 1, 1, device)?;
    group.set_modules(&module.as_multi_rl_module()?, 0)?;
    let mut evaluation = Evaluation::of(&group.sample_episodes(episodes, options)?);
    let mut metrics = MetricsLogger::new();
    metrics.aggregate("env_runners", group.take_metrics())?;
    evaluation.metrics = metrics.reduce();
    Ok(evaluation)
}

/// The function that evaluates in the place of the algorithm, if there is one. It is code:
/// configurations as data leave it out, and it does not count when configurations are compared.
#[derive(Clone, Default)]
pub struct EvaluationFunction(Option<Arc<Function>>);

type Function =
    dyn Fn(&mut Algorithm, &mut EnvRunnerGroup) -> Result<Evaluation, CallbackError> + Send + Sync;

impl EvaluationFunction {
    pub(crate) fn new<F>(function: F) -> Self
    where
        F: Fn(&mut Algorithm, &mut EnvRunnerGroup) -> Result<Evaluation, CallbackError>
            + Send
            + Sync
            + 'static,
    {
        Self(Some(Arc::new(function)))
    }

    pub(crate) fn get(&self) -> Option<&Arc<Function>> {
        self.0.as_ref()
    }
}

impl PartialEq for EvaluationFunction {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl fmt::Debug for EvaluationFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "a function" } else { "none" })
    }
}
