//! Batch renormalization of the inputs of an ensemble's layers.

use burn::module::{Module, Param, ParamId};
use burn::prelude::*;
use rekindle_core::AnyTensor;

use crate::builder::ModelBuilder;

/// Added to variances (CrossQ's).
const EPSILON: f32 = 1e-3;

/// Share of the batch's statistics that running statistics take over at each step (CrossQ's).
const MOMENTUM: f32 = 0.01;

/// Largest quotient of a batch's standard deviation and the running one, and of the inverse (CrossQ's).
const MAX_RATIO: f32 = 3.0;

/// Largest distance of a batch's mean from the running one, in running standard deviations (CrossQ's).
const MAX_DISTANCE: f32 = 5.0;

/// Keeps the gradient of a square root finite at 0: an input that never changes has no variance.
const TINY: f32 = 1e-12;

/// The running statistics that a training pass leads to, by the id of the parameter that holds them. They have no
/// gradient: a learner writes them to the module after its step.
pub type RunningStatistics = Vec<(ParamId, AnyTensor)>;

/// The batch renormalizations of several networks at one depth (Ioffe, 2017), as in sb3-contrib's CrossQ.
///
/// A training pass normalizes by mean `μ` and variance `v` of the batch. After a warm-up, it corrects them towards the
/// running mean and standard deviation `m` and `s`: with `r = √v/s` within `[⅓, 3]` and `d = (μ − m)/s` within
/// `[−5, 5]`, both without gradients, the mean is `μ − d·√v/r` and the variance `v/r²`. Any other pass normalizes by
/// the running statistics.
///
/// # Shapes
/// Parameters `[members, width]`, except `num_batches_tracked`, `[1]`.
#[derive(Module, Debug)]
pub struct EnsembleBatchRenorm {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<2>>,
    running_mean: Param<Tensor<2>>,
    running_var: Param<Tensor<2>>,
    num_batches_tracked: Param<Tensor<1>>,
    #[module(skip)]
    warmup_steps: u64,
}

impl EnsembleBatchRenorm {
    /// Creates the normalizations of inputs of some width. They renormalize after `warmup_steps` training passes.
    #[must_use]
    pub fn new(builder: &ModelBuilder, members: usize, width: usize, warmup_steps: u64) -> Self {
        let param = |value| builder.param(vec![value; members * width], [members, width]);
        Self {
            weight: param(1.0),
            bias: param(0.0),
            running_mean: param(0.0),
            running_var: param(1.0),
            num_batches_tracked: builder.param(vec![0.0], [1]),
            warmup_steps,
        }
    }

    /// Normalizes by the statistics of the batch. Also returns the running statistics after it.
    ///
    /// # Shapes
    /// `[1, B, width]`, the same rows for all members, or `[members, B, width]`; result `[members, B, width]`.
    pub(crate) fn forward_in_training(&self, x: Tensor<3>) -> (Tensor<3>, RunningStatistics) {
        // Unbiased, as in sb3-contrib.
        let (variance, mean) = x.clone().var_mean(1);
        let [running_mean, running_var] =
            [&self.running_mean, &self.running_var].map(|running| running.val().detach());
        let running_std = (running_var.clone() + EPSILON).sqrt().unsqueeze_dim::<3>(1);
        let std = (variance.clone().detach() + EPSILON).sqrt();
        let ratio = (std / running_std.clone()).clamp(1.0 / MAX_RATIO, MAX_RATIO);
        let distance = mean.clone().detach() - running_mean.clone().unsqueeze_dim(1);
        let distance = (distance / running_std).clamp(-MAX_DISTANCE, MAX_DISTANCE);
        // Decided without waiting for the device.
        let passes = self.num_batches_tracked.val().detach();
        let corrects = passes.clone().greater_elem(self.warmup_steps as f64).float();
        let corrects = corrects.reshape([1, 1, 1]);
        let ratio = (ratio - 1.0) * corrects.clone() + 1.0;
        let distance = distance * corrects;

        let spread = variance.clone().clamp_min(TINY).sqrt();
        let center = mean.clone() - distance * spread / ratio.clone();
        let scale = (variance.clone() / ratio.square() + EPSILON).sqrt();
        let normal = (x - center) / scale;
        let y = normal * self.weight.val().unsqueeze_dim(1) + self.bias.val().unsqueeze_dim(1);

        let follow = |running: Tensor<2>, batch: Tensor<3>| {
            let batch = batch.detach().squeeze_dim::<2>(1);
            running.clone() + (batch - running) * MOMENTUM
        };
        let statistics = vec![
            (self.running_mean.id, constant(follow(running_mean, mean))),
            (self.running_var.id, constant(follow(running_var, variance))),
            (self.num_batches_tracked.id, constant(passes + 1.0)),
        ];
        (y, statistics)
    }

    /// Returns the linear layer that computes what the normalization by running statistics and the layer `weight` and
    /// `bias` after it compute.
    ///
    /// # Shapes
    /// Weights `[members, width, outputs]`, biases `[members, outputs]`.
    pub(crate) fn fold(&self, weight: Tensor<3>, bias: Tensor<2>) -> (Tensor<3>, Tensor<2>) {
        let std = (self.running_var.val().detach() + EPSILON).sqrt();
        let factor = self.weight.val() / std;
        let offset = self.bias.val() - self.running_mean.val().detach() * factor.clone();
        let bias = bias + offset.unsqueeze_dim::<3>(1).matmul(weight.clone()).squeeze_dim::<2>(1);
        (weight * factor.unsqueeze_dim::<3>(2), bias)
    }
}

/// Returns a tensor without the graph of its gradients.
fn constant<const D: usize>(tensor: Tensor<D>) -> AnyTensor {
    match tensor.is_autodiff() {
        true => tensor.inner().into(),
        false => tensor.into(),
    }
}

#[cfg(test)]
mod tests;
