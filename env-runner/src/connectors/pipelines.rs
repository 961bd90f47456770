//! The two pipelines around a module.

use rekindle_core::ConfigError;
use rekindle_env::Space;

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
