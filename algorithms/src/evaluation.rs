//! Results of evaluations, and evaluation without a training stack.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use burn::prelude::Device;
use rekindle_core::{DEFAULT_MODULE_ID, ModuleId};
use rekindle_env_runner::{
    EnvRunnerConfig, EnvRunnerGroup, Experience, PolicyBundle, PublishedAt, SampleOptions,
};
use rekindle_metrics::{Metrics, MetricsLogger};
use rekindle_offline::{Estimate, Estimator};
use rekindle_rl_module::AnyRLModule;
use serde_json::{Map, Value, json};

use crate::{Algorithm, AlgorithmError, CallbackError, Result};

/// The returns that each module has by each estimator.
pub type Estimates = BTreeMap<ModuleId, BTreeMap<Estimator, Estimate>>;

/// The result of an evaluation.
///
/// Two evaluations are equal if their episodes and estimates are equal. Metrics hold wall-clock times and are not
/// compared.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Evaluation {
    /// Sum of the rewards of each episode.
    pub returns: Vec<f64>,
    /// Number of steps of each episode.
    pub lengths: Vec<usize>,
    /// Returns that were estimated from recorded data, with
    /// [`off_policy_estimation`](crate::EvaluationConfig::off_policy_estimation).
    pub estimates: Estimates,
    /// Metrics of the runners, under `env_runners/` as in training results, of the estimates, and of a custom
    /// evaluation function.
    pub metrics: Metrics,
}

impl PartialEq for Evaluation {
    fn eq(&self, other: &Self) -> bool {
        (&self.returns, &self.lengths, &self.estimates)
            == (&other.returns, &other.lengths, &other.estimates)
    }
}

impl Evaluation {
    /// Creates the result of a custom evaluation function that has measured only metrics.
    #[must_use]
    pub fn from_metrics<K: Into<String>>(metrics: impl IntoIterator<Item = (K, f64)>) -> Self {
        Self { metrics: metrics.into_iter().collect(), ..Self::default() }
    }

    /// Creates a result from the returns and lengths of the collected episodes.
    #[must_use]
    pub fn of(experience: &Experience) -> Self {
        let episodes = experience.episodes.iter();
        Self {
            returns: episodes.clone().map(|episode| episode.episode_return).collect(),
            lengths: episodes.map(|episode| episode.len).collect(),
            ..Self::default()
        }
    }

    /// Sets the estimates, and adds their metrics.
    pub(crate) fn add_estimates(&mut self, estimates: Estimates) {
        for (id, of_module) in &estimates {
            for (estimator, estimate) in of_module {
                let key = format!("off_policy_estimation/{id}/{}", estimator.name());
                self.metrics.insert(format!("{key}_low"), estimate.low);
                self.metrics.insert(format!("{key}_high"), estimate.high);
                self.metrics.insert(key, estimate.value);
            }
        }
        self.estimates = estimates;
    }

    /// Returns the estimates as plain data: `{"default_policy": {"wis": {"value": 21.3, "low": 18.2, "high": 24.1}}}`.
    #[must_use]
    pub fn estimates_as_data(&self) -> Value {
        let of_module = |of_module: &BTreeMap<Estimator, Estimate>| {
            let estimates = of_module.iter().map(|(estimator, estimate)| {
                let Estimate { value, low, high, .. } = estimate;
                (estimator.name().to_owned(), json!({"value": value, "low": low, "high": high}))
            });
            Value::Object(estimates.collect())
        };
        let modules = self.estimates.iter().map(|(id, of)| (id.clone(), of_module(of)));
        Value::Object(modules.collect::<Map<_, _>>())
    }

    /// Returns the mean return, or NaN without episodes.
    #[must_use]
    pub fn mean_return(&self) -> f64 {
        self.returns.iter().sum::<f64>() / self.returns.len() as f64
    }

