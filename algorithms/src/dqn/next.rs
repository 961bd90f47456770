//! What follows the transitions of a minibatch.

use std::borrow::Cow;

use burn::module::Module;
use burn::prelude::*;
use rekindle_core::{Batch, Columns};
use rekindle_learner::{LossContext, Result};

use crate::off_policy::next_observations;
use crate::q_values::MASKED;

/// Rewards, and what the target networks say about the observations that follow. Without gradients.
#[derive(Debug)]
pub(super) struct Next {
    /// `[B]`.
    pub(super) rewards: Tensor<1>,
    /// Weights of what follows, `[B]`: 0 also where a mask allows no action, because nothing can follow there.
    pub(super) discounts: Tensor<1>,
    /// Outputs of the target networks.
    pub(super) outputs: Batch,
    /// Their action values, `[B, actions]`.
    pub(super) values: Tensor<2>,
    /// The next actions, counted from 0, `[B]`.
    pub(super) actions: Tensor<1, Int>,
}

impl Next {
    /// Computes the outputs of the target networks. The next actions are the best ones of the main network with
    /// `double_q`, and otherwise those of the target networks. Each pass of a noisy network has noise of its own.
    pub(super) fn new(cx: &LossContext<'_>, double_q: bool) -> Result<Self> {
        let batch = cx.batch();
        // Without gradients: Burn keeps a graph that nothing goes backward through.
        let module = cx.module.valid();
        let next = next_observations(cx)?;
        let noisy = with_noise(cx, &next)?;
        let outputs = module.forward_target(&noisy)?;
        let values = outputs.float::<2>(Columns::QF_PREDS)?;
        let choosing = match double_q {
            true => {
                let noisy = with_noise(cx, &next)?;
                module.compute_q_values(&noisy)?.float::<2>(Columns::QF_PREDS)?
            }
            false => values.clone(),
        };
        let actions = choosing.clone().argmax(1);
        let masked =
            choosing.gather(1, actions.clone()).squeeze_dim::<1>(1).lower_equal_elem(MASKED);
        let discounts = batch.float::<1>(Columns::DISCOUNTS)?.inner().mask_fill(masked, 0.0);
        let rewards = batch.float::<1>(Columns::REWARDS)?.inner();
        Ok(Self { rewards, discounts, outputs, values, actions: actions.squeeze_dim(1) })
    }
}

/// Adds noise of one pass, without gradients.
fn with_noise<'b>(cx: &LossContext<'_>, batch: &'b Batch) -> Result<Cow<'b, Batch>> {
    Ok(match cx.with_noise(batch) {
        Cow::Borrowed(batch) => Cow::Borrowed(batch),
        Cow::Owned(noisy) => {
            let noise = noisy.float::<2>(Columns::NOISE)?.inner();
            Cow::Owned(noisy.with(Columns::NOISE, noise))
        }
    })
}
