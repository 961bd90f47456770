//! Errors of the env-runner crate.

use rekindle_catalog::CatalogError;
use rekindle_checkpoint::CheckpointError;
use rekindle_core::CoreError;
use rekindle_env::EnvError;
use rekindle_metrics::MetricsError;
use rekindle_rl_module::ModuleError;
use thiserror::Error;

use crate::episode::EpisodeError;

/// What can go wrong while acting; every message says what to do.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum RunnerError {
    /// A forward pass that put out nothing to act with.
    #[error(
        "the {pass} pass of module `{module}` put out neither `actions` nor `action_dist_inputs`, only [{found}]; return one of them"
    )]
    NoActions {
        /// `forward_exploration` or `forward_inference`.
        pass: &'static str,
        /// The type of the module.
        module: String,
        /// The columns it put out.
        found: String,
    },
    /// A column of another number of rows or values than environments ask for.
    #[error(
        "module `{module}` put out `{column}` with {found} values, {expected} were expected; return one row for each observation, as wide as the action distribution asks"
    )]
    ColumnSize {
        /// The type of the module.
        module: String,
        /// The column.
        column: &'static str,
        /// Values needed.
        expected: usize,
        /// Values found.
        found: usize,
    },
    /// A runner that was asked to act before it was given a module.
    #[error("the runner has no module to act with; call `set_module` first")]
    NoModule,
    /// A value that a setting does not allow.
    #[error("`{field}` is {value}, but {constraint}")]
    InvalidConfig {
        /// The setting.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        constraint: String,
    },
    /// Policies for an environment with one agent.
    #[error(
        "the environment `{0}` has one agent, and its module is `default_policy`; several policies need a multi-agent environment"
    )]
    SingleAgent(String),
    /// An agent that the policy mapping has no module for.
    #[error("the policy mapping has no module for agent `{0}`; add it to the table")]
    UnmappedAgent(String),
    /// A policy mapping function that this program does not know.
    #[error(
        "the policy mapping function `{name}` is not registered in this program; call `PolicyMapping::from_fn` with that name first (registered: [{known}])"
    )]
    UnregisteredMapping {
        /// The name in the configuration.
        name: String,
        /// The names there are.
        known: String,
    },
    /// An agent that is mapped to a module which does not play.
    #[error(
        "agent `{agent}` is mapped to module `{module}`, which is not one of the policies [{known}]; add it to them, or map the agent to one of them"
    )]
    UnknownPolicy {
        /// The agent.
        agent: String,
        /// Its module.
        module: String,
        /// The modules there are.
        known: String,
    },
    /// A module for agents of different spaces.
    #[error(
        "module `{module}` plays the agents [{agents}], whose spaces differ; map agents with different spaces to different modules"
    )]
    AmbiguousSpaces {
        /// The module.
        module: String,
        /// Its agents.
        agents: String,
    },
    /// A connector name that is not in the pipeline.
    #[error("there is no connector `{name}` in the pipeline; it has [{available}]")]
    UnknownConnector {
        /// The name asked for.
        name: String,
        /// The names there are.
        available: String,
    },
    /// A connector name that a configuration uses and this program does not know.
    #[error(
        "the connector `{name}` is not registered in this program; call `register_connector` first (registered: [{known}])"
    )]
    UnregisteredConnector {
        /// The name in the configuration.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A connector that cannot work on a space.
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
        "module `{module}` acts with {value}, which is not finite; the policy has diverged, or its observations are not finite"
    )]
    NonFiniteAction {
        /// The type of the module.
        module: String,
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
    /// A saved state that is not one of this component.
    #[error("the saved state of the {component} does not fit: {reason}")]
    InvalidState {
        /// The component.
        component: &'static str,
        /// Why not.
        reason: String,
    },
    /// A bundle whose policy does not act as it did when it was saved.
    #[error(
        "the restored policy does not repeat its recorded actions (largest relative difference {difference}); the device or this version computes differently"
    )]
    TestVector {
        /// The largest difference of an action, relative to half the width of its bounds, or to its
        /// size where it is unbounded. Infinite if a choice differs or a number is NaN.
        difference: f32,
    },
    /// A policy that cannot act on random observations, which a bundle is tested with.
    #[error(
        "the policy cannot act on observations drawn from {space}: {source}; give observations with `save_with_test_observations`"
    )]
    NoTestObservations {
        /// The observation space.
        space: String,
        /// The error of the last one.
        source: Box<Self>,
    },
    /// An environment that was restarted and failed again and again.
    #[error(
        "environment {env} failed {failures} times in a row without a step that could be used; the last time: {failure}; repair the environment, which restarts do not bring back"
    )]
    EnvKeepsFailing {
        /// Its place in the vector.
        env: usize,
        /// How often it failed.
        failures: usize,
        /// What it failed with last.
        failure: String,
    },
    /// A runner that was restarted and failed again and again.
    #[error(
        "runner {runner} failed, after {failures} failures that were tolerated, and `{setting}` allows no more; the last time: {source}; repair what fails, or raise `{setting}`"
    )]
    RunnerKeepsFailing {
        /// The index of the runner.
        runner: usize,
        /// The failures that were tolerated.
        failures: u64,
        /// The setting that says how many are.
        setting: &'static str,
        /// What it failed with last.
        source: Box<Self>,
    },
    /// No runner is left to ask.
    #[error(
        "no runner is left: all have failed, or work on after `sample_timeout_s`; repair what fails, raise the time-out, or set `restart_failed_env_runners`"
    )]
    NoHealthyRunner,
    /// Runners that bring nothing in time, again and again.
    #[error(
        "in {calls} calls in a row no runner brought anything within `sample_timeout_s`; find out why the environments are so slow, or raise it"
    )]
    AllLate {
        /// The calls in a row.
        calls: u64,
    },
    /// A callback that returned an error.
    #[error("the callback `{hook}` failed: {source}")]
    Callback {
        /// The hook.
        hook: &'static str,
        /// What it returned.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Settings that make environments of other spaces than those the runner has.
    #[error(
        "with these settings `{env}` has the {field} {found}, and the modules are made for {expected}; use settings that keep the spaces"
    )]
    OtherSpaces {
        /// The environment.
        env: String,
        /// `observation space`, `action space` or `agents`.
        field: &'static str,
        /// What the runner has.
        expected: String,
        /// What the settings make.
        found: String,
    },
    /// A runner that panicked.
    #[error("runner {runner} panicked: {message}")]
    Panicked {
        /// The index of the runner.
        runner: usize,
        /// What it said.
        message: String,
    },
    /// An episode was put together wrongly.
    #[error(transparent)]
    Episode(#[from] EpisodeError),
    /// The module failed.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// The action distribution failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A batch, tensor or device failed.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// The environment failed.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// A metric failed.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A checkpoint could not be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl RunnerError {
    /// Whether something broke down though it was used as it should be, so that a new runner may do
    /// better: an environment ([`EnvError::is_recoverable`]) or a panic. Everything else is a
    /// mistake in a program, which a restart would only hide.
    pub fn is_recoverable(&self) -> bool {
        match self {
            Self::Env(error) => error.is_recoverable(),
            Self::Panicked { .. } | Self::EnvKeepsFailing { .. } => true,
            _ => false,
        }
    }
}

/// A result of the env-runner crate.
pub type Result<T, E = RunnerError> = std::result::Result<T, E>;
