//! What algorithms that replay experience have in common.

mod replayed;
mod sequences;

use burn::prelude::*;
use rekindle_core::{Batch, Columns, ConfigError};
use rekindle_learner::replay::{NStep, ReplayConfig};
use rekindle_learner::{LossContext, PrepareContext, Result};
use serde_json::{Map, Value, json};

use crate::config::EnvironmentConfig;

pub(crate) use replayed::{Replayed, with_actions};
pub(crate) use sequences::Sequences;

/// The fields of the algorithms' settings that are common to all modules.
pub(crate) const COMMON_FIELDS: &[&str] = &[
    "train_batch_size",
    "replay_buffer_config",
    "num_steps_sampled_before_learning_starts",
    "sample_timesteps_per_update_round",
    "updates_per_env_step",
];

/// Checks the settings of a replay buffer.
pub(crate) fn checked_replay(
    field: &'static str,
    config: &ReplayConfig,
) -> Result<(), ConfigError> {
    config.check_fields().map_err(|error| error.within(field))
}

/// Checks that a replay buffer holds a minibatch and a transition.
pub(crate) fn check_sizes(
    config: &ReplayConfig,
    train_batch_size: usize,
    n_step: NStep,
) -> Result<(), ConfigError> {
    let capacity = config.capacity;
    for (field, value) in [("train_batch_size", train_batch_size), ("n_step", n_step.most())] {
        if value > capacity {
            let constraint =
                format!("it must not exceed `replay_buffer_config.capacity` ({capacity})");
            return Err(ConfigError::new(field, value, constraint));
        }
    }
    Ok(())
}

/// Returns the fields of a model config that describe critics.
pub(crate) fn critic_settings(num_critics: usize, use_layernorm: bool) -> Map<String, Value> {
    let fields =
        [("num_critics", json!(num_critics)), ("critics_use_layernorm", json!(use_layernorm))];
    fields.map(|(field, value)| (field.to_owned(), value)).into_iter().collect()
}

/// Checks that a module acts in [−1, 1], for algorithms whose policies do.
pub(crate) fn check_normalizes(
    algorithm: &str,
    environment: &EnvironmentConfig,
) -> Result<(), ConfigError> {
    if environment.normalize_actions {
        return Ok(());
    }
    let constraint = format!(
        "the policy of {algorithm} acts in [−1, 1], which is scaled to the bounds of the action space; set it to true"
    );
    Err(ConfigError::new("normalize_actions", false, constraint))
}

/// The longest burn-in, in steps. The memory of all of its steps is reserved.
const LONGEST_BURN_IN: usize = 100_000;

/// Checks that a module with a burn-in has memory, and that its steps fit into memory.
pub(crate) fn check_burn_in(cx: &PrepareContext<'_>, burn_in_len: usize) -> Result<()> {
    if burn_in_len > LONGEST_BURN_IN {
        let constraint = format!("at most {LONGEST_BURN_IN} steps; 20 to 40 are usual");
        return Err(ConfigError::new("burn_in_len", burn_in_len, constraint).into());
    }
    if burn_in_len == 0 || cx.module.initial_state()?.is_some() {
        return Ok(());
    }
    let constraint = format!(
        "module `{}` has no memory, so there are no sequences to begin with it; set it to 0, or use an LSTM or GRU",
        cx.module_id
    );
    Err(ConfigError::new("burn_in_len", burn_in_len, constraint).into())
}

/// Returns the observations that follow, without gradients.
pub(crate) fn next_observations(cx: &LossContext<'_>) -> Result<Batch> {
    let next = cx.batch().column(Columns::NEXT_OBS)?.clone().inner()?;
    Ok(Batch::new().with(Columns::OBS, next))
}

/// Replaces what follows a terminated step by 0: its discount is 0, but 0 times a value that is not finite is NaN.
///
/// # Shapes
/// `following`: `[B, N]`; `discounts`: `[B, 1]`; result `[B, N]`.
pub(crate) fn of_continued(following: Tensor<2>, discounts: Tensor<2>) -> Tensor<2> {
    let shape = following.dims();
    following.mask_fill(discounts.equal_elem(0.0).expand(shape), 0.0)
}

/// Computes the targets `r + discount · v` of values after transitions, as constants. A value after a terminated
/// step, where the discount is 0, does not count and need not be finite.
///
/// # Shapes
/// `values`, without gradients: `[B, N]`; result `[B, N]`.
pub(crate) fn td_targets(cx: &LossContext<'_>, values: Tensor<2>) -> Result<Tensor<2>> {
    let rewards = cx.batch().float::<1>(Columns::REWARDS)?.inner().unsqueeze_dim(1);
    let discounts = cx.batch().float::<1>(Columns::DISCOUNTS)?.inner().unsqueeze_dim(1);
    let values = of_continued(values, discounts.clone());
    Ok(Tensor::from_inner(rewards + discounts * values))
}

/// Computes the mean of a loss term over the rows, with the importance weights of prioritized replay.
///
/// # Shapes
/// `[B]` to `[1]`.
pub(crate) fn weighted_mean(cx: &LossContext<'_>, terms: Tensor<1>) -> Result<Tensor<1>> {
    cx.mean(match cx.batch().contains(Columns::WEIGHTS) {
        true => terms * cx.batch().float::<1>(Columns::WEIGHTS)?,
        false => terms,
    })
}

#[cfg(test)]
mod tests;
