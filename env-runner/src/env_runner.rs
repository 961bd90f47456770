//! The parts that single- and multi-agent runners share.
//!
//! | module | holds |
//! |---|---|
//! | `config` | [`EnvRunnerConfig`]: environment, connectors, seed |
//! | `sample` | [`Amount`] and [`SampleOptions`]: the amount and the options of a call |
//! | `fault_tolerance` | [`FaultToleranceConfig`]: handling of failed environments and runners |
//! | `acting` | a module that acts |
//! | `base` | the fields and hooks that both kinds share |
//! | `environments` | making environments by id |
//! | `checks` | rejection of invalid actions and rewards, and of modules for other spaces |
//! | `memory` | the recurrent states of a stateful module |
//! | `outputs` | the recorded outputs of a module besides its actions |
//! | `restarts` | restarting single environments of a vector |
//! | `tracking` | running episodes, endless calls and timers |
//! | `metrics` | the names under which runners report |

pub(crate) mod acting;
pub(crate) mod base;
pub(crate) mod checks;
mod config;
pub(crate) mod environments;
mod fault_tolerance;
pub(crate) mod memory;
pub(crate) mod metrics;
pub(crate) mod outputs;
pub(crate) mod restarts;
mod sample;
pub(crate) mod tracking;

use std::collections::BTreeMap;
use std::fmt::Debug;

use rekindle_checkpoint::{Checkpointable, State};
use rekindle_core::{DEFAULT_MODULE_ID, ModuleId};
use rekindle_env::{EnvConfig, Space};
use rekindle_metrics::MetricsState;
use rekindle_rl_module::MultiRLModule;
use serde_json::Value;

use crate::error::{Result, RunnerError};
use crate::experience::Experience;
use crate::multi_agent::MultiAgentConfig;
use crate::policy_bundle::PolicyBundle;

pub use config::EnvRunnerConfig;
pub use environments::is_external;
pub use fault_tolerance::FaultToleranceConfig;
pub(crate) use sample::share;
pub use sample::{Amount, SampleOptions};

/// The changes of the connectors' learned states since the last merge, by module.
pub type ConnectorDeltas = BTreeMap<ModuleId, Vec<Value>>;

/// The state of training in which weights are published to runners.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishedAt {
    /// The version of the weights.
    pub weights_seq_no: u64,
    /// Environment steps sampled since the start of training by all runners together. Modules read them
    /// while they explore ([`ExplorationContext`](rekindle_rl_module::ExplorationContext)).
    pub env_steps: u64,
}

impl PublishedAt {
    /// Creates the state of training with this version of the weights after this number of steps.
    #[must_use]
    pub fn new(weights_seq_no: u64, env_steps: u64) -> Self {
        Self { weights_seq_no, env_steps }
    }
}

/// Returns a map of the only module of a single-agent runner.
pub(crate) fn of_default_module<T>(value: T) -> BTreeMap<ModuleId, T> {
    BTreeMap::from([(DEFAULT_MODULE_ID.into(), value)])
}

/// The reason why a restored runner begins new episodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NewEpisodes {
    /// An environment did not save its state.
    NotSaved,
    /// The runner has another number of environments than the saved one.
    OtherEnvironments {
        /// Number of environments of the saved runner.
        saved: usize,
    },
}

impl NewEpisodes {
    /// Logs the reason as a warning.
    pub(crate) fn warn(self, config: &EnvRunnerConfig) {
        let (env, num_envs) = (&config.env, config.num_envs);
        match self {
            // Training does not depend on the episodes of evaluation.
            Self::NotSaved if config.in_evaluation => {}
            Self::NotSaved => tracing::warn!(
                env,
                "the checkpoint has no state of the environments, so new episodes begin and the run \
                 does not continue exactly; implement `state` and `set_state` for the environment"
            ),
            Self::OtherEnvironments { saved } => tracing::warn!(
                env,
                num_envs,
                saved_envs = saved,
                "other environments were saved: new episodes begin"
            ),
        }
    }
}

/// Steps environments with modules and records what happens; RLlib's `EnvRunner`.
///
/// A [`SingleAgentEnvRunner`](crate::SingleAgentEnvRunner) has one module, under the default id.
pub trait EnvRunner: Checkpointable<Error = RunnerError> + Debug + Send {
    /// Returns the modules that act, each with the space of its observations (after the connectors)
    /// and the space of its actions.
    fn module_spaces(&self) -> BTreeMap<ModuleId, (Space, Space)>;