    /// Returns the population standard deviation of the returns, or NaN without episodes.
    #[must_use]
    pub fn std_return(&self) -> f64 {
        let mean = self.mean_return();
        let squares = self.returns.iter().map(|r| (r - mean).powi(2)).sum::<f64>();
        (squares / self.returns.len() as f64).sqrt()
    }

    /// Returns the smallest return, or infinity without episodes.
    pub fn min_return(&self) -> f64 {
        self.returns.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// Returns the largest return, or negative infinity without episodes.
    pub fn max_return(&self) -> f64 {
        self.returns.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// Returns the mean number of steps, or NaN without episodes.
    #[must_use]
    pub fn mean_length(&self) -> f64 {
        self.lengths.iter().sum::<usize>() as f64 / self.lengths.len() as f64
    }
}

/// Plays exactly `episodes` complete episodes with a module, without a training stack.
///
/// The connectors of `config` begin without statistics. To evaluate a policy with the statistics of
/// its filter, use [`evaluate_policy`]. If it explores, the module sees 0 environment steps.
///
/// # Errors
/// If the environment is unknown, has other spaces than the module was built for
/// ([`RunnerError::ModuleSpaces`](rekindle_env_runner::RunnerError::ModuleSpaces)), or if the
/// evaluation takes longer than the time limit of `options`.
pub fn evaluate(
    module: &AnyRLModule,
    config: &EnvRunnerConfig,
    episodes: usize,
    options: SampleOptions,
    device: &Device,
) -> Result<Evaluation> {
    evaluate_episodes(module, config, PublishedAt::default(), None, episodes, options, device)
}

/// Plays exactly `episodes` complete episodes with a deployable policy: its module, its connectors
/// with frozen statistics, and its action transform.
///
/// `config` sets the environment, the number of environments and the seed.
///
/// # Errors
/// If the environment is unknown, or has other spaces than the policy was built for.
pub fn evaluate_policy(
    policy: &PolicyBundle,
    config: &EnvRunnerConfig,
    episodes: usize,
    options: SampleOptions,
    device: &Device,
) -> Result<Evaluation> {
    let transform = policy.config();
    let config = config
        .clone()
        .env_to_module(transform.env_to_module.clone())
        .module_to_env(transform.module_to_env.clone())
        .normalize_actions(transform.normalize_actions)
        .clip_actions(transform.clip_actions)
        .update_connectors(false);
    let connectors = policy.connector_state()?;
    let at = PublishedAt::new(0, policy.env_steps());
    evaluate_episodes(policy.module(), &config, at, Some(connectors), episodes, options, device)
}

fn evaluate_episodes(
    module: &AnyRLModule,
    config: &EnvRunnerConfig,
    at: PublishedAt,
    connectors: Option<Value>,
    episodes: usize,
    options: SampleOptions,
    device: &Device,
) -> Result<Evaluation> {
    let config = config.clone().metrics_num_episodes_for_smoothing(None);
    let mut group = EnvRunnerGroup::new(&config, 1, 1, device)?;
    let modules = module.as_multi_rl_module()?;
    group.set_modules(&modules, at)?;
    if let Some(connectors) = connectors {
        group.set_connector_states(&[(DEFAULT_MODULE_ID.into(), connectors)].into())?;
    }
    let experience = group.sample_episodes(episodes, options.record(false))?;
    if let Some(limit) = options.time_limit.filter(|_| experience.timed_out) {
        return Err(AlgorithmError::EvaluationTimeout {
            seconds: limit.as_secs_f64(),
            played: experience.episodes.len(),
            wanted: episodes,
            unit: "episodes",
        });
    }
    let mut evaluation = Evaluation::of(&experience);
    let mut metrics = MetricsLogger::new();
    metrics.aggregate("env_runners", group.take_metrics())?;
    evaluation.metrics = metrics.reduce();
    Ok(evaluation)
}

/// A custom evaluation function, if there is one.
///
/// The function is code, so serialized configurations omit it and comparisons of configurations
/// ignore it.
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
