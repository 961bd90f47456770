//! Making environments by id, including environments of other programs.

use rekindle_env::{EnvConfig, MultiAgentVectorEnv, VectorEnv};

use super::checks::of_env;
use crate::error::Result;

/// Returns whether making the environment `id` starts another program, such as a Python interpreter.
#[must_use]
pub fn is_external(id: &str) -> bool {
    rekindle_gymnasium::register();
    rekindle_env::is_external(id)
}

/// Makes a vector of `num_envs` environments.
pub(crate) fn make_vec(
    id: &str,
    num_envs: usize,
    config: &EnvConfig,
) -> Result<Box<dyn VectorEnv>> {
    rekindle_gymnasium::register();
    rekindle_env::make_vec_with(id, num_envs, config).map_err(of_env(id))
}

/// Makes a vector of `num_envs` multi-agent environments.
pub(crate) fn make_multi_agent_vec(
    id: &str,
    num_envs: usize,
    config: &EnvConfig,
) -> Result<Box<dyn MultiAgentVectorEnv>> {
    rekindle_gymnasium::register();
    rekindle_env::make_multi_agent_vec_with(id, num_envs, config).map_err(of_env(id))
}
