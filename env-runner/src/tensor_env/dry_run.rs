//! Experience on the device for the dry run of losses, before there is any.

use burn::prelude::Device;
use rekindle_rl_module::AnyRLModule;

use super::{TensorEnvRunner, TensorRollout, registry};
use crate::env_runner::EnvRunnerConfig;
use crate::error::Result;

/// Copies and steps of the rollout.
const SHAPE: [usize; 2] = [2, 4];

/// Returns a short rollout for the dry run of a loss, in the environment of a runner with
/// [`on_device`](EnvRunnerConfig::on_device). It has its own copies, and no stream of a runner is touched.
///
/// # Errors
/// If the environment cannot be made, or the module does not fit it.
pub fn dry_run_rollout_on_device(
    config: &EnvRunnerConfig,
    module: &AnyRLModule,
    device: &Device,
) -> Result<TensorRollout> {
    let [envs, steps] = SHAPE;
    let env = registry::make(&config.env, &config.env_config)?;
    TensorEnvRunner::new(env, envs, 0, device)?.sample(module, steps)
}
