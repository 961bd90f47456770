//! Advantages and returns of recorded steps.

use burn::prelude::*;
use rekindle_core::{Batch, Columns};
use rekindle_env_runner::SegmentEnd;

use super::TrainData;
use crate::error::{LearnerError, Result};
use crate::loss::PrepareContext;
use crate::ops::{self, explained_variance, gae, returns_to_go, standardize};

impl TrainData {
    /// Adds generalized advantage estimates ([`Columns::ADVANTAGES`]) and value targets
    /// ([`Columns::VALUE_TARGETS`]). With `lambda` 1, advantages are the returns minus the values.
    ///
    /// Reports the share of the targets' variance that the values explain as `vf_explained_var`, except on an
    /// accelerator, where reading it would wait for the device.
    ///
    /// # Errors
    /// If the module has no value function or its pass fails.
    pub fn add_advantages(
        &mut self,
        cx: &PrepareContext<'_>,
        gamma: f32,
        lambda: f32,
    ) -> Result<()> {
        if let Some(columns) = self.device() {
            let columns = on_device(columns.clone(), self.time_major, cx, [gamma, lambda])?;
            self.set_device(columns);
            return Ok(());
        }
        let (values, after) = self.values(cx.module, cx.device)?;
        let rewards = self.as_f32(Columns::REWARDS)?;
        let (mut advantages, mut targets) = (Vec::new(), Vec::new());
        for (segment, bootstrap) in self.segments.iter().zip(after) {
            let rows = segment.range();
            let (advantage, target) =
                gae(&rewards[rows.clone()], &values[rows], bootstrap, gamma, lambda)?;
            advantages.extend(advantage);
            targets.extend(target);
        }
        cx.report("vf_explained_var", explained_variance(&targets, &values));
        self.insert_f32(Columns::ADVANTAGES, advantages)?;
        self.insert_f32(Columns::VALUE_TARGETS, targets)
    }

    /// Adds the λ-returns of action values ([`Columns::VALUE_TARGETS`]): `G_t = r_t + γ·[λ·G_{t+1} +
    /// (1 − λ)·max_a Q(o_{t+1}, a)]` (Gallici et al., 2025; Peng and Williams, 1994). The last step of a segment
    /// has `r_t + γ·max_a Q(o_{t+1}, a)`, and `r_t` where the environment terminated the episode.
    ///
    /// # Errors
    /// If the module has no action values or its pass fails, or the experience is on an accelerator.
    pub fn add_q_lambda_returns(
        &mut self,
        cx: &PrepareContext<'_>,
        gamma: f32,
        lambda: f32,
    ) -> Result<()> {
        let compute = |batch: &Batch| Ok(cx.module.compute_state_values(batch)?);
        let (values, after) = self.values_by(cx.device, &compute)?;
        let rewards = self.as_f32(Columns::REWARDS)?;
        let mut targets = Vec::with_capacity(rewards.len());
        for (segment, bootstrap) in self.segments.iter().zip(after) {
            let rows = segment.range();
            let (_, of_segment) =
                gae(&rewards[rows.clone()], &values[rows], bootstrap, gamma, lambda)?;
            targets.extend(of_segment);
        }
        self.insert_f32(Columns::VALUE_TARGETS, targets)
    }

    /// Adds the discounted sums of the rewards until the end of each episode
    /// ([`Columns::RETURNS_TO_GO`]). A time limit counts as the end.
    ///
    /// # Errors
    /// [`LearnerError::NoBootstrap`] for a segment that was cut off: its returns are unknown.
    pub fn add_returns_to_go(&mut self, gamma: f32) -> Result<()> {
        let rewards = self.as_f32(Columns::REWARDS)?;
        let mut returns = Vec::with_capacity(rewards.len());
        for segment in self.segments.iter() {
            if segment.end == SegmentEnd::Cut {
                return Err(LearnerError::NoBootstrap);
            }
            returns.extend(returns_to_go(&rewards[segment.range()], 0.0, gamma));
        }
        self.insert_f32(Columns::RETURNS_TO_GO, returns)
    }

    /// Shifts and scales a column to mean 0 and standard deviation 1.
    ///
    /// # Errors
    /// If the column is missing or does not hold floats.
    pub fn standardize(&mut self, column: &'static str) -> Result<()> {
        if let Some(columns) = self.device() {
            let standardized = ops::tensors::standardize(columns.float::<1>(column)?);
            let columns = columns.clone().with(column, standardized);
            self.set_device(columns);
            return Ok(());
        }
        let mut values = self.as_f32(column)?.to_vec();
        standardize(&mut values);
        self.insert_f32(column, values)
    }
}

/// Adds advantages and value targets to time-major columns, on their device.
fn on_device(
    columns: Batch,
    time_major: Option<[usize; 2]>,
    cx: &PrepareContext<'_>,
    [gamma, lambda]: [f32; 2],
) -> Result<Batch> {
    let rows = columns.rows();
    let shape = time_major.unwrap_or([1, rows]);
    let both = vec![columns.float::<2>(Columns::OBS)?, columns.float::<2>(Columns::NEXT_OBS)?];
    let both = Batch::new().with(Columns::OBS, Tensor::cat(both, 0));
    let both = cx.module.compute_values(&both, None)?;
    let of_time = |column: Tensor<1>| column.reshape(shape);
    let terminated = of_time(columns.float::<1>(Columns::TERMINATEDS)?);
    let done = terminated.clone() + of_time(columns.float::<1>(Columns::TRUNCATEDS)?);
    let (advantages, targets) = ops::tensors::gae(
        of_time(columns.float::<1>(Columns::REWARDS)?),
        of_time(both.clone().narrow(0, 0, rows)),
        of_time(both.narrow(0, rows, rows)),
        terminated,
        done,
        gamma,
        lambda,
    );
    Ok(columns
        .with(Columns::ADVANTAGES, advantages.reshape([rows]))
        .with(Columns::VALUE_TARGETS, targets.reshape([rows])))
}
