//! The error of this crate.

use rekindle_catalog::CatalogError;
use rekindle_checkpoint::CheckpointError;
use rekindle_core::{ConfigError, CoreError};
use rekindle_env::{EnvError, suggestion};
use rekindle_metrics::MetricsError;
use rekindle_onnx::OnnxError;
use rekindle_rl_module::ModuleError;
use thiserror::Error;

use crate::env_runner::restarts::reason;

/// An error of a runner. Every message says what to do.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum RunnerError {
    /// A forward pass that returned nothing to act with.
    #[error(
        "the {pass} pass of module `{module}` returned neither `actions` nor `action_dist_inputs`, only [{found}]; return one of them"
    )]
    NoActions {
        /// `forward_exploration` or `forward_inference`.
        pass: &'static str,
        /// The type of the module.
        module: String,
        /// The columns it returned.
        found: String,
    },
    /// A column with the wrong number of values.
    #[error(
        "module `{module}` returned `{column}` with {found} values, expected {expected}; return one row per observation, as wide as the action distribution requires"
    )]
    ColumnSize {
        /// The type of the module.
        module: String,
        /// The column.
        column: &'static str,
        /// The number of values expected.
        expected: usize,
        /// The number of values found.
        found: usize,
    },
    /// An output of a module with another number of rows than there are observations.
    #[error(
        "module `{module}` returned `{column}` with {found} rows for {expected} observations; return one row per observation"
    )]
    OutputRows {
        /// The type of the module.
        module: String,
        /// The column.
        column: String,
        /// The number of observations.
        expected: usize,
        /// The number of rows found.
        found: usize,
    },
    /// An output of a module that appears in some steps only, or changes its layout.
    #[error(
        "the column `{column}` of the exploration pass appears in some steps only, or changes its shape or kind; return it in every pass with the same layout"
    )]
    OutputColumns {
        /// The column.
        column: String,
    },
    /// A runner that does not return in time.
    #[error(
        "runner {runner} did not return within {seconds} s (`sample_timeout_s`); raise the limit, or find out where its environment hangs"
    )]
    Late {
        /// The index of the runner.
        runner: usize,
        /// The limit, in seconds.
        seconds: f64,
    },
    /// A column that a module returned in some steps of a call.
    #[error(
        "module `{module}` returned `{column}` in some steps and not in others, so that its rows belong to no step; return it in every pass, or in none"
    )]
    ColumnOfSomeSteps {
        /// The type of the module.
        module: String,
        /// The column.
        column: &'static str,
    },
    /// A runner without a module was asked to act.
    #[error("the runner has no module to act with; call `set_module` first")]
    NoModule,
    /// A module id that does not act in this runner.
    #[error(
        "no module `{module}` acts here{}; the modules are [{known}]",
        suggestion(module, known)
    )]
    UnknownModule {
        /// The requested id.
        module: String,
        /// The ids of the modules.
        known: String,
    },
    /// A module that was built for other spaces than those it would act in.
    #[error(
        "module `{module}` was built for the {field} {expected}, but `{env}` has {found}; build it for this environment, or choose the environment that it was built for"
    )]
    ModuleSpaces {
        /// The id of the environment, the name of a tensor environment, or `BundleConfig`.
        env: String,
        /// The id of the module.
        module: String,
        /// `observation space` (after the connectors) or `action space`.
        field: &'static str,
        /// The space in the module's spec.
        expected: String,
        /// The space in the runner.
        found: String,
    },
    /// An action that is not finite. It was not sent to the environment.
    #[error(
        "{origin} chose {value} as an action in environment {index} of `{env}`; the policy has diverged, or its observations are not finite"
    )]
    InvalidAction {
        /// The id of the environment.
        env: String,
        /// Its index in the vector.
        index: usize,
        /// The number in the action.
        value: f32,
        /// The module or connector that the action comes from.
        origin: String,
    },
    /// An action outside the action space. It was not sent to the environment.
    #[error(
        "{origin} chose {value} as an action in {place}, which is not an element of {space}; return actions of that space"
    )]
    ActionOutsideSpace {
        /// The environment or row that the action is for.
        place: String,
        /// The choice.
        value: String,
        /// The space that does not have it: the action space, or a part of it.
        space: String,
        /// The module that the action comes from.
        origin: String,
    },
    /// A connector with a choice in its output that does not exist.
    #[error(
        "connector `{connector}` returned {value} in row {row}, which is not an element of {space}; correct the connector, or its `output_space`"
    )]
    ConnectorOutput {
        /// The name of the connector.
        connector: String,
        /// The row.
        row: usize,
        /// The choice.
        value: String,
        /// The space that does not have it: the output space, or a part of it.
        space: String,
    },
    /// A connector with a reward that is not finite, or too large for single precision.
    #[error(
        "connector `{connector}` turned a reward into {reward:?}, but rewards must be finite in single precision; change its settings, or correct the connector"
    )]
    ConnectorReward {
        /// The name of the connector.
        connector: String,
        /// The reward.
        reward: f64,
    },
    /// A row of outputs from which the action distribution cannot choose an action.
    #[error(
        "module `{module}` cannot act {}: {source}",
        match env {
            Some(env) => format!("in environment {row} of `{env}`"),
            None => format!("on row {row} of the observations"),
        }
    )]
    CannotAct {
        /// The type of the module.
        module: String,
        /// The id of the environment; `None` outside of environments.
        env: Option<String>,
        /// The index of the environment in its vector, or the row of the observations.
        row: usize,
        /// The error of the distribution.
        source: Box<CatalogError>,
    },
    /// A reward that is not finite, or too large for single precision.
    #[error(
        "environment {index} of `{env}` returned {}the reward {reward:?}, but rewards must be finite in single precision; repair the environment, or replace the value in a wrapper",
        agent.as_ref().map(|agent| format!("agent `{agent}` ")).unwrap_or_default()
    )]
    InvalidReward {
        /// The id of the environment.
        env: String,
        /// Its index in the vector.
        index: usize,
        /// The agent; `None` in single-agent environments.
        agent: Option<String>,
        /// The reward.
        reward: f64,
    },
    /// An invalid value of a setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Policies for a single-agent environment.
    #[error(
        "the environment `{0}` has a single agent, whose module is `default_policy`; leave out `multi_agent`, or choose a multi-agent environment"
    )]
    SingleAgent(String),
    /// A multi-agent environment without policies.
    #[error(
        "the environment `{0}` has several agents; map them to modules with `.multi_agent(…)` in an algorithm's configuration, or `multi_agent` in an `EnvRunnerConfig`"
    )]
    MultiAgentEnv(String),
    /// A number of agent steps, requested of a multi-agent environment without agents.
    #[error(
        "the multi-agent environment `{0}` has no agents, so it has no agent steps; use `Amount::Timesteps`"
    )]
    NoAgents(String),
    /// An agent that the policy mapping has no module for.
    #[error("the policy mapping has no module for agent `{0}`; add it to the table")]
    UnmappedAgent(String),
    /// A policy mapping function that is not registered in this program.
    #[error(
        "the policy mapping function `{name}` is not registered in this program; call `PolicyMapping::from_fn` with that name first (registered: [{known}]){}",
        suggestion(name, known)
    )]
    UnregisteredMapping {
        /// The name in the configuration.
        name: String,
        /// The registered names.
        known: String,
    },
    /// An agent that is mapped to a module that is not one of the policies.
    #[error(
        "agent `{agent}` is mapped to module `{module}`, which is not one of the policies [{known}]; add it to them, or map the agent to one of them{}",
        suggestion(module, known)
    )]
    UnknownPolicy {
        /// The agent.
        agent: String,
        /// Its module.
        module: String,
        /// The policies.
        known: String,
    },
    /// An agent that is mapped to a module whose spaces are unknown.
    #[error(
        "agent `{agent}` is mapped to module `{module}`, whose spaces are unknown because no agent was mapped to it in the first episodes; map an agent to it in one of the first 64 episodes of environment 0"
    )]
    ReservePolicy {
        /// The agent.
        agent: String,
        /// Its module.
        module: String,
    },
    /// A module for agents with different spaces.
    #[error(
        "module `{module}` acts for the agents [{agents}], whose spaces differ; map agents with different spaces to different modules"
    )]
    AmbiguousSpaces {
        /// The module.
        module: String,
        /// Its agents.
        agents: String,
    },
    /// An agent that is mapped to a module that acts in other spaces.
    #[error(
        "module `{module}` acts in the {field} {expected}, but the agents [{agents}] that are mapped to it have {found}; map agents to modules for their spaces"
    )]
    OtherAgentSpaces {
        /// The module.
        module: String,
        /// The agents that are mapped to it.
        agents: String,
        /// `observation space` or `action space`.
        field: &'static str,
        /// The space that the module acts in, as the environment has it.
        expected: String,
        /// The space of the agents.
        found: String,
    },
    /// A policy mapping with an agent that the environment does not have.
    #[error(
        "the policy mapping names agent `{agent}`, which `{env}` does not have; its agents are [{known}]{}",
        suggestion(agent, known)
    )]
    UnknownAgent {
        /// The id of the environment.
        env: String,
        /// The agent in the mapping.
        agent: String,
        /// The agents of the environment.
        known: String,
    },
    /// A connector name that is not in the pipeline.
    #[error(
        "the pipeline has no connector `{name}`; it has [{available}]{}",
        suggestion(name, available)
    )]
    UnknownConnector {
        /// The requested name.
        name: String,
        /// The registered names.
        available: String,
    },
    /// A connector in a configuration that is not registered in this program.
    #[error(
        "the connector `{name}` is not registered in this program; call `register_connector` first (registered: [{known}]){}",
        suggestion(name, known)
    )]
    UnregisteredConnector {
        /// The name in the configuration.
        name: String,
        /// The registered names.
        known: String,
    },
    /// A connector that does not work on a space.
    #[error("connector `{connector}` cannot work on the space {space}: {reason}")]
    ConnectorSpace {
        /// The connector.
        connector: String,
        /// The space.
        space: String,
        /// Why not.
        reason: String,
    },
    /// A connector that cannot be undone.
    #[error(
        "connector `{0}` has no inverse, which random actions and log-probabilities of given actions need; implement `Connector::invert`"
    )]
    NotInvertible(String),
    /// An action with a NaN or an infinity.
    #[error(
        "{origin} chose {value} as an action, which is not finite; the policy has diverged, or its observations are not finite"
    )]
    NonFiniteAction {
        /// The module or connector that the action comes from.
        origin: String,
        /// The first number that is not finite.
        value: f32,
    },
    /// A policy whose actions have no probabilities.
    #[error(
        "the exploration pass of module `{module}` returned no `action_dist_inputs`, only [{found}]; return them, so that actions have log-probabilities"
    )]
    NoDistribution {
        /// The type of the module.
        module: String,
        /// The columns it returned.
        found: String,
    },
    /// A saved state that does not belong to this component.
    #[error("the saved state of the {component} does not fit: {reason}")]
    InvalidState {
        /// The component.
        component: &'static str,
        /// Why not.
        reason: String,
    },
    /// A checkpoint of something other than a policy bundle.
    #[error(
        "this is not the checkpoint of a policy bundle; pass a directory that `PolicyBundle::save_to_path` wrote, make a bundle by `Algorithm::policy_bundle`, or load a module alone by `AnyRLModule::from_checkpoint`"
    )]
    NotABundle,
    /// Observations that a bundle cannot read.
    #[error(
        "the observations do not fit the observation space {space} of the policy: {source}; pass one row of that space per observation"
    )]
    WrongObservations {
        /// The observation space of the environment.
        space: String,
        /// The difference.
        source: Box<EnvError>,
    },
    /// A bundle whose policy does not reproduce its recorded actions.
    #[error(
        "the restored policy does not reproduce its recorded actions (largest relative difference {difference}); the device or this version computes differently"
    )]
    TestVector {
        /// The largest difference of an action, relative to half the width of its bounds, or to its
        /// size where it is unbounded. Infinite if a choice differs or a number is NaN.
        difference: f32,
    },
    /// A policy that cannot act on random observations, which a bundle is tested with.
    #[error(
        "the policy cannot act on observations drawn from {space}: {source}; pass observations that the policy accepts to `save_with_test_observations`"
    )]
    NoTestObservations {
        /// The observation space.
        space: String,
        /// The error of the last one.
        source: Box<Self>,
    },
    /// An environment that kept failing although it was restarted.
    #[error(
        "environment {index} of `{env}` failed {failures} times in a row without a usable step, last with: {failure}; repair the environment, since restarting it does not help"
    )]
    EnvKeepsFailing {
        /// The id of the environment.
        env: String,
        /// Its index in the vector.
        index: usize,
        /// The number of failures.
        failures: usize,
        /// The last failure.
        failure: String,
    },
    /// An environment that never began an episode.
    #[error(
        "`{env}` never began an episode: {failures} attempts failed, the last with: {failure}; correct the environment or its settings, since restarting it does not help"
    )]
    EnvNeverBegan {
        /// The id of the environment.
        env: String,
        /// The number of runners that failed.
        failures: u64,
        /// The last failure.
        failure: String,
    },
    /// A runner that kept failing although it was recreated.
    #[error(
        "runner {runner} failed after {failures} tolerated failures, and `{setting}` allows no more; the last failure: {source}; repair the cause, or raise `{setting}`"
    )]
    RunnerKeepsFailing {
        /// Index of the runner.
        runner: usize,
        /// The number of failures that were tolerated.
        failures: u64,
        /// The setting that limits them.
        setting: &'static str,
        /// The last failure.
        source: Box<Self>,
    },
    /// All runners have failed or are late.
    #[error(
        "no runner is available: all have failed, or are late for `sample_timeout_s`; repair the cause, raise the timeout, or set `restart_failed_env_runners`"
    )]
    NoHealthyRunner,
    /// Runners that were late in every call.
    #[error(
        "in {calls} consecutive calls no runner finished within `sample_timeout_s`; find out why the environments are slow, or raise `sample_timeout_s`"
    )]
    AllLate {
        /// The number of consecutive calls.
        calls: u64,
    },
    /// A callback that returned an error or panicked.
    #[error("the callback `{hook}` failed: {source}")]
    Callback {
        /// The hook.
        hook: &'static str,
        /// The error that it returned.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A recorder that failed.
    #[error("the experience of runner {runner} cannot be recorded: {source}")]
    Recording {
        /// The index of the runner.
        runner: usize,
        /// The error of the recorder.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Settings that change the spaces of the environments.
    #[error(
        "with these settings `{env}` has the {field} {found}, but the modules were built for {expected}; use settings that keep the spaces"
    )]
    OtherSpaces {
        /// The environment.
        env: String,
        /// `observation space`, `action space` or `agents`.
        field: &'static str,
        /// The space or agents that the modules were built for.
        expected: String,
        /// The space or agents of the environments with these settings.
        found: String,
    },
    /// An environment that is not registered for the device.
    #[error(
        "no tensor environment is registered as `{env}` (registered: {known}); register it with `register_tensor_env`, or step it on the host with `env_runners.on_device` false{}",
        suggestion(env, known)
    )]
    UnknownTensorEnv {
        /// The requested id.
        env: String,
        /// The registered ids.
        known: String,
    },
    /// A tensor environment that returns a tensor of another shape than its documentation asks for.
    #[error(
        "`{part}` of `{env}` returned shape {found:?} for 3 copies, and {expected:?} is required"
    )]
    TensorEnvShape {
        /// The id of the environment.
        env: String,
        /// The method, and which of its results.
        part: &'static str,
        /// The required shape.
        expected: Vec<usize>,
        /// The shape of the result.
        found: Vec<usize>,
    },
    /// A runner that panicked.
    #[error("runner {runner} panicked: {message}")]
    Panicked {
        /// Index of the runner.
        runner: usize,
        /// The message of the panic.
        message: String,
    },
    /// Work on the experience of a runner that panicked. The runner itself is healthy.
    #[error(
        "the work on the experience of runner {runner} panicked: {message}; correct the function that was passed to `start_then`"
    )]
    WorkPanicked {
        /// Index of the runner.
        runner: usize,
        /// The message of the panic.
        message: String,
    },
    /// The module failed.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// The action distribution failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A batch, tensor or device failed.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// An environment failed.
    #[error("{}", with_env(env, source))]
    Environment {
        /// The id of the environment.
        env: String,
        /// What happened.
        source: EnvError,
    },
    /// A space or buffer failed.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// A metric failed.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A checkpoint could not be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A part that cannot be exported to ONNX.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
}

