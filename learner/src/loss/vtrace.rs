//! V-trace along the sequences of a minibatch.

use burn::prelude::*;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::device::is_host;
use rekindle_core::{Batch, Columns};
use rekindle_kernels::eager::is_eager;

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
        let columns = [log_ratios, rewards, values, mask, bootstraps, terminated];
        match is_host(self.device) && !is_eager() {
            true => on_host(columns, self.device, config),
            false => Ok(on_tensors(columns, config)),
        }
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

/// Log-ratios, rewards, values and mask, `[S·T]`, and what follows each sequence: the value, and whether
/// the episode was terminated, `[S]`.
type SequenceColumns = [Tensor<1>; 6];

/// V-trace of all sequences at once, on their device.
fn on_tensors(columns: SequenceColumns, config: &VTraceConfig) -> [Tensor<1>; 2] {
    let [log_ratios, rewards, values, mask, bootstraps, terminated] = columns;
    let (rows, sequences) = (rewards.dims()[0], terminated.dims()[0]);
    let len = rows / sequences.max(1);
    // Rows are sequences one after the other; the operation takes time-major columns.
    let by_time = |column: Tensor<1>| column.reshape([sequences, len]).transpose();
    let (mask, values) = (by_time(mask), by_time(values));
    let next = |column: Tensor<2>| match len {
        0 | 1 => column.zeros_like(),
        _ => Tensor::cat(
            vec![column.clone().narrow(0, 1, len - 1), column.narrow(0, 0, 1).zeros_like()],
            0,
        ),
    };
    // 1 at the last step of each sequence that counts.
    let done = mask.clone() - next(mask.clone());
    let bootstraps = bootstraps.unsqueeze_dim::<2>(0).expand([len, sequences]);
    let next_values = next(values.clone()).mask_where(done.clone().greater_elem(0.5), bootstraps);
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
    [flat(targets), flat(advantages)]
}

/// V-trace of each sequence on the host.
fn on_host(
    columns: SequenceColumns,
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

#[cfg(test)]
mod tests {
    use rekindle_core::Generator;

    use super::*;

    fn close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < 2e-5, "{found:?} {expected:?}");
        }
    }

    /// Sequences of these lengths, padded to `len` with entries that are not finite, and a flag for each
    /// that was terminated.
    fn columns(lens: &[usize], len: usize, seed: u64) -> [Vec<f32>; 6] {
        let mut rng = Generator::from_seed(seed);
        let mask: Vec<f32> = lens
            .iter()
            .flat_map(|of| (0..len).map(move |t| if t < *of { 1.0 } else { 0.0 }))
            .collect();
        let column = |rng: &mut Generator| -> Vec<f32> {
            let draw = |m: &f32| if *m > 0.0 { rng.uniform(-1.0, 1.0) as f32 } else { f32::NAN };
            mask.iter().map(draw).collect()
        };
        let [log_ratios, rewards, values] = [0; 3].map(|_| column(&mut rng));
        let bootstraps = lens.iter().map(|_| rng.uniform(-1.0, 1.0) as f32).collect();
        let terminated = (0..lens.len()).map(|i| if i % 3 == 1 { 1.0 } else { 0.0 }).collect();
        [log_ratios, rewards, values, mask, bootstraps, terminated]
    }

    fn tensors(columns: &[Vec<f32>; 6]) -> SequenceColumns {
        columns.clone().map(|column| Tensor::from_floats(&column[..], &Device::flex()))
    }

    fn read(columns: [Tensor<1>; 2]) -> [Vec<f32>; 2] {
        columns.map(|column| to_f32(column).unwrap())
    }

    #[test]
    fn both_branches_equal_vtrace_of_each_sequence() {
        let config = VTraceConfig {
            lambda_: 0.9,
            clip_rho_threshold: 1.3,
            clip_pg_rho_threshold: 0.8,
            ..VTraceConfig::default()
        };
        for (lens, len) in [(&[4, 1, 3, 4, 2, 1][..], 4), (&[1, 1, 1], 1), (&[5], 5), (&[1, 2], 6)]
        {
            let columns = columns(lens, len, 4);
            let [log_ratios, rewards, values, _, bootstraps, terminated] = &columns;
            let (mut targets, mut advantages) = (Vec::new(), Vec::new());
            for (index, of) in lens.iter().enumerate() {
                let rows = index * len..index * len + of;
                let bootstrap = if terminated[index] > 0.0 { 0.0 } else { bootstraps[index] };
                let of = |column: &[f32]| column[rows.clone()].to_vec();
                let found =
                    ops::vtrace(&of(log_ratios), &of(rewards), &of(values), bootstrap, &config);
                let mut found = found.unwrap();
                found.targets.resize(len, 0.0);
                found.advantages.resize(len, 0.0);
                targets.extend(found.targets);
                advantages.extend(found.advantages);
            }
            let host = read(on_host(tensors(&columns), &Device::flex(), &config).unwrap());
            let device = read(on_tensors(tensors(&columns), &config));
            for [found_targets, found_advantages] in [host, device] {
                close(&found_targets, &targets);
                close(&found_advantages, &advantages);
            }
        }
    }

    /// `vs_t = V_t + Σ_k γ^k (Π_{i<k} c_i) δ_{t+k}`, as RLlib's test defines it.
    #[test]
    fn five_steps_of_ten_sequences_equal_the_sum_of_products() {
        let (steps, count) = (5, 10);
        let columns = columns(&[5; 10], steps, 9);
        let config = VTraceConfig {
            clip_rho_threshold: 3.7,
            clip_pg_rho_threshold: 2.2,
            ..VTraceConfig::default()
        };
        let [log_ratios, rewards, values, _, bootstraps, terminated] = &columns;
        let (mut targets, mut advantages) = (Vec::new(), Vec::new());
        for n in 0..count {
            let at = |t: usize| n * steps + t;
            let ratio = |t: usize| log_ratios[at(t)].exp();
            let value = |t: usize| match t < steps {
                true => values[at(t)],
                false => bootstraps[n] * (1.0 - terminated[n]),
            };
            let target = |t: usize| {
                let terms = (t..steps).map(|k| {
                    let traces: f32 = (t..k).map(|i| config.gamma * ratio(i).min(1.0)).product();
                    let delta = rewards[at(k)] + config.gamma * value(k + 1) - value(k);
                    traces * ratio(k).min(config.clip_rho_threshold) * delta
                });
                value(t) + terms.sum::<f32>()
            };
            for t in 0..steps {
                targets.push(target(t));
                let next = if t + 1 < steps { target(t + 1) } else { value(steps) };
                let error = rewards[at(t)] + config.gamma * next - value(t);
                advantages.push(ratio(t).min(config.clip_pg_rho_threshold) * error);
            }
        }
        let host = read(on_host(tensors(&columns), &Device::flex(), &config).unwrap());
        for [found_targets, found_advantages] in
            [host, read(on_tensors(tensors(&columns), &config))]
        {
            close(&found_targets, &targets);
            close(&found_advantages, &advantages);
        }
    }
}
