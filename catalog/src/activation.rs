//! Activation functions by name.

use burn::prelude::*;
use burn::tensor::activation;
use rekindle_kernels::DenseActivation;
use rekindle_onnx::{Graph, Value};
use serde::{Deserialize, Serialize};

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activation {
    /// No activation: `x`.
    Linear,
    /// `max(0, x)`.
    Relu,
    /// `tanh(x)`.
    #[default]
    Tanh,
    /// `x · sigmoid(x)`, also called swish.
    #[serde(alias = "swish")]
    Silu,
    /// `x` if positive, else `exp(x) − 1`.
    Elu,
    /// `1 / (1 + exp(−x))`.
    Sigmoid,
    /// Gaussian error linear unit.
    Gelu,
}

impl Activation {
    /// Applies the function to every element.
    #[must_use]
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Linear => x,
            Self::Relu => activation::relu(x),
            Self::Tanh => rekindle_kernels::tanh(x),
            Self::Silu => activation::silu(x),
            Self::Elu => activation::elu(x, 1.0),
            Self::Sigmoid => activation::sigmoid(x),
            Self::Gelu => gelu(x),
        }
    }

    /// Adds the function to an ONNX graph.
    pub fn export_onnx(self, graph: &mut Graph, x: &Value) -> Value {
        match self {
            Self::Linear => x.clone(),
            Self::Relu => graph.node("Relu", &[x], &[]),
            Self::Tanh => graph.node("Tanh", &[x], &[]),
            Self::Silu => {
                let gate = graph.node("Sigmoid", &[x], &[]);
                graph.mul(x, &gate)
            }
            Self::Elu => graph.node("Elu", &[x], &[]),
            Self::Sigmoid => graph.node("Sigmoid", &[x], &[]),
            Self::Gelu => {
                let scaled = graph.mul_scalar(x, std::f32::consts::FRAC_1_SQRT_2);
                let erf = graph.node("Erf", &[&scaled], &[]);
                let twice_phi = graph.add_scalar(&erf, 1.0);
                let half = graph.mul_scalar(x, 0.5);
                graph.mul(&half, &twice_phi)
            }
        }
    }

    /// Returns the function for fused layers; `None` if the kernel lacks it.
    pub(crate) fn dense(self) -> Option<DenseActivation> {
        match self {
            Self::Linear => Some(DenseActivation::Linear),
            Self::Relu => Some(DenseActivation::Relu),
            Self::Tanh => Some(DenseActivation::Tanh),
            Self::Silu | Self::Elu | Self::Sigmoid | Self::Gelu => None,
        }
    }
}

/// Returns `x·Φ(x)`.
///
/// On most backends, Burn's GELU has the gradient of a `tanh` approximation, which is off by 1e-4.
/// This function has the exact gradient on all backends.
fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let twice_phi = (x.clone() * std::f32::consts::FRAC_1_SQRT_2).erf() + 1.0;
    x * twice_phi * 0.5
}
