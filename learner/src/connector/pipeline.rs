//! The learner connectors of one module.

use std::collections::BTreeSet;

use rekindle_checkpoint::State;
use rekindle_core::ConfigError;

use super::{LearnerConnector, LearnerConnectorConfig, registry};
use crate::error::{LearnerError, Result};
use crate::guard::guard_connector;
use crate::loss::PrepareContext;
use crate::train_data::TrainData;

/// The learner connectors of one module, by name and in order.
#[derive(Debug, Default)]
pub(crate) struct Pipeline(Vec<(String, Box<dyn LearnerConnector>)>);

impl Pipeline {
    /// Builds the connectors of a module.
    pub(crate) fn new(id: &str, configs: &[LearnerConnectorConfig]) -> Result<Self> {
        let mut all: Vec<(String, _)> = Vec::new();
        for LearnerConnectorConfig { name, config, .. } in
            configs.iter().filter(|config| config.applies_to(id))
        {
            if all.iter().any(|(other, _)| other == name) {
                let constraint = format!(
                    "module `{id}` already has one of this name; register it under another name to use it twice"
                );
                return Err(ConfigError::new("learner_connector.name", name, constraint).into());
            }
            all.push((name.clone(), registry::build(name, config)?));
        }
        Ok(Self(all))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs all connectors, and checks that rows and segments stay.
    pub(crate) fn transform(
        &mut self,
        cx: &PrepareContext<'_>,
        mut data: TrainData,
    ) -> Result<TrainData> {
        for (name, connector) in &mut self.0 {
            let (expected, segments) = (data.rows(), data.segments.clone());
            data = guard_connector(&mut **connector, [cx.module_id, name], "transform", |c| {
                c.transform(cx, data)
            })?;
            let found = data.rows();
            if found != expected || data.segments != segments {
                let (id, connector) = (cx.module_id.into(), name.clone());
                return Err(LearnerError::ConnectorRows { id, connector, expected, found });
            }
        }
        Ok(data)
    }

    /// Returns a component for each connector.
    pub(crate) fn get_state(&self) -> Result<State> {
        let mut state = State::new();
        for (name, connector) in &self.0 {
            state.insert_component(name, connector.get_state()?);
        }
        Ok(state)
    }

    /// Returns new connectors of the same configuration with a saved state; `None` for one without
    /// connectors.
    pub(crate) fn restored(
        id: &str,
        configs: &[LearnerConnectorConfig],
        saved: Option<&State>,
    ) -> Result<Self> {
        let mut new = Self::new(id, configs)?;
        let none = State::new();
        let saved = saved.unwrap_or(&none);
        let here: BTreeSet<&String> = new.0.iter().map(|(name, _)| name).collect();
        let there: BTreeSet<&String> = saved.components.keys().collect();
        if here != there {
            let reason = format!(
                "they are {there:?} there and {here:?} here; give the learner the same ones (`learners.learner_connector`)"
            );
            let component = format!("learner connectors of module `{id}`");
            return Err(LearnerError::InvalidState { component, reason });
        }
        for (name, connector) in &mut new.0 {
            connector.set_state(saved.component(name)?)?;
        }
        Ok(new)
    }
}
