//! The serialized form of specs.

use std::path::PathBuf;
use std::sync::Arc;

use rekindle_catalog::{Catalog, DefaultCatalog};
use rekindle_checkpoint::State;
use rekindle_env::Space;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RLModuleSpec;
use crate::error::{ModuleError, Result};
use crate::registry;
use crate::shared::PartOf;

/// The serialized form of a spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpecData {
    module: String,
    observation_space: Option<Space>,
    action_space: Option<Space>,
    #[serde(default)]
    inference_only: bool,
    #[serde(default)]
    learner_only: bool,
    #[serde(default)]
    model_config: Value,
    #[serde(default = "default_catalog")]
    catalog: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    load_state_path: Option<PathBuf>,
    /// The other modules, for a module that shares parameters and was taken out of its
    /// multi-module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part_of: Option<PartOf>,
}

/// The catalog of a spec in a settings file that names only its module.
fn default_catalog() -> String {
    DefaultCatalog::type_name()
}

impl From<RLModuleSpec> for SpecData {
    fn from(spec: RLModuleSpec) -> Self {
        Self {
            module: spec.module,
            observation_space: spec.observation_space,
            action_space: spec.action_space,
            inference_only: spec.inference_only,
            learner_only: spec.learner_only,
            model_config: spec.model_config,
            catalog: spec.catalog.0,
            load_state_path: spec.load_state_path,
            part_of: spec.part_of.map(Arc::unwrap_or_clone),
        }
    }
}

impl TryFrom<SpecData> for RLModuleSpec {
    type Error = ModuleError;

    fn try_from(data: SpecData) -> Result<Self> {
        Ok(Self {
            constructor: registry::constructor(&data.module)?,
            catalog: (data.catalog.clone(), registry::catalog(&data.catalog)?),
            module: data.module,
            observation_space: data.observation_space,
            action_space: data.action_space,
            inference_only: data.inference_only,
            learner_only: data.learner_only,
            model_config: data.model_config,
            is_config_filled: false,
            load_state_path: data.load_state_path,
            part_of: data.part_of.map(Arc::new),
        })
    }
}

impl RLModuleSpec {
    /// Reads the spec in the state of a module.
    pub(crate) fn from_state(state: &State) -> Result<Self> {
        if state.data.get("rl_module_specs").is_some() {
            return Err(ModuleError::Mismatch(
                "the checkpoint holds several modules that share parameters; load it with `MultiRLModule::from_checkpoint` and take the module from there".into(),
            ));
        }
        if state.data.get("module").is_none() {
            return Err(ModuleError::NotAModule);
        }
        // In two steps, so that an unknown type is not reported as malformed data.
        Self::try_from(state.data_as::<SpecData>()?)
    }
}
