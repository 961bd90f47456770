//! Activations of fused layers.

use burn::prelude::*;

use crate::tanh::tanh;

/// An activation of a fused layer. Its derivative is a function of its output alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenseActivation {
    /// The identity.
    Linear,
    /// `max(0, x)`.
    Relu,
    /// `tanh(x)`.
    Tanh,
}

impl DenseActivation {
    pub(crate) fn forward(self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Linear => x,
            Self::Relu => burn::tensor::activation::relu(x),
            Self::Tanh => tanh(x),
        }
    }
}
