//! Operations computed on host memory in one pass, with a gradient written by hand.
//!
//! Burn's CPU backend runs a composition of operations one by one, each with its own buffer, and
//! its own node of the autodiff graph. What a policy does thousands of times a second is one
//! operation instead: implement [`HostOp`] and call [`apply`], which says `None` where the tensors
//! are on another device, so that the composition remains for those.

use std::fmt::Debug;
use std::sync::Arc;

use burn::prelude::*;

use rekindle_core::AnyTensor;

#[cfg(feature = "flex")]
pub(super) mod flex;

/// An operation over `N` tensors in host memory.
pub trait HostOp<const N: usize>: Debug + Send + Sync + 'static {
    /// What the forward pass leaves for the backward pass.
    type Saved: Debug + Send + Sync + 'static;

    /// The result in row-major order; `tracked` says whether a backward pass may follow.
    fn forward(&self, inputs: [&[f32]; N], tracked: bool) -> (Vec<f32>, Self::Saved);

    /// The gradients of the inputs that need one.
    fn backward(&self, pass: Pass<'_, Self::Saved, N>) -> [Option<Vec<f32>>; N];
}

/// What a backward pass starts from; all elements in row-major order.
#[derive(Debug)]
pub struct Pass<'a, S, const N: usize> {
    /// As in the forward pass.
    pub inputs: [&'a [f32]; N],
    /// What the forward pass gave.
    pub output: &'a [f32],
    /// What the forward pass left.
    pub saved: &'a S,
    /// The gradient of the output.
    pub gradient: &'a [f32],
    /// Which inputs need a gradient.
    pub needs: [bool; N],
}

/// Whether [`apply`] takes these tensors: 32-bit floats in host memory, all with gradients (but not
/// of checkpointed autodiff) or all without.
pub fn applies<const N: usize>(operands: [&AnyTensor; N]) -> bool {
    #[cfg(feature = "flex")]
    return flex::applies(operands);
    #[cfg(not(feature = "flex"))]
    {
        let _ = operands;
        false
    }
}

/// Applies an operation, and says what its forward pass left; `None` where it does not apply to
/// these tensors ([`applies`]).
///
/// # Shapes
/// The result has shape `shape`.
pub fn apply<O: HostOp<N>, const N: usize, const D: usize>(
    op: O,
    operands: [&AnyTensor; N],
    shape: [usize; D],
) -> Option<(Tensor<D>, Arc<O::Saved>)> {
    #[cfg(feature = "flex")]
    return flex::apply(op, operands, shape);
    #[cfg(not(feature = "flex"))]
    {
        let _ = (op, operands, shape);
        None
    }
}
