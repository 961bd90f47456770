//! The policies of a multi-agent environment.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_core::{ConfigError, ModuleId, settings};
use rekindle_env::did_you_mean;
use rekindle_env_runner::{Amount, MultiAgentConfig, PolicyMapping};
use rekindle_rl_module::{MultiRLModuleSpec, RLModuleSpec};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The steps that `train_batch_size` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CountStepsBy {
    /// Steps of the environment, in which several agents may act.
    #[default]
    EnvSteps,
    /// Steps of agents: the rows that modules learn from.
    AgentSteps,
}

impl CountStepsBy {
    /// Returns an amount of steps in this unit.
    pub(crate) fn amount(self, steps: usize) -> Amount {
        match self {
            Self::EnvSteps => Amount::Timesteps(steps),
            Self::AgentSteps => Amount::AgentSteps(steps),
        }
    }
}

settings! {
    /// The modules of a multi-agent environment, the mapping from agents to modules, and the
    /// modules that learn.
    pub struct MultiAgentSection {
        /// Ids of the modules. If empty, the modules are those that the mapping names.
        field policies: Vec<ModuleId> = Vec::new();
        /// Mapping from agents to modules. By default, all agents act with the default module.
        set policy_mapping: PolicyMapping = PolicyMapping::default();
        /// Ids of the modules that learn; `None` for all. The others keep their weights.
        field policies_to_train: Option<Vec<ModuleId>> = None;
        /// Specs by module id. A module without a spec is built like the module of a single agent.
        /// A module without agents needs a spec with spaces if the agents' spaces differ.
        into rl_module_specs: Option<MultiRLModuleSpec> = None;
        /// Training settings that modules override.
        field algorithm_config_overrides_per_module: BTreeMap<ModuleId, Map<String, Value>> =
            BTreeMap::new();
        /// Unit of `train_batch_size`.
        set count_steps_by: CountStepsBy = CountStepsBy::EnvSteps;
    }
}

impl MultiAgentSection {
    /// Sets the ids of the modules.
    #[must_use]
    pub fn policies<I: Into<ModuleId>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.policies = ids.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the ids of the modules that learn. The others keep their weights.
    #[must_use]
    pub fn policies_to_train<I: Into<ModuleId>>(
        mut self,
        ids: impl IntoIterator<Item = I>,
    ) -> Self {
        self.policies_to_train = Some(ids.into_iter().map(Into::into).collect());
        self
    }

    /// Overrides a training setting for one module, by the name of the field.
    #[must_use]
    pub fn override_module(
        mut self,
        id: impl Into<ModuleId>,
        field: impl Into<String>,
        value: impl Into<Value>,
    ) -> Self {
        let overrides = self.algorithm_config_overrides_per_module.entry(id.into()).or_default();
        overrides.insert(field.into(), value.into());
        self
    }

    pub(crate) fn runner_config(&self) -> MultiAgentConfig {
        MultiAgentConfig::default()
            .policies(self.policies.clone())
            .policy_mapping(self.policy_mapping.clone())
    }

    /// Checks the ids before environments are made, as far as the policies are listed.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        match self.policies.is_empty() {
            true => Ok(()),
            false => self.check_ids(&self.policies.iter().cloned().collect()),
        }
    }

    /// Checks that every id in a setting names a module: one that agents act with (`played`), or
    /// one that only the learner has.
    pub(crate) fn check_ids(&self, played: &BTreeSet<ModuleId>) -> Result<(), ConfigError> {
        let specs = || self.rl_module_specs.iter().flat_map(|specs| &specs.rl_module_specs);
        // A module whose spec has spaces needs no agent. Without a list of policies, it counts as a
        // policy.
        let is_module = |spec: &RLModuleSpec| {
            let has_spaces =
                spec.get_observation_space().is_some() && spec.get_action_space().is_some();
            spec.is_learner_only() || self.policies.is_empty() && has_spaces
        };
        let mut known: Vec<ModuleId> = played.iter().cloned().collect();
        known.extend(specs().filter(|(_, spec)| is_module(spec)).map(|(id, _)| id.clone()));
        let overrides = self.algorithm_config_overrides_per_module.keys();
        let named = [
            ("policies_to_train", self.policies_to_train.iter().flatten().collect::<Vec<_>>()),
            ("rl_module_specs", specs().map(|(id, _)| id).collect()),
            ("algorithm_config_overrides_per_module", overrides.collect()),
        ];
        for (field, ids) in named {
            if let Some(id) = ids.into_iter().find(|id| !known.contains(id)) {
                let value = format!("`{id}`");
                let constraint = format!(
                    "no agent is mapped to a module of that id; {}",
                    did_you_mean(id, &known)
                );
                return Err(ConfigError::new(field, value, constraint));
            }
        }
        Ok(())
    }
}
