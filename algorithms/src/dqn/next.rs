//! What follows the transitions of a minibatch.

use std::borrow::Cow;

use burn::prelude::*;
use rekindle_core::{Batch, Columns};
use rekindle_learner::{LossContext, Result};

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
    /// Reads the outputs of the target networks for the observations that follow the rows of a minibatch. The next
    /// actions are the best ones of the main network, if its outputs are given, and otherwise those of the target
    /// networks.
    pub(super) fn new(batch: &Batch, of_target: Batch, online: Option<Batch>) -> Result<Self> {
        let values = of_target.float::<2>(Columns::QF_PREDS)?;
        let choosing = match online {
            Some(online) => online.float::<2>(Columns::QF_PREDS)?,
            None => values.clone(),
        };
        let actions = choosing.clone().argmax(1);
        let masked =
            choosing.gather(1, actions.clone()).squeeze_dim::<1>(1).lower_equal_elem(MASKED);
        let discounts = batch.float::<1>(Columns::DISCOUNTS)?.inner().mask_fill(masked, 0.0);
        let rewards = batch.float::<1>(Columns::REWARDS)?.inner();
        let actions = actions.squeeze_dim(1);
        Ok(Self { rewards, discounts, outputs: of_target, values, actions })
    }
}

/// Adds noise of one pass, without gradients.
pub(super) fn with_noise<'b>(cx: &LossContext<'_>, batch: &'b Batch) -> Result<Cow<'b, Batch>> {
    Ok(match cx.with_noise(batch) {
        Cow::Borrowed(batch) => Cow::Borrowed(batch),
        Cow::Owned(noisy) => {
            let noise = noisy.float::<2>(Columns::NOISE)?.inner();
            Cow::Owned(noisy.with(Columns::NOISE, noise))
        }
    })
}
