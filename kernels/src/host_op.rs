//! Custom operations on host memory, each with a handwritten gradient.
//!
//! Burn's CPU backend runs the operations of a composition one by one, each with its own buffer and its
//! own node in the autodiff graph. For code that runs thousands of times per second, one fused operation
//! is faster: implement [`HostOp`] and call [`apply`]. It returns `None` for tensors on other devices and in
//! an [`eager`] scope, where the composition remains the
//! fallback.

use std::fmt::Debug;
use std::sync::Arc;

use burn::prelude::*;

use rekindle_core::AnyTensor;

use crate::eager;

#[cfg(feature = "flex")]
pub(super) mod flex;

/// An operation over `N` tensors in host memory.
pub trait HostOp<const N: usize>: Debug + Send + Sync + 'static {
    /// Data that the forward pass saves for the backward pass.
    type Saved: Debug + Send + Sync + 'static;

    /// Computes the result in row-major order. `tracked` is whether a backward pass may follow.
    fn forward(&self, inputs: [&[f32]; N], tracked: bool) -> (Vec<f32>, Self::Saved);

    /// Computes the gradients of the inputs that need one.
    fn backward(&self, pass: Pass<'_, Self::Saved, N>) -> [Option<Vec<f32>>; N];
}

/// The inputs of a backward pass. All elements are in row-major order.
#[derive(Debug)]
pub struct Pass<'a, S, const N: usize> {
    /// The inputs of the forward pass.
    pub inputs: [&'a [f32]; N],
    /// The output of the forward pass.
    pub output: &'a [f32],
    /// The data that the forward pass saved.
    pub saved: &'a S,
    /// The gradient of the output.
    pub gradient: &'a [f32],
    /// Whether each input needs a gradient.
    pub needs: [bool; N],
}

/// Returns the elements of a tensor of 32-bit floats that is contiguous in host memory and tracks no gradients.
#[cfg(feature = "flex")]
pub(crate) fn elements(tensor: &AnyTensor) -> Option<&[f32]> {
    flex::as_plain(tensor)?.as_slice()
}

/// Whether [`apply`] accepts these tensors: 32-bit floats in host memory, either all with gradients or
/// all without. Gradients with checkpointing are not supported. `false` in an [`eager`] scope.
#[must_use]
pub fn applies<const N: usize>(operands: [&AnyTensor; N]) -> bool {
    #[cfg(feature = "flex")]
    return !eager::is_eager() && flex::applies(operands);
    #[cfg(not(feature = "flex"))]
    {
        let _ = operands;
        false
    }
}

/// Applies an operation. Returns the result and the data saved for the backward pass, or `None` if the
/// tensors are not accepted (see [`applies`]).
///
/// # Shapes
/// The result has shape `shape`.
#[must_use]
pub fn apply<O: HostOp<N>, const N: usize, const D: usize>(
    op: O,
    operands: [&AnyTensor; N],
    shape: [usize; D],
) -> Option<(Tensor<D>, Arc<O::Saved>)> {
    if eager::is_eager() {
        return None;
    }
    #[cfg(feature = "flex")]
    return flex::apply(op, operands, shape);
    #[cfg(not(feature = "flex"))]
    {
        let _ = (op, operands, shape);
        None
    }
}
