//! V-trace along the sequences of a minibatch.

use burn::prelude::*;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::device::is_host;
use rekindle_core::{Batch, Columns};

use super::LossContext;
use crate::error::Result;
use crate::ops::{self, VTraceConfig};

impl LossContext<'_> {
    /// Computes V-trace targets and advantages ([`ops::vtrace`](crate::ops::vtrace())) along the sequences
    /// of the minibatch, which [`TrainData::add_sequence_ends`](crate::TrainData::add_sequence_ends) made.
    /// No gradient flows through either. Those of padding are 0.
    ///
    /// # Shapes
    /// `log_ratios` (`log π(a|s) − log μ(a|s)`), `values`: `[B]`. Both results: `[B]`.
    ///
    /// # Errors
    /// If the minibatch has no ends of sequences, or the value function fails.
    pub fn vtrace(
        &self,
        log_ratios: Tensor<1>,
        values: Tensor<1>,
        config: &VTraceConfig,
    ) -> Result<[Tensor<1>; 2]> {
        let bootstraps = self.final_values()?;
        let rewards = self.batch().float::<1>(Columns::REWARDS)?;
        let terminated = self.batch().float::<1>(Columns::FINAL_TERMINATED)?;
        let mask = match self.mask()? {
            Some(mask) => mask,
            None => rewards.ones_like(),
        };
        let [log_ratios, values] = [log_ratios, values].map(Tensor::detach);
        if is_host(self.device) {
            let columns = [log_ratios, rewards, values, mask, bootstraps, terminated];
            return on_host(columns, self.device, config);
        }
        let (rows, sequences) = (rewards.dims()[0], terminated.dims()[0]);
        let len = rows / sequences.max(1);
        // Rows are sequences one after the other; the operation takes time-major columns.
        let by_time = |column: Tensor<1>| column.reshape([sequences, len]).transpose();
        let (mask, values) = (by_time(mask), by_time(values));
        let last = |column: Tensor<2>| match len {
            0 | 1 => column.zeros_like(),
            _ => Tensor::cat(
                vec![column.clone().narrow(0, 1, len - 1), column.narrow(0, 0, 1).zeros_like()],
                0,
            ),
        };
        // 1 at the last step of each sequence that counts.
        let done = mask.clone() - last(mask.clone());
        let following = last(values.clone());
        let bootstraps = bootstraps.unsqueeze_dim::<2>(0).expand([len, sequences]);
        let next_values = following.mask_where(done.clone().greater_elem(0.5), bootstraps);
        let terminated = done.clone() * terminated.unsqueeze_dim::<2>(0);
        let (targets, advantages) = ops::tensors::vtrace(
            by_time(log_ratios),
            by_time(rewards),
            values,
            next_values,
            terminated,
            done,
            config,
        );
        let padding = mask.equal_elem(0.0);
        let flat =
            |column: Tensor<2>| column.mask_fill(padding.clone(), 0.0).transpose().reshape([rows]);
        Ok([flat(targets), flat(advantages)])
    }

    /// Returns the values of the observations after the sequences, `[S]`, without gradients. They count
    /// where the episode was not terminated.
    fn final_values(&self) -> Result<Tensor<1>> {
        let mut batch =
            Batch::new().with(Columns::OBS, self.batch().column(Columns::FINAL_OBS)?.clone());
        if self.batch().contains(Columns::FINAL_STATE) {
            let states = self.batch().column(Columns::FINAL_STATE)?.clone();
            batch.insert(Columns::STATE_IN, states);
        }
        Ok(self.module.compute_values(&batch, None)?.detach())
    }
}

/// V-trace of each sequence on the host.
fn on_host(
    columns: [Tensor<1>; 6],
    device: &Device,
    config: &VTraceConfig,
) -> Result<[Tensor<1>; 2]> {
    let mut read = Vec::with_capacity(columns.len());
    for column in columns {
        read.push(to_f32(column)?);
    }
    let [log_ratios, rewards, values, mask, bootstraps, terminated] = &read[..] else {
        return Ok([Tensor::zeros([0], device), Tensor::zeros([0], device)]);
    };
    let len = rewards.len() / bootstraps.len().max(1);
    let (mut targets, mut advantages) = (vec![0.0; rewards.len()], vec![0.0; rewards.len()]);
    for (index, (bootstrap, terminated)) in bootstraps.iter().zip(terminated).enumerate() {
        let start = index * len;
        let counts = mask[start..start + len].iter().take_while(|m| **m > 0.0).count();
        let rows = start..start + counts;
        let bootstrap = if *terminated > 0.5 { 0.0 } else { *bootstrap };
        let of = |column: &Vec<f32>| column[rows.clone()].to_vec();
        let found = ops::vtrace(&of(log_ratios), &of(rewards), &of(values), bootstrap, config)?;
        targets[rows.clone()].copy_from_slice(&found.targets);
        advantages[rows].copy_from_slice(&found.advantages);
    }
    let tensor = |values: Vec<f32>| {
        let rows = values.len();
        Tensor::from_data(TensorData::new(values, [rows]), device)
    };
    Ok([tensor(targets), tensor(advantages)])
}
