//! The connectors of a module that is removed.

use rekindle_env_runner::connectors::ConnectorConfig;
use serde_json::Value;

use super::Algorithm;
use crate::{AlgorithmError, Result};

impl Algorithm {
    /// Removes a module from the connectors that are limited to certain modules, here and in the
    /// saved configuration. Otherwise a restored algorithm would reject the id of the removed
    /// module.
    pub(super) fn forget_connectors_of(&mut self, id: &str) -> Result<()> {
        let forget = |connectors: &mut Vec<ConnectorConfig>| {
            let kept = connectors.drain(..).filter_map(|connector| connector.without_module(id));
            *connectors = kept.collect();
        };
        forget(&mut self.settings.runner.env_to_module);
        forget(&mut self.settings.runner.module_to_env);
        let section = self.config.get_mut("env_runners").and_then(Value::as_object_mut);
        let Some(section) = section else { return Ok(()) };
        for field in ["env_to_module_connector", "module_to_env_connector"] {
            let Some(value) = section.get_mut(field) else { continue };
            let mut connectors =
                serde_json::from_value(value.take()).map_err(AlgorithmError::ConfigFormat)?;
            forget(&mut connectors);
            *value = serde_json::to_value(connectors).map_err(AlgorithmError::ConfigFormat)?;
        }
        Ok(())
    }
}
