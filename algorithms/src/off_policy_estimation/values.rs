//! Values of observations and actions by the critics of a module.

use burn::prelude::*;
use burn::tensor::activation::softmax;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::{Columns, Generator, host_batch};
use rekindle_env::{Buffer, Space};
use rekindle_rl_module::{AnyRLModule, ModuleError, Role};

use super::{batch_of, device_of, inputs};
use crate::Result;
use crate::sac::loss::Actions;

/// Rows of sampled actions that are valued at once, which bounds their memory.
const AT_ONCE: usize = 8192;

/// The critics of a module with its policy.
pub(super) struct Values<'a> {
    module: &'a AnyRLModule,
    /// Actions that are sampled where critics value given actions.
    num_actions: usize,
    /// Of the module.
    space: Space,
    rng: &'a mut Generator,
}

impl<'a> Values<'a> {
    pub(super) fn new(
        module: &'a AnyRLModule,
        num_actions: usize,
        rng: &'a mut Generator,
    ) -> Result<Self> {
        let space = module.spec().get_action_space().ok_or_else(|| ModuleError::ActionSpace {
            module: module.spec().module().into(),
            space: "none".into(),
            reason: "its spec has none; set one",
        })?;
        Ok(Self { module, num_actions, space: space.with_float_boxes(), rng })
    }

    /// Returns the mean value of the policy's actions at each observation.
    pub(super) fn of_policy(&mut self, observations: &Buffer) -> Result<Vec<f64>> {
        match Actions::of(self.module) {
            Actions::All { .. } => self.of_all_actions(observations),
            Actions::Given { .. } if self.module.has_role(Role::DeterministicPolicy) => {
                let batch = batch_of(self.module, observations)?;
                let actions = self.module.compute_actions(&batch)?;
                let q =
                    self.module.compute_action_values(&batch.with(Columns::ACTIONS, actions))?;
                numbers(smallest(q).squeeze_dim(1))
            }
            Actions::Given { .. } => self.of_sampled_actions(observations),
        }
    }

    /// Returns the mean over all actions of a `Discrete` space.
    fn of_all_actions(&self, observations: &Buffer) -> Result<Vec<f64>> {
        let q = self.module.compute_action_values(&batch_of(self.module, observations)?)?;
        let q = q.min_dim(1).squeeze_dim::<2>(1);
        let count = q.dims()[1].max(1);
        let probabilities = to_f32(softmax(inputs(self.module, observations)?, 1))?;
        let q = to_f32(q)?;
        let of_row = |(q, probabilities): (&[f32], &[f32])| -> f64 {
            let pairs = q.iter().zip(probabilities);
            // Forbidden actions have probability 0, and values that need not be finite.
            pairs.filter(|(_, p)| **p > 0.0).map(|(q, p)| f64::from(*q) * f64::from(*p)).sum()
        };
        Ok(q.chunks(count).zip(probabilities.chunks(count)).map(of_row).collect())
    }

    /// Returns the mean over sampled actions.
    fn of_sampled_actions(&mut self, observations: &Buffer) -> Result<Vec<f64>> {
        let distribution = self.module.distribution().clone();
        let width = distribution.required_input_dim().max(1);
        let inputs = to_f32(inputs(self.module, observations)?)?;
        let (count, mut means) = (self.num_actions, Vec::new());
        let rows: Vec<usize> = (0..observations.rows()).collect();
        for rows in rows.chunks((AT_ONCE / count).max(1)) {
            let repeated: Vec<usize> =
                rows.iter().flat_map(|row| std::iter::repeat_n(*row, count)).collect();
            let mut actions = Buffer::zeros(&self.space, repeated.len());
            for (index, row) in repeated.iter().enumerate() {
                let inputs = &inputs[row * width..(row + 1) * width];
                distribution.sample(inputs, self.rng, actions.row_mut(index))?;
            }
            let values = self.of_actions(&observations.gather(&repeated)?, &actions)?;
            means.extend(values.chunks(count).map(|of| of.iter().sum::<f64>() / count as f64));
        }
        Ok(means)
    }

    /// Returns the values of given actions.
    pub(super) fn of_actions(&self, observations: &Buffer, actions: &Buffer) -> Result<Vec<f64>> {
        let batch = batch_of(self.module, observations)?;
        match Actions::of(self.module) {
            Actions::All { first, .. } => {
                let q = self.module.compute_action_values(&batch)?;
                let q = q.min_dim(1).squeeze_dim::<2>(1);
                let count = q.dims()[1];
                let (q, taken) = (to_f32(q)?, actions.as_i64()?.iter().enumerate());
                let value = |(row, action): (usize, &i64)| {
                    f64::from(q[row * count + (action - first) as usize])
                };
                Ok(taken.map(value).collect())
            }
            Actions::Given { .. } => {
                let actions = host_batch::upload(actions, &device_of(self.module)?)?;
                let batch = batch.with(Columns::ACTIONS, actions);
                numbers(smallest(self.module.compute_action_values(&batch)?).squeeze_dim(1))
            }
        }
    }
}

/// Returns the smallest value over critics, where a distribution of values counts with its mean.
///
/// # Shapes
/// `[B, critics, values]` to `[B, 1]`.
fn smallest(q: Tensor<3>) -> Tensor<2> {
    q.mean_dim(2).min_dim(1).squeeze_dim(2)
}

fn numbers(values: Tensor<1>) -> Result<Vec<f64>> {
    Ok(to_f32(values)?.into_iter().map(f64::from).collect())
}
