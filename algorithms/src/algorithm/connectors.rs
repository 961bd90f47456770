//! The connectors of a module that is removed.

use rekindle_env_runner::connectors::ConnectorConfig;

use super::Algorithm;

impl Algorithm {
    /// Removes a module from the connectors that are limited to certain modules. Otherwise a restored
    /// algorithm would reject the id of the removed module.
    pub(super) fn forget_connectors_of(&mut self, id: &str) {
        let forget = |connectors: &mut Vec<ConnectorConfig>| {
            let kept = connectors.drain(..).filter_map(|connector| connector.without_module(id));
            *connectors = kept.collect();
        };
        forget(&mut self.config.env_runners.env_to_module_connector);
        forget(&mut self.config.env_runners.module_to_env_connector);
        let of_learner = &mut self.config.learners.learner_connector;
        let kept = of_learner.drain(..).filter_map(|connector| connector.without_module(id));
        *of_learner = kept.collect();
    }
}
