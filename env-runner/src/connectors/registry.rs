//! Users' connectors by name, so that configurations can name them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use rekindle_env::Space;
use serde_json::Value;

use super::Connector;
use crate::{Result, RunnerError};

type Build = dyn Fn(&Value, &Space) -> Result<Box<dyn Connector>> + Send + Sync;

static CONNECTORS: LazyLock<RwLock<BTreeMap<String, Arc<Build>>>> = LazyLock::new(Default::default);

/// Registers a connector under a name, for
/// [`ConnectorConfig::custom`](super::ConnectorConfig::custom). A later one of the same name replaces
/// it.
///
/// `build` receives the settings of the configuration and the space that the module acts in.
pub fn register_connector<F>(name: impl Into<String>, build: F)
where
    F: Fn(&Value, &Space) -> Result<Box<dyn Connector>> + Send + Sync + 'static,
{
    let mut table = CONNECTORS.write().unwrap_or_else(PoisonError::into_inner);
    table.insert(name.into(), Arc::new(build));
}

/// The connectors of this library, by their `type` in configurations.
const BUILT_IN: [&str; 10] = [
    "ClipRewards",
    "Custom",
    "FlattenObservations",
    "ForModules",
    "FrameStacking",
    "MeanStdFilter",
    "NormalizeRewards",
    "OnPart",
    "PrevActionsPrevRewards",
    "ScaleRewards",
];

/// Returns the types of connectors in configurations, and the names of [registered](register_connector) ones.
#[must_use]
pub fn connector_names() -> Vec<String> {
    let table = CONNECTORS.read().unwrap_or_else(PoisonError::into_inner);
    let custom = table.keys().map(|name| format!("Custom, name = {name:?}"));
    BUILT_IN.iter().map(|name| (*name).to_owned()).chain(custom).collect()
}

pub(super) fn build(name: &str, config: &Value, actions: &Space) -> Result<Box<dyn Connector>> {
    let table = CONNECTORS.read().unwrap_or_else(PoisonError::into_inner);
    let build = table.get(name).cloned().ok_or_else(|| RunnerError::UnregisteredConnector {
        name: name.into(),
        known: table.keys().cloned().collect::<Vec<_>>().join(", "),
    })?;
    drop(table);
    build(config, actions)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::connectors::ConnectorConfig;

    #[test]
    fn the_list_has_every_type() {
        for name in BUILT_IN {
            let read: Result<ConnectorConfig, _> = serde_json::from_value(json!({"type": name}));
            if let Err(error) = read {
                assert!(!error.to_string().contains("unknown variant"), "{error}");
            }
        }
        // serde lists all variants.
        let error = serde_json::from_value::<ConnectorConfig>(json!({"type": "?"})).unwrap_err();
        let listed = error.to_string().matches('`').count() / 2 - 1;
        assert_eq!(listed, BUILT_IN.len(), "{error}");
    }
}