    /// Sets the weights that the runner acts with from now on. Nothing is copied.
    ///
    /// # Errors
    /// If a module that acts is missing, was built for other spaces
    /// ([`RunnerError::ModuleSpaces`]), or fails to return its initial state.
    fn set_modules(&mut self, modules: &MultiRLModule, at: PublishedAt) -> Result<()>;

    /// Changes which modules act and which agents they act for. Agents keep their module until the
    /// end of their running episode.
    ///
    /// # Errors
    /// If the modules do not fit the agents, or the environment has a single agent. The runner is
    /// then unchanged.
    fn set_multi_agent(&mut self, multi_agent: MultiAgentConfig) -> Result<()>;

    /// Checks that [`set_multi_agent`](Self::set_multi_agent), and then
    /// [`set_modules`](Self::set_modules) with these modules, would succeed. Changes nothing.
    ///
    /// # Errors
    /// Their error.
    fn check_multi_agent(
        &self,
        multi_agent: &MultiAgentConfig,
        modules: &MultiRLModule,
    ) -> Result<()>;

    /// Recreates all environments with other settings, for example in a curriculum. The next call
    /// begins new episodes in them.
    ///
    /// # Errors
    /// If the environment rejects the settings, or its spaces change with them
    /// ([`RunnerError::OtherSpaces`]). The runner is then unchanged.
    fn set_env_config(&mut self, env_config: &EnvConfig) -> Result<()>;

    /// Makes the next call begin new episodes in all environments.
    fn reset_episodes(&mut self);

    /// Returns whether all environments ever began an episode. An environment that never did is probably mistaken,
    /// so a group gives up soon.
    fn has_begun(&self) -> bool {
        true
    }

    /// Continues from a saved state, as [`set_state`](Checkpointable::set_state) does. If episodes do not
    /// continue, returns why instead of logging a warning, so that a group of runners logs it once.
    ///
    /// # Errors
    /// Those of `set_state`.
    fn restore(&mut self, state: &State) -> Result<Option<NewEpisodes>>;

    /// Steps the environments until `amount` is collected.
    ///
    /// # Errors
    /// [`RunnerError::NoModule`] without a module (unless actions are random), or the error of an
    /// environment, connector, callback or forward pass. After an error the next call begins new
    /// episodes.
    fn collect(&mut self, amount: Amount, options: SampleOptions) -> Result<Experience>;

    /// Reads the episodes of earlier calls that are still on the device, for
    /// [`take_metrics`](Self::take_metrics). Waits for the device. Does nothing on the host.
    ///
    /// # Errors
    /// [`RunnerError::InvalidReward`] if the return of an episode is not finite.
    fn read_device(&mut self) -> Result<()> {
        Ok(())
    }

    /// Returns the policy of a module with its connectors, as a bundle for deployment.
    ///
    /// # Errors
    /// [`RunnerError::UnknownModule`] if no such module acts here, [`RunnerError::NoModule`] before
    /// the first [`set_modules`](Self::set_modules).
    fn policy_bundle_of(&self, module_id: &str) -> Result<PolicyBundle>;

    /// Returns the metrics logged since the last call.
    fn take_metrics(&mut self) -> MetricsState;

    /// Takes the changes of the connectors' learned states since the last merge: of those between
    /// environments and module, then of those between module and environments.
    ///
    /// # Errors
    /// If it does not serialize.
    fn take_connector_deltas(&mut self) -> Result<ConnectorDeltas>;

    /// Merges the changes of the connectors' learned states from all runners.
    ///
    /// # Errors
    /// If a change does not fit these connectors.
    fn merge_connector_deltas(&mut self, deltas: &[ConnectorDeltas]) -> Result<()>;

    /// Returns the learned states of the connectors of each module, by name. Those between module
    /// and environments, if there are any, are under `module_to_env`.
    ///
    /// # Errors
    /// If it does not serialize.
    fn connector_states(&self) -> Result<BTreeMap<ModuleId, Value>>;

    /// Replaces the learned states of the connectors of each module.
    ///
    /// # Errors
    /// If a state does not fit these connectors.
    fn set_connector_states(&mut self, states: &BTreeMap<ModuleId, Value>) -> Result<()>;
}
