//! The two pipelines around a module.

use rekindle_core::ConfigError;
use rekindle_env::Space;
use serde_json::Value;

use super::{ConnectorConfig, ConnectorPipeline, NormalizeAndClipActions};
use crate::{Result, RunnerError};

/// Builds the pipelines of module `module_id`: from observations to the module, and from its
/// actions to the environments.
///
/// The input space of the second one is the space that the module acts in.
///
/// # Errors
/// [`RunnerError::ConnectorSpace`] if a connector cannot work on the outputs of the one before, or
/// the error of a setting.
pub(crate) fn pipelines(
    module_id: &str,
    observations: &Space,
    actions: &Space,
    [env_to_module, module_to_env]: [&[ConnectorConfig]; 2],
    normalize_actions: bool,
    clip_actions: bool,
) -> Result<(ConnectorPipeline, ConnectorPipeline)> {
    let bounds = NormalizeAndClipActions::new(actions, normalize_actions, clip_actions);
    let module_actions = bounds.module_space();
    let build = |configs: &[ConnectorConfig]| {
        let own = configs.iter().filter_map(|config| config.of_module(module_id));
        own.map(|config| config.build(&module_actions)).collect::<Result<Vec<_>>>()
    };
    let to_env = build(module_to_env)?;
    if let Some(connector) = to_env.iter().find(|connector| connector.transforms_rewards()) {
        return Err(ConfigError::new(
            "module_to_env",
            connector.name(),
            "no rewards pass this pipeline; put the connector into `env_to_module`",
        )
        .into());
    }
    let mut to_env = ConnectorPipeline::with(module_actions.clone(), to_env)?;
    if *to_env.output_space() != module_actions {
        return Err(RunnerError::ConnectorSpace {
            connector: to_env.names().last().unwrap_or_default().into(),
            space: module_actions.to_string(),
            reason: "what goes to the environment must be of its action space".into(),
        });
    }
    to_env.append(Box::new(bounds))?;
    Ok((ConnectorPipeline::with(observations.clone(), build(env_to_module)?)?, to_env))
}

/// The key of the states of action connectors among those of the other ones.
const ACTIONS: &str = "module_to_env";

/// Returns the learned states of both pipelines of a module. Those of action connectors have a key
/// of their own, if there are any.
///
/// # Errors
/// If a state does not serialize.
pub(crate) fn states(seen: &ConnectorPipeline, done: &ConnectorPipeline) -> Result<Value> {
    let (mut states, actions) = (seen.get_state()?, done.get_state()?);
    let learned = actions.as_object().is_some_and(|actions| !actions.is_empty());
    if let Some(states) = states.as_object_mut().filter(|_| learned) {
        states.insert(ACTIONS.into(), actions);
    }
    Ok(states)
}

/// Replaces the learned states of both pipelines of a module, all or none. Action connectors keep
/// theirs if [`states`] has none for them.
///
/// # Errors
/// As [`ConnectorPipeline::set_state`].
pub(crate) fn set_states(
    seen: &mut ConnectorPipeline,
    done: &mut ConnectorPipeline,
    states: &Value,
) -> Result<()> {
    let mut states = states.clone();
    let Some(actions) = states.as_object_mut().and_then(|states| states.remove(ACTIONS)) else {
        return seen.set_state(&states);
    };
    let before = done.get_state()?;
    done.set_state(&actions)?;
    if let Err(error) = seen.set_state(&states) {
        done.set_state(&before)?;
        return Err(error);
    }
    Ok(())
}

/// Takes the changes of the learned states of both pipelines since the last merge.
///
/// # Errors
/// If a change does not serialize.
pub(crate) fn take_deltas(
    seen: &mut ConnectorPipeline,
    done: &mut ConnectorPipeline,
) -> Result<Vec<Value>> {
    let mut deltas = seen.take_deltas()?;
    deltas.append(&mut done.take_deltas()?);
    Ok(deltas)
}

/// Merges the changes of all runners, one list of [`take_deltas`] per runner.
///
/// # Errors
/// If a change does not fit its connector.
pub(crate) fn merge_deltas(
    seen: &mut ConnectorPipeline,
    done: &mut ConnectorPipeline,
    runners: &[Vec<Value>],
) -> Result<()> {
    let parts = runners.iter().map(|deltas| deltas.split_at(seen.len().min(deltas.len())));
    let (of_seen, of_done): (Vec<_>, Vec<_>) =
        parts.map(|(seen, done)| (seen.to_vec(), done.to_vec())).unzip();
    seen.merge(&of_seen)?;
    done.merge(&of_done)
}
