//! Learner connectors by name, so that configurations and checkpoints can name them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use serde_json::Value;

use super::LearnerConnector;
use crate::error::{LearnerError, Result};

type Build = dyn Fn(&Value) -> Result<Box<dyn LearnerConnector>> + Send + Sync;

static CONNECTORS: LazyLock<RwLock<BTreeMap<String, Arc<Build>>>> = LazyLock::new(Default::default);

/// Registers a learner connector under a name, for
/// [`LearnerConnectorConfig::new`](super::LearnerConnectorConfig::new). A later one of the same name replaces
/// it.
///
/// `build` receives the settings of the configuration, and is called for each module.
pub fn register_learner_connector<F>(name: impl Into<String>, build: F)
where
    F: Fn(&Value) -> Result<Box<dyn LearnerConnector>> + Send + Sync + 'static,
{
    let mut table = CONNECTORS.write().unwrap_or_else(PoisonError::into_inner);
    table.insert(name.into(), Arc::new(build));
}

pub(super) fn build(name: &str, config: &Value) -> Result<Box<dyn LearnerConnector>> {
    let table = CONNECTORS.read().unwrap_or_else(PoisonError::into_inner);
    let build = table.get(name).cloned().ok_or_else(|| LearnerError::UnregisteredConnector {
        name: name.into(),
        known: table.keys().cloned().collect::<Vec<_>>().join(", "),
    })?;
    drop(table);
    build(config)
}
