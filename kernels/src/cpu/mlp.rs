//! The layers of an MLP in one pass over the rows.

mod ensemble;
mod forward;
mod gradient;
mod layers;

pub(crate) use ensemble::EnsembleOp;
pub(super) use forward::activate;
pub(super) use gradient::through_activation;
pub(crate) use layers::Layer;
use layers::LayerParameters;

use super::scratch::Scratch;
use crate::host_op::{HostOp, Pass};

/// Linear layers and their activations as one operation. Its inputs are the rows, then the weights
/// (`[inputs, outputs]`) and bias (`[outputs]`) of each layer.
#[derive(Debug)]
pub(crate) struct MlpOp {
    pub(crate) layers: Vec<Layer>,
}

impl MlpOp {
    /// Splits the inputs into the rows and the layers.
    fn split<'a, const N: usize>(
        &self,
        inputs: [&'a [f32]; N],
    ) -> (&'a [f32], Vec<LayerParameters<'a>>) {
        let (x, parameters) = inputs.split_first().map_or((&[][..], &[][..]), |(x, p)| (*x, p));
        let layers = self.layers.iter().zip(parameters.chunks_exact(2));
        let dense = |(&layer, p): (&Layer, &[&'a [f32]])| LayerParameters {
            layer,
            weights: p[0],
            bias: p[1],
        };
        (x, layers.map(dense).collect())
    }
}

impl<const N: usize> HostOp<N> for MlpOp {
    /// The outputs of all layers but the last.
    type Saved = Vec<Scratch>;

    fn forward(&self, inputs: [&[f32]; N], tracked: bool) -> (Vec<f32>, Self::Saved) {
        let (x, layers) = self.split(inputs);
        forward::forward(x, &layers, tracked)
    }

    fn backward(&self, pass: Pass<'_, Self::Saved, N>) -> [Option<Vec<f32>>; N] {
        let (x, layers) = self.split(pass.inputs);
        gradient::backward(x, &layers, pass)
    }
}