impl RunnerError {
    /// Names the environment in the error of a row that cannot be acted on. `place` maps the row to
    /// the index of its environment.
    pub(crate) fn in_env(self, id: &str, place: impl FnOnce(usize) -> usize) -> Self {
        match self {
            Self::CannotAct { module, env: None, row, source } => {
                Self::CannotAct { module, env: Some(id.into()), row: place(row), source }
            }
            other => other,
        }
    }

    /// Whether a new runner may succeed where this one failed: after a breakdown of an environment
    /// ([`EnvError::is_recoverable`]) or a panic. Everything else is a mistake in a program, which a
    /// restart would only hide.
    #[must_use]
    pub fn is_recoverable(&self) -> bool {
        match self {
            Self::Environment { source, .. } | Self::Env(source) => source.is_recoverable(),
            Self::Panicked { .. } | Self::EnvKeepsFailing { .. } | Self::Late { .. } => true,
            _ => false,
        }
    }

    /// Returns the message without the environment and remedy that a reader adds.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Environment { source, .. } | Self::Env(source) => reason(source),
            Self::Panicked { message, .. } => format!("a panic: {message}"),
            Self::EnvKeepsFailing { failure, .. } => failure.clone(),
            other => other.to_string(),
        }
    }
}

/// Names the environment of an error, unless its message does.
fn with_env(env: &str, source: &EnvError) -> String {
    let message = source.to_string();
    match message.contains(&format!("`{env}`")) {
        true => message,
        false => format!("`{env}`: {message}"),
    }
}

/// A result with the error of this crate.
pub type Result<T, E = RunnerError> = std::result::Result<T, E>;
