//! The outputs of a Q-network that the loss of DQN reads, for rows and for sequences.

use burn::module::Module;
use burn::prelude::*;
use rekindle_core::{Batch, Column, Columns};
use rekindle_learner::replay::{BURN_IN_STATE, BURNED_IN, NEXT_ROWS};
use rekindle_learner::{LossContext, Result};
use rekindle_rl_module::AnyRLModule;

use super::DqnTraining;
use super::next::{Next, with_noise};
use crate::off_policy::next_observations;

/// What the networks say about each row of a minibatch.
///
/// The minibatch of a module with memory is made of sequences. Each network then runs once over all of them,
/// from the stored state or from that after a burn-in, and the outputs for what follows a row are those of a later
/// row.
pub(super) struct Outputs {
    /// The outputs of the main network, with gradients.
    pub(super) online: Batch,
    /// What the networks say about the observation that follows.
    pub(super) next: Next,
}

impl Outputs {
    pub(super) fn of(cx: &LossContext<'_>, config: &DqnTraining) -> Result<Self> {
        // Without gradients: Burn keeps a graph that nothing goes backward through.
        let module = cx.module.valid();
        if cx.batch().contains(NEXT_ROWS) {
            return Self::of_sequences(cx, &module, config);
        }
        let next = next_observations(cx)?;
        // Each pass of a noisy network has noise of its own.
        let of_target = module.forward_target(&*with_noise(cx, &next)?)?;
        let online = match config.double_q {
            true => Some(module.compute_q_values(&*with_noise(cx, &next)?)?),
            false => None,
        };
        Ok(Self { online: cx.outputs()?.clone(), next: Next::new(cx.batch(), of_target, online)? })
    }

    fn of_sequences(
        cx: &LossContext<'_>,
        module: &AnyRLModule,
        config: &DqnTraining,
    ) -> Result<Self> {
        let batch = cx.batch();
        let sequences = Sequences::of(batch, config.burn_in_len)?;
        let [main, target] = sequences.states(batch, module)?;
        let observations = batch.column(Columns::OBS)?.select_rows(&sequences.learned)?;
        let with_state = |observations: Column, state: Column| {
            Batch::new().with(Columns::OBS, observations).with(Columns::STATE_IN, state)
        };
        let inputs = with_state(observations.clone(), Column::from_inner(&main)?);
        let online = cx.module.forward_train(&cx.with_noise(&inputs))?;
        let of_target = with_state(observations.inner()?, target);
        let of_target = module.forward_target(&*with_noise(cx, &of_target)?)?;

        let next = batch.int::<1>(NEXT_ROWS)? + sequences.firsts.clone();
        let next = next.inner();
        let next_online = match config.double_q {
            true => Some(q_values(&online)?.select_rows(&next)),
            false => None,
        };
        let next = Next::new(batch, of_target.select_rows(&next), next_online)?;
        Ok(Self { online: online.select_rows(&sequences.outputs), next })
    }
}

/// Returns the outputs for each row, without gradients and without the state, which is one for each sequence. The next
/// actions share the noise of the main network's pass: a second pass over the sequences would cost as much again.
fn q_values(outputs: &Batch) -> Result<Batch> {
    let mut inner = Batch::new();
    for name in outputs.names().filter(|name| *name != Columns::STATE_OUT) {
        inner.insert(name.to_owned(), outputs.column(name)?.clone().inner()?);
    }
    Ok(inner)
}

/// The rows of sequences. Each has `P = burn_in + L` rows in the minibatch, and the networks run over the last `L`.
struct Sequences {
    count: usize,
    burn_in: usize,
    device: Device,
    /// The rows that follow the burn-in, `[S · L]`.
    learned: Tensor<1, Int>,
    /// For each row of the minibatch the row of the outputs, `[S · P]`. Rows of the burn-in, which do not count,
    /// have those of the first row after it.
    outputs: Tensor<1, Int>,
    /// For each row of the minibatch the first row of its sequence in the outputs, `[S · P]`.
    firsts: Tensor<1, Int>,
}

impl Sequences {
    fn of(batch: &Batch, burn_in: usize) -> Result<Self> {
        let count = batch.column(Columns::STATE_IN)?.rows().max(1);
        let rewards = batch.float::<1>(Columns::REWARDS)?;
        let (padded, device) = (rewards.dims()[0] / count, rewards.device());
        let burn_in = burn_in.min(padded);
        let steps = padded - burn_in;
        let ints = |rows: Vec<i64>| {
            let len = rows.len();
            Tensor::<1, Int>::from_data(TensorData::new(rows, [len]), &device)
        };
        let each = |width: usize, row: &dyn Fn(usize, usize) -> usize| {
            let rows = (0..count).flat_map(|s| (0..width).map(move |t| (s, t)));
            ints(rows.map(|(s, t)| row(s, t) as i64).collect())
        };
        Ok(Self {
            count,
            burn_in,
            learned: each(steps, &|s, t| s * padded + burn_in + t),
            outputs: each(padded, &|s, t| s * steps + t.saturating_sub(burn_in)),
            firsts: each(padded, &|s, _| s * steps),
            device,
        })
    }

    /// Returns the states of the main and the target network after the burn-in, without gradients. A sequence
    /// without burn-in has the stored state.
    fn states(&self, batch: &Batch, module: &AnyRLModule) -> Result<[Column; 2]> {
        let stored = batch.column(Columns::STATE_IN)?.clone().inner()?;
        if self.burn_in == 0 || !batch.contains(BURN_IN_STATE) {
            return Ok([stored.clone(), stored]);
        }
        let padded = self.outputs.dims()[0] / self.count;
        let rows = (0..self.count).flat_map(|s| (0..self.burn_in).map(move |t| s * padded + t));
        let rows: Vec<i64> = rows.map(|row| row as i64).collect();
        let shape = [rows.len()];
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, shape), &self.device);
        let observations = batch.column(Columns::OBS)?.select_rows(&rows)?.inner()?;
        let inputs = Batch::new()
            .with(Columns::OBS, observations)
            .with(Columns::STATE_IN, batch.column(BURN_IN_STATE)?.clone().inner()?);
        // Row `s` of the stored states, or row `s` of those after the burn-in, which follow them.
        let burned_in = batch.float::<1>(BURNED_IN)?.inner().int();
        let own: Vec<i64> = (0..self.count as i64).collect();
        let own = TensorData::new(own, [self.count]);
        let own = Tensor::<1, Int>::from_data(own, &burned_in.device());
        let chosen = burned_in * self.count as i64 + own;
        let after = |outputs: Batch| -> Result<Column> {
            let after = outputs.column(Columns::STATE_OUT)?;
            Ok(stored.cat(after)?.select_rows(&chosen)?)
        };
        Ok([after(module.compute_q_values(&inputs)?)?, after(module.forward_target(&inputs)?)?])
    }
}

#[cfg(test)]
mod tests;
