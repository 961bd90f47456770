//! Values of the observations of recorded steps.

use burn::prelude::*;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::{Batch, Columns, host_batch};
use rekindle_env::Buffer;
use rekindle_env_runner::SegmentEnd;
use rekindle_rl_module::AnyRLModule;

use super::TrainData;
use crate::error::Result;

/// Computes the values of the observations of a batch, `[B]`.
pub(super) type ComputeValues<'a> = dyn Fn(&Batch) -> Result<Tensor<1>> + 'a;

impl TrainData {
    /// Returns values of all rows, and of the observation after each segment: 0 where the environment
    /// terminated the episode. One forward pass each, without gradients.
    ///
    /// # Shapes
    /// `[rows]` and `[segments]`.
    ///
    /// # Errors
    /// If the module has no value function or its pass fails, or the data is on an accelerator.
    pub fn values(&self, module: &AnyRLModule, device: &Device) -> Result<(Vec<f32>, Vec<f32>)> {
        self.values_by(device, &|batch| Ok(module.compute_values(batch, None)?))
    }

    /// As [`values`](Self::values), with the values that a function computes for the observations of a batch, and
    /// their recurrent states.
    pub(super) fn values_by(
        &self,
        device: &Device,
        compute: &ComputeValues<'_>,
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let steps = self.step_values(device, compute)?;
        let mut after = vec![0.0; self.segments.len()];
        let open: Vec<usize> = (0..self.segments.len())
            .filter(|&i| self.segments[i].end != SegmentEnd::Terminated)
            .collect();
        let Some(finals) = self.final_observations.as_ref().filter(|_| !open.is_empty()) else {
            return Ok((steps, after));
        };
        let mut batch = observations(&finals.gather(&open)?, device)?;
        if let Some(states) = &self.final_states {
            let states = states.gather(&open)?;
            batch.insert(Columns::STATE_IN, host_batch::upload(&states, device)?);
        }
        let found = to_f32(compute(&batch)?)?;
        open.into_iter().zip(found).for_each(|(i, value)| after[i] = value);
        Ok((steps, after))
    }

    fn step_values(&self, device: &Device, compute: &ComputeValues<'_>) -> Result<Vec<f32>> {
        let column = self.host()?.column(Columns::OBS)?;
        let Some(sequences) = self.sequences.as_ref().filter(|s| s.is_stateful()) else {
            return Ok(to_f32(compute(&observations(column, device)?)?)?);
        };
        let all: Vec<usize> = (0..sequences.rows.len()).collect();
        let (rows, mask) = sequences.padded(&all);
        let mut batch = observations(&column.gather(&rows)?, device)?;
        sequences.insert_columns(&mut batch, &all, device);
        let values = to_f32(compute(&batch)?)?;
        // Sequences are in order of their rows: without padding the values are, too.
        Ok(values.into_iter().zip(mask).filter_map(|(v, m)| (m > 0.0).then_some(v)).collect())
    }
}

fn observations(column: &Buffer, device: &Device) -> Result<Batch> {
    Ok(Batch::new().with(Columns::OBS, host_batch::upload(column, device)?))
}
