//! What policies and critics read of a minibatch, for rows and for sequences.

use std::borrow::Cow;
use std::cell::OnceCell;

use burn::module::Module;
use burn::prelude::*;
use rekindle_core::{Batch, Column, Columns};
use rekindle_learner::{LossContext, Result};
use rekindle_rl_module::AnyRLModule;

use super::Sequences;

/// The inputs of policies and critics, and the rows of the minibatch that their outputs belong to.
///
/// A minibatch of rows has the observations that follow in a column of their own. In one of
/// [sequences](Sequences), they are observations of later rows.
pub(crate) struct Replayed<'c, 'a> {
    cx: &'c LossContext<'a>,
    /// The module without gradients: Burn keeps a graph that nothing goes backward through.
    module: OnceCell<AnyRLModule>,
    sequences: Option<Sequences>,
    /// The state of the main networks after the burn-in.
    main_state: OnceCell<Column>,
}

impl<'c, 'a> Replayed<'c, 'a> {
    pub(crate) fn of(cx: &'c LossContext<'a>, burn_in: usize) -> Result<Self> {
        let sequences = Sequences::of(cx.batch(), burn_in)?;
        Ok(Self { cx, module: OnceCell::new(), sequences, main_state: OnceCell::new() })
    }

    /// Returns the module without gradients.
    pub(crate) fn module(&self) -> &AnyRLModule {
        self.module.get_or_init(|| self.cx.module.valid())
    }

    /// Returns observations, actions and states for passes of the main networks with gradients.
    pub(crate) fn inputs(&self) -> Result<Cow<'a, Batch>> {
        let batch = self.cx.batch();
        let Some(sequences) = &self.sequences else { return Ok(Cow::Borrowed(batch)) };
        let inputs = Batch::new()
            .with(Columns::OBS, sequences.learned(batch.column(Columns::OBS)?)?)
            .with(Columns::ACTIONS, sequences.learned(batch.column(Columns::ACTIONS)?)?)
            .with(Columns::STATE_IN, Column::from_inner(self.main_state(sequences)?)?);
        Ok(Cow::Owned(inputs))
    }

    /// Returns observations and states for passes of the main networks without gradients.
    pub(crate) fn inputs_without_gradients(&self) -> Result<Batch> {
        let batch = self.cx.batch();
        let observations = batch.column(Columns::OBS)?;
        Ok(match &self.sequences {
            None => Batch::new().with(Columns::OBS, observations.clone().inner()?),
            Some(sequences) => Batch::new()
                .with(Columns::OBS, sequences.learned(observations)?.inner()?)
                .with(Columns::STATE_IN, self.main_state(sequences)?.clone()),
        })
    }

    /// Returns observations and states that have those which follow among them: for passes of the main networks,
    /// and for passes of the target networks. Without gradients.
    pub(crate) fn next_inputs(&self) -> Result<[Batch; 2]> {
        let batch = self.cx.batch();
        let Some(sequences) = &self.sequences else {
            let next = batch.column(Columns::NEXT_OBS)?.clone().inner()?;
            let next = Batch::new().with(Columns::OBS, next);
            return Ok([next.clone(), next]);
        };
        let run = |inputs: &Batch| Ok(self.module().forward_target(inputs)?);
        let target_state = sequences.state(batch, run)?;
        let of_main = self.inputs_without_gradients()?;
        let of_target = of_main.clone().with(Columns::STATE_IN, target_state);
        Ok([of_main, of_target])
    }

    fn main_state(&self, sequences: &Sequences) -> Result<&Column> {
        if let Some(state) = self.main_state.get() {
            return Ok(state);
        }
        let run = |inputs: &Batch| Ok(self.module().forward_train(inputs)?);
        let state = sequences.state(self.cx.batch(), run)?;
        Ok(self.main_state.get_or_init(|| state))
    }

    /// Returns the inputs of the action distribution, with gradients: one row for each row of the
    /// [inputs](Self::inputs).
    pub(crate) fn action_dist_inputs(&self) -> Result<Tensor<2>> {
        match &self.sequences {
            None => self.cx.action_dist_inputs(),
            Some(_) => {
                let outputs = self.cx.module.forward_train(&*self.inputs()?)?;
                Ok(outputs.float::<2>(Columns::ACTION_DIST_INPUTS)?)
            }
        }
    }

    /// Returns for each row of the minibatch its row of what networks computed from the [inputs](Self::inputs).
    pub(crate) fn of_rows<const D: usize>(&self, outputs: Tensor<D>) -> Tensor<D> {
        match &self.sequences {
            None => outputs,
            Some(sequences) => outputs.select(0, sequences.output_rows()),
        }
    }

    /// Returns for each row of the minibatch what networks computed for the observation that follows, from the
    /// [next inputs](Self::next_inputs).
    pub(crate) fn after_rows<const D: usize>(&self, outputs: Tensor<D>) -> Result<Tensor<D>> {
        Ok(match &self.sequences {
            None => outputs,
            Some(sequences) => outputs.select(0, sequences.next_rows(self.cx.batch())?),
        })
    }
}

/// Returns the observations and states of a batch with other actions.
pub(crate) fn with_actions(inputs: &Batch, actions: Tensor<2>) -> Result<Batch> {
    let mut batch = Batch::new().with(Columns::OBS, inputs.column(Columns::OBS)?.clone());
    if let Some(state) = inputs.get(Columns::STATE_IN)? {
        batch.insert(Columns::STATE_IN, state.clone());
    }
    Ok(batch.with(Columns::ACTIONS, actions))
}
