//! Learner connectors as data.

use rekindle_core::settings::among_modules;
use rekindle_core::{ConfigError, ModuleId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A learner connector in a configuration.
///
/// ```
/// use rekindle_learner::LearnerConnectorConfig;
/// use serde_json::json;
///
/// let curiosity = LearnerConnectorConfig::new("Curiosity", json!({"scale": 0.1}));
/// let of_one_module = curiosity.for_modules(["explorer"]);
/// assert!(of_one_module.applies_to("explorer") && !of_one_module.applies_to("other"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LearnerConnectorConfig {
    /// The name that it was registered under.
    pub name: String,
    /// Its settings.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub config: Value,
    /// Ids of the modules whose experience it transforms; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules: Option<Vec<ModuleId>>,
}

impl LearnerConnectorConfig {
    /// Creates a connector known by [`register_learner_connector`](super::register_learner_connector), for
    /// all modules.
    #[must_use]
    pub fn new(name: impl Into<String>, config: impl Into<Value>) -> Self {
        Self { name: name.into(), config: config.into(), modules: None }
    }

    /// Applies the connector to the experience of these modules only. Each has an instance of its own.
    #[must_use]
    pub fn for_modules<I: Into<ModuleId>>(mut self, modules: impl IntoIterator<Item = I>) -> Self {
        self.modules = Some(modules.into_iter().map(Into::into).collect());
        self
    }

    /// Whether the connector transforms the experience of a module.
    #[must_use]
    pub fn applies_to(&self, module_id: &str) -> bool {
        self.modules.as_ref().is_none_or(|ids| ids.iter().any(|id| id == module_id))
    }

    /// Returns the connector for the modules other than this one; `None` if there are none.
    #[must_use]
    pub fn without_module(mut self, module_id: &str) -> Option<Self> {
        if let Some(ids) = &mut self.modules {
            ids.retain(|id| id != module_id);
        }
        self.modules.as_ref().is_none_or(|ids| !ids.is_empty()).then_some(self)
    }

    /// Checks the name, and that the connector is limited to modules that exist.
    pub(crate) fn check(&self, known: &[&str]) -> Result<(), ConfigError> {
        if let Err(error) = rekindle_checkpoint::check_component(&self.name) {
            let constraint = format!("checkpoints have a directory of this name: {error}");
            return Err(ConfigError::new("learner_connector.name", &self.name, constraint));
        }
        match &self.modules {
            Some(modules) => among_modules("learner_connector.modules", modules, known),
            None => Ok(()),
        }
    }
}
