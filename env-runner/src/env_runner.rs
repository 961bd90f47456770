//! What runners of any kind have in common.

use std::collections::BTreeMap;
use std::fmt::Debug;

use rekindle_checkpoint::Checkpointable;
use rekindle_core::ModuleId;
use rekindle_env::{EnvConfig, Space};
use rekindle_metrics::MetricsState;
use rekindle_rl_module::MultiRLModule;
use serde_json::Value;

use crate::{
    Amount, Experience, MultiAgentConfig, PolicyBundle, Result, RunnerError, SampleOptions,
};

/// What the connectors of each module have learnt since the last merge.
pub type ConnectorDeltas = BTreeMap<ModuleId, Vec<Value>>;

/// Steps environments with modules and records what happens; RLlib's `EnvRunner`.
///
/// A [`SingleAgentEnvRunner`](crate::SingleAgentEnvRunner) has one module, under the default id.
pub trait EnvRunner: Checkpointable<Error = RunnerError> + Debug + Send {
    /// The index that keys its random streams.
    fn index(&self) -> usize;

    /// The modules that play, with the space of the observations as each sees them and the space of
    /// its actions.
    fn module_spaces(&self) -> BTreeMap<ModuleId, (Space, Space)>;

    /// Gives the runner the weights it acts with from now on; nothing is copied.
    ///
    /// # Errors
    /// If a module that plays is missing, or cannot say its initial state.
    fn set_modules(&mut self, modules: &MultiRLModule, weights_seq_no: u64) -> Result<()>;

    /// Changes which modules play and which agents play with them; agents keep their module until
    /// the end of the episode they are in.
    ///
    /// # Errors
    /// If the modules do not fit the agents, or there is one agent only. Nothing changes then.
    fn set_multi_agent(&mut self, multi_agent: MultiAgentConfig) -> Result<()>;

    /// Makes all environments anew with other settings, in which episodes begin with the next call;
    /// the way to a curriculum.
    ///
    /// # Errors
    /// If the environment refuses the settings, or its spaces change with them
    /// ([`RunnerError::OtherSpaces`]). Nothing changes then.
    fn set_env_config(&mut self, env_config: &EnvConfig) -> Result<()>;

    /// Lets all environments begin a new episode with the next call.
    fn reset_episodes(&mut self);

    /// Acts and records.
    ///
    /// # Errors
    /// [`RunnerError::NoModule`] without a module (unless actions are random), or the error of an
    /// environment, connector or forward pass. Environments are reset by the next call then.
    fn collect(&mut self, amount: Amount, options: SampleOptions) -> Result<Experience>;

    /// The policy of a module as it acts, ready to be deployed.
    ///
    /// # Errors
    /// [`RunnerError::NoModule`] without that module.
    fn policy_bundle_of(&self, module_id: &str) -> Result<PolicyBundle>;

    /// What was logged since the last call.
    fn take_metrics(&mut self) -> MetricsState;

    /// Takes what the connectors have learnt since the last merge.
    ///
    /// # Errors
    /// If it does not serialise.
    fn take_connector_deltas(&mut self) -> Result<ConnectorDeltas>;

    /// Adds what the connectors of all runners have learnt.
    ///
    /// # Errors
    /// If a delta is not one of these connectors.
    fn merge_connector_deltas(&mut self, deltas: &[ConnectorDeltas]) -> Result<()>;

    /// What the connectors of each module have learnt.
    ///
    /// # Errors
    /// If it does not serialise.
    fn connector_states(&self) -> Result<BTreeMap<ModuleId, Value>>;

    /// Replaces what the connectors of each module have learnt.
    ///
    /// # Errors
    /// If a state is not one of these connectors.
    fn set_connector_states(&mut self, states: &BTreeMap<ModuleId, Value>) -> Result<()>;
}
