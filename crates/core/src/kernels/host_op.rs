//! Operations computed on host memory in one pass, with a gradient written by hand.
//!
//! Burn's CPU backend runs a composition of operations one by one, each with its own buffer, and
//! its own node of the autodiff graph. What a policy does thousands of times a second is one
//! operation instead: implement [`HostOp`] and call [`apply`], which says `None` where the tensors
//! are on another device, so that the composition remains for those.

use std::fmt::Debug;
use std::sync::Arc;

use burn::prelude::*;

#[cfg(feature = "flex")]
mod flex;

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

/// A tensor in host memory, of any rank.
#[derive(Debug)]
pub struct Operand(#[cfg(feature = "flex")] flex::Operand, #[cfg(not(feature = "flex"))] Never);

/// Without a CPU backend no tensor is in host memory.
#[cfg(not(feature = "flex"))]
#[derive(Debug)]
enum Never {}

impl Operand {
    /// The tensor, if it is of 32-bit floats in host memory, and of no unexpected form
    /// (checkpointed autodiff).
    pub fn new<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        #[cfg(feature = "flex")]
        return flex::Operand::new(tensor).map(Self);
        #[cfg(not(feature = "flex"))]
        {
            let _ = tensor;
            None
        }
    }
}

/// Applies an operation; `None` if an operand is none, or only some are on a device with gradients.
///
/// # Shapes
/// The result has shape `shape`.
pub fn apply<O: HostOp<N>, const N: usize, const D: usize>(
    op: O,
    operands: [Option<Operand>; N],
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
