//! PPO's learning batch where the environments are tensor programs.

use burn::module::Module;
use burn::prelude::*;
use rekindle_core::{Batch, Columns, ConfigError};
use rekindle_env_runner::TensorRollout;
use rekindle_learner::{LearnerError, ops};
use rekindle_rl_module::{AnyRLModule, Role};

use super::PpoTraining;
use crate::Result;

/// Builds PPO's learning batch from a rollout on its device, as
/// [`Objective::build_batch`](rekindle_learner::Objective::build_batch) does from experience on the
/// host. The batch is for
/// [`Learner::update_from_batches`](rekindle_learner::Learner::update_from_batches).
///
/// `module` is the learner's module, on the device of the rollout.
///
/// # Shapes
/// `T·N` rows, in the order of the rollout.
///
/// # Errors
/// [`ConfigError`] for settings without a critic or without generalized advantages, which need a
/// `SingleAgentEnvRunner`. Otherwise if the module has no value function or its pass fails.
pub fn batch_of_tensors(
    config: &PpoTraining,
    module: &AnyRLModule,
    rollout: &TensorRollout,
) -> Result<Batch> {
    for (field, value) in [("use_critic", config.use_critic), ("use_gae", config.use_gae)] {
        if !value {
            let constraint = "rollouts of tensors need generalized advantages; set it to true";
            return Err(ConfigError::new(field, false, constraint).into());
        }
    }
    let module = module.valid();
    module.require(Role::ValueFunction, "the PPO learner").map_err(LearnerError::from)?;
    let shape = rollout.rewards.dims();
    let rows: usize = shape.iter().product();
    let both = vec![rollout.observations.clone(), rollout.next_observations.clone()];
    let both = Batch::new().with(Columns::OBS, Tensor::cat(both, 0));
    let both = module.compute_values(&both, None)?;
    let values = both.clone().narrow(0, 0, rows).reshape(shape);
    let next_values = both.narrow(0, rows, rows).reshape(shape);
    let (advantages, targets) = ops::tensors::gae(
        rollout.rewards.clone(),
        values,
        next_values,
        rollout.terminated.clone(),
        rollout.done.clone(),
        config.gamma as f32,
        config.lambda_ as f32,
    );
    let advantages = ops::tensors::standardize(advantages.reshape([rows]));
    Ok(Batch::new()
        .with(Columns::OBS, rollout.observations.clone())
        .with(Columns::ACTIONS, rollout.actions.clone())
        .with(Columns::ACTION_DIST_INPUTS, rollout.action_dist_inputs.clone())
        .with(Columns::ACTION_LOGP, rollout.action_logp.clone())
        .with(Columns::ADVANTAGES, advantages)
        .with(Columns::VALUE_TARGETS, targets.reshape([rows])))
}
