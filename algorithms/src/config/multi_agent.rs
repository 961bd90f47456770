//! The policies of a multi-agent environment.

use std::collections::BTreeMap;

use rekindle_core::ModuleId;
use rekindle_env_runner::{MultiAgentConfig, PolicyMapping};
use rekindle_rl_module::MultiRLModuleSpec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{AlgorithmError, Result};

/// Which modules there are, who plays with them, and which of them learn.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MultiAgentSection {
    /// The ids of the modules; empty for those that the mapping names.
    pub policies: Vec<ModuleId>,
    /// Which module each agent plays with; all with the default module if nothing is set.
    pub policy_mapping: PolicyMapping,
    /// The modules that learn; `None` for all.
    pub policies_to_train: Option<Vec<ModuleId>>,
    /// How modules are built, by id; what is left out is built as one module would be.
    pub rl_module_specs: Option<MultiRLModuleSpec>,
    /// Training settings that differ for a module.
    pub algorithm_config_overrides_per_module: BTreeMap<ModuleId, Map<String, Value>>,
}

impl MultiAgentSection {
    /// Sets the ids of the modules.
    #[must_use]
    pub fn policies<I: Into<ModuleId>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.policies = ids.into_iter().map(Into::into).collect();
        self
    }

    /// Sets which module each agent plays with.
    #[must_use]
    pub fn policy_mapping(mut self, mapping: PolicyMapping) -> Self {
        self.policy_mapping = mapping;
        self
    }

    /// Sets the modules that learn; the others keep their weights.
    #[must_use]
    pub fn policies_to_train<I: Into<ModuleId>>(
        mut self,
        ids: impl IntoIterator<Item = I>,
    ) -> Self {
        self.policies_to_train = Some(ids.into_iter().map(Into::into).collect());
        self
    }

    /// Sets how modules are built.
    #[must_use]
    pub fn rl_module_specs(mut self, specs: MultiRLModuleSpec) -> Self {
        self.rl_module_specs = Some(specs);
        self
    }

    /// Sets a training setting that differs for a module, by the name of its field.
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

    pub(super) fn runner_config(&self) -> MultiAgentConfig {
        MultiAgentConfig {
            policies: self.policies.clone(),
            policy_mapping: self.policy_mapping.clone(),
        }
    }

    /// Every id that is named somewhere must be one of the policies, if those are listed.
    pub(super) fn validate(&self) -> Result<()> {
        let specs = self.rl_module_specs.iter().flat_map(|specs| specs.rl_module_specs.keys());
        let learner_only = |id: &ModuleId| {
            let specs = self.rl_module_specs.as_ref();
            specs.and_then(|s| s.rl_module_specs.get(id)).is_some_and(|s| s.is_learner_only())
        };
        let named = [
            ("policies_to_train", self.policies_to_train.iter().flatten().collect::<Vec<_>>()),
            ("rl_module_specs", specs.collect()),
            (
                "algorithm_config_overrides_per_module",
                self.algorithm_config_overrides_per_module.keys().collect(),
            ),
        ];
        for (field, ids) in named {
            for id in ids {
                let known = self.policies.contains(id) || learner_only(id);
                if !self.policies.is_empty() && !known {
                    return Err(AlgorithmError::InvalidConfig {
                        field,
                        value: format!("`{id}`"),
                        constraint: format!("the policies are [{}]", self.policies.join(", ")),
                    });
                }
            }
        }
        Ok(())
    }
}
