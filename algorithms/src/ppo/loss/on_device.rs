//! PPO's advantages where the environments are tensor programs.

use burn::prelude::*;
use rekindle_core::{Batch, Columns, ConfigError};
use rekindle_learner::{PrepareContext, Result, TrainData, ops};

use crate::ppo::PpoTraining;

/// Adds advantages and value targets to time-major experience, on its device.
///
/// # Errors
/// [`ConfigError`] for settings without a critic or without generalized advantages, which need
/// environments on the host. Otherwise if the forward pass fails.
pub(super) fn prepare(
    config: &PpoTraining,
    cx: &PrepareContext<'_>,
    data: TrainData,
) -> Result<TrainData> {
    for (field, value) in [("use_critic", config.use_critic), ("use_gae", config.use_gae)] {
        if !value {
            let constraint = "rollouts of tensors need generalized advantages; set it to true";
            return Err(ConfigError::new(field, false, constraint).into());
        }
    }
    let rows = data.rows();
    let shape = data.time_major.unwrap_or([1, rows]);
    data.map_device(|columns| {
        let observations = columns.float::<2>(Columns::OBS)?;
        let both = vec![observations, columns.float::<2>(Columns::NEXT_OBS)?];
        let both = Batch::new().with(Columns::OBS, Tensor::cat(both, 0));
        let both = cx.module.compute_values(&both, None)?;
        let of_time = |column: Tensor<1>| column.reshape(shape);
        let values = of_time(both.clone().narrow(0, 0, rows));
        let next_values = of_time(both.narrow(0, rows, rows));
        let terminated = of_time(columns.float::<1>(Columns::TERMINATEDS)?);
        let done = terminated.clone() + of_time(columns.float::<1>(Columns::TRUNCATEDS)?);
        let (advantages, targets) = ops::tensors::gae(
            of_time(columns.float::<1>(Columns::REWARDS)?),
            values,
            next_values,
            terminated,
            done,
            config.gamma as f32,
            config.lambda_ as f32,
        );
        let advantages = ops::tensors::standardize(advantages.reshape([rows]));
        Ok(columns
            .with(Columns::ADVANTAGES, advantages)
            .with(Columns::VALUE_TARGETS, targets.reshape([rows])))
    })
}
