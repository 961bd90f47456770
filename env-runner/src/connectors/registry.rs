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

pub(super) fn build(name: &str, config: &Value, actions: &Space) -> Result<Box<dyn Connector>> {
    let table = CONNECTORS.read().unwrap_or_else(PoisonError::into_inner);
    let build = table.get(name).cloned().ok_or_else(|| RunnerError::UnregisteredConnector {
        name: name.into(),
        known: table.keys().cloned().collect::<Vec<_>>().join(", "),
    })?;
    drop(table);
    build(config, actions)
}
