//! What a runner is made of.

use rekindle_env::EnvConfig;
use serde::{Deserialize, Serialize};

use crate::connectors::ConnectorConfig;
use crate::metrics::SMOOTHING;
use crate::{FaultToleranceConfig, MultiAgentConfig, Result, RunnerError, SharedCallbacks};

/// Environment, connectors and seed of a runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvRunnerConfig {
    /// The id of a registered environment.
    pub env: String,
    /// Settings of the environment.
    pub env_config: EnvConfig,
    /// Environments the runner steps as one vector.
    pub num_envs: usize,
    /// The seed of all runners of a group; each keys its streams by its own index.
    pub seed: u64,
    /// Connectors between the environments and the module.
    pub env_to_module: Vec<ConnectorConfig>,
    /// Connectors between the sampled actions and the environments; scaling and clipping come after
    /// them.
    #[serde(default)]
    pub module_to_env: Vec<ConnectorConfig>,
    /// Whether the module acts in [−1, 1] and bounded continuous actions are scaled from there.
    pub normalize_actions: bool,
    /// Whether continuous actions are clipped to the bounds of their space.
    pub clip_actions: bool,
    /// Whether running statistics of connectors learn from what the runner sees.
    pub update_connectors: bool,
    /// The policies of a multi-agent environment; `None` for one agent.
    #[serde(default)]
    pub multi_agent: Option<MultiAgentConfig>,
    /// What happens when environments or runners fail.
    #[serde(default)]
    pub fault_tolerance: FaultToleranceConfig,
    /// Episodes that mean, smallest and largest return and length are about; `None` for all since the
    /// last report.
    #[serde(default)]
    pub metrics_num_episodes_for_smoothing: Option<usize>,
    /// Whether the runner evaluates, which callbacks are told.
    #[serde(default)]
    pub in_evaluation: bool,
    /// Hooks; not part of the configuration as data.
    #[serde(skip)]
    pub callbacks: SharedCallbacks,
}

impl EnvRunnerConfig {
    /// One environment with RLlib's defaults: actions are normalised, not clipped.
    pub fn new(env: impl Into<String>) -> Self {
        Self {
            env: env.into(),
            env_config: EnvConfig::new(),
            num_envs: 1,
            seed: 0,
            env_to_module: Vec::new(),
            module_to_env: Vec::new(),
            normalize_actions: true,
            clip_actions: false,
            update_connectors: true,
            multi_agent: None,
            fault_tolerance: FaultToleranceConfig::default(),
            metrics_num_episodes_for_smoothing: Some(SMOOTHING),
            in_evaluation: false,
            callbacks: SharedCallbacks::default(),
        }
    }

    /// Checks every field on its own.
    ///
    /// # Errors
    /// [`RunnerError::InvalidConfig`] with field, value and constraint.
    pub fn validate(&self) -> Result<()> {
        if self.num_envs == 0 {
            return Err(RunnerError::InvalidConfig {
                field: "num_envs_per_env_runner",
                value: "0".into(),
                constraint: "a runner needs at least one environment".into(),
            });
        }
        self.fault_tolerance.validate()
    }

    /// Checks that no connector is for a module that does not play.
    pub(crate) fn check_connectors(&self, modules: &[&str]) -> Result<()> {
        let mut connectors = self.env_to_module.iter().chain(&self.module_to_env);
        connectors.try_for_each(|connector| connector.check_modules(modules))
    }
}

/// How much a runner collects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// At least this many steps, rounded up to whole steps of the vector; episodes go on in the
    /// next call.
    Timesteps(usize),
    /// Exactly this many whole episodes, spread evenly over the environments (so that short
    /// episodes are not preferred). Starts with a reset, and the next call does too.
    Episodes(usize),
}

impl Amount {
    /// Steps of a vector of `num_envs` environments, and the episodes that each of them plays: one
    /// of the two is nothing.
    pub(crate) fn of_vector(self, num_envs: usize) -> (usize, Vec<usize>) {
        match self {
            Self::Timesteps(steps) => (steps.div_ceil(num_envs), Vec::new()),
            Self::Episodes(count) => {
                (0, (0..num_envs).map(|i| share(count, i, num_envs)).collect())
            }
        }
    }
}

/// What the `i`-th of `n` does of a whole: the first ones do one more if it does not divide.
pub(crate) fn share(whole: usize, i: usize, n: usize) -> usize {
    whole / n + usize::from(i < whole % n)
}

/// How a runner acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleOptions {
    /// Whether actions are sampled (`forward_exploration`) or taken from the deterministic twin
    /// (`forward_inference`).
    pub explore: bool,
    /// Whether actions are drawn from the action space, without a module.
    pub random_actions: bool,
    /// Whether all environments are reset first.
    pub force_reset: bool,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self { explore: true, random_actions: false, force_reset: false }
    }
}

impl SampleOptions {
    /// Greedy actions: those of the deterministic twin.
    pub fn greedy() -> Self {
        Self { explore: false, ..Self::default() }
    }
}
