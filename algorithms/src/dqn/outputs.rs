//! The outputs of a Q-network that the loss of DQN reads, for rows and for sequences.

use burn::module::Module;
use rekindle_core::{Batch, Column, Columns};
use rekindle_learner::{LossContext, Result};
use rekindle_rl_module::AnyRLModule;

use super::DqnTraining;
use super::next::{Next, with_noise};
use crate::off_policy::{Sequences, next_observations};

/// What the networks say about each row of a minibatch.
///
/// The minibatch of a module with memory is made of [`Sequences`].
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
        if let Some(sequences) = Sequences::of(cx.batch(), config.burn_in_len)? {
            return Self::of_sequences(cx, &module, config, &sequences);
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
        sequences: &Sequences,
    ) -> Result<Self> {
        let batch = cx.batch();
        let main = sequences.state(batch, |inputs| Ok(module.compute_q_values(inputs)?))?;
        let target = sequences.state(batch, |inputs| Ok(module.forward_target(inputs)?))?;
        let observations = sequences.learned(batch.column(Columns::OBS)?)?;
        let with_state = |observations: Column, state: Column| {
            Batch::new().with(Columns::OBS, observations).with(Columns::STATE_IN, state)
        };
        let inputs = with_state(observations.clone(), Column::from_inner(&main)?);
        let online = cx.module.forward_train(&cx.with_noise(&inputs))?;
        let of_target = with_state(observations.inner()?, target);
        let of_target = module.forward_target(&*with_noise(cx, &of_target)?)?;

        let next = sequences.next_rows(batch)?;
        let next_online = match config.double_q {
            true => Some(q_values(&online)?.select_rows(&next)),
            false => None,
        };
        let next = Next::new(batch, of_target.select_rows(&next), next_online)?;
        Ok(Self { online: online.select_rows(&sequences.output_rows()), next })
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

#[cfg(test)]
mod tests;
