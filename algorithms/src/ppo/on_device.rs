//! What PPO learns from, where the environments are tensor programs.

use burn::module::Module;
use burn::prelude::*;
use rekindle_core::{Batch, Columns};
use rekindle_env_runner::TensorRollout;
use rekindle_learner::{LearnerError, ops};
use rekindle_rl_module::{AnyRLModule, Role};

use super::PpoTraining;
use crate::{AlgorithmError, Result};

/// The columns that PPO learns from, made of a rollout without leaving its device: what
/// [`Objective::build_batch`](rekindle_learner::Objective::build_batch) makes of experience on the
/// host. [`Learner::update_from_batches`](rekindle_learner::Learner::update_from_batches) takes them.
///
/// `module` is the learner's, on the device of the rollout.
///
/// # Shapes
/// `T·N` rows, in the order of the rollout.
///
/// # Errors
/// For settings without a critic or without generalised advantages, which need a
/// `SingleAgentEnvRunner`; otherwise if the module has no value function or its pass fails.
pub fn batch_of_tensors(
    config: &PpoTraining,
    module: &AnyRLModule,
    rollout: &TensorRollout,
) -> Result<Batch> {
    for (field, value) in [("use_critic", config.use_critic), ("use_gae", config.use_gae)] {
        if !value {
            let constraint = "rollouts of tensors are learnt from by generalised advantages only";
            let (value, constraint) = ("false".into(), constraint.into());
            return Err(AlgorithmError::InvalidConfig { field, value, constraint });
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
