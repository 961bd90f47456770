//! The layers of an MLP in one pass over the rows.

mod ensemble;
mod forward;
mod gradient;
mod layers;
mod wide;

pub(crate) use ensemble::EnsembleOp;
pub(super) use forward::activate;
pub(super) use gradient::through_activation;
#[cfg(feature = "flex")]
pub(crate) use layers::LAYERS;
pub(crate) use layers::Layer;
pub(crate) use layers::LayerParameters;

use std::ops::Range;

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
        forward(x, &layers, tracked)
    }

    fn backward(&self, pass: Pass<'_, Self::Saved, N>) -> [Option<Vec<f32>>; N] {
        let (x, layers) = self.split(pass.inputs);
        backward(x, &layers, pass)
    }
}

/// Splits layers into single wide layers and runs of other layers.
fn segments(layers: &[LayerParameters<'_>]) -> Vec<Range<usize>> {
    let mut segments: Vec<Range<usize>> = Vec::new();
    for (index, dense) in layers.iter().enumerate() {
        match segments.last_mut() {
            Some(last) if !dense.layer.is_wide() && !layers[last.start].layer.is_wide() => {
                last.end = index + 1;
            }
            _ => segments.push(index..index + 1),
        }
    }
    segments
}

/// Applies the layers to the rows of `x`. Returns the output of the last layer, and the outputs of
/// the other layers if they are to be kept.
fn forward(x: &[f32], layers: &[LayerParameters<'_>], keeps: bool) -> (Vec<f32>, Vec<Scratch>) {
    if !layers.iter().any(|dense| dense.layer.is_wide()) {
        return forward::forward(x, layers, keeps);
    }
    let (mut output, mut saved) = (None::<Vec<f32>>, Vec::new());
    for segment in segments(layers) {
        let layers = &layers[segment];
        let x = output.as_deref().unwrap_or(x);
        let (next, hidden) = match layers {
            [dense] if dense.layer.is_wide() => (wide::forward(x, dense), Vec::new()),
            _ => forward::forward(x, layers, keeps),
        };
        saved.extend(output.replace(next).map(Scratch::from));
        saved.extend(hidden);
    }
    if !keeps {
        saved.clear();
    }
    (output.unwrap_or_default(), saved)
}

/// What acting passes need besides the parameters: runs of layers, each with the transposed weights of narrow ones.
#[cfg(feature = "flex")]
#[derive(Debug)]
pub(crate) struct Prepared(Vec<(Range<usize>, Vec<Scratch>)>);

#[cfg(feature = "flex")]
impl Prepared {
    pub(crate) fn new(layers: &[LayerParameters<'_>]) -> Self {
        let of = |segment: Range<usize>| {
            let transposed = forward::of_narrow(&layers[segment.clone()]);
            (segment, transposed)
        };
        Self(segments(layers).into_iter().map(of).collect())
    }

    /// Applies the layers to the rows of `x`, without allocating.
    pub(crate) fn forward(&self, x: &[f32], layers: &[LayerParameters<'_>], output: &mut [f32]) {
        let inputs = layers.first().map_or(1, |dense| dense.layer.inputs);
        let rows = x.len() / inputs;
        let mut between: Option<Scratch> = None;
        for (segment, transposed) in &self.0 {
            let is_last = segment.end == layers.len();
            let layers = &layers[segment.clone()];
            let width = layers.last().map_or(0, |dense| dense.layer.outputs);
            let mut next = Scratch::new(if is_last { 0 } else { rows * width });
            let x = between.as_deref().unwrap_or(x);
            let out = if is_last { &mut *output } else { &mut next[..] };
            match layers {
                [dense] if dense.layer.is_wide() => wide::forward_into(x, dense, out),
                _ => forward::forward_into(x, layers, transposed, &mut [], out),
            }
            between = Some(next);
        }
    }
}

/// Returns the gradients of the rows `x` and of the parameters of each layer, where they are needed.
fn backward<const N: usize>(
    x: &[f32],
    layers: &[LayerParameters<'_>],
    pass: Pass<'_, Vec<Scratch>, N>,
) -> [Option<Vec<f32>>; N] {
    let [needs_x, needs @ ..] = &pass.needs[..] else { return [const { None }; N] };
    let outputs: Vec<&[f32]> =
        pass.saved.iter().map(|saved| &saved[..]).chain([pass.output]).collect();
    let mut gradient: Option<Vec<f32>> = None;
    let mut of_parameters = Vec::with_capacity(needs.len());
    for Range { start, end } in segments(layers).into_iter().rev() {
        let part = gradient::Backward {
            x: if start == 0 { x } else { outputs[start - 1] },
            layers: &layers[start..end],
            outputs: &outputs[start..end],
            gradient: gradient.as_deref().unwrap_or(pass.gradient),
            needs_x: start > 0 || *needs_x,
            needs: &needs[2 * start..2 * end],
        };
        let (of_x, found) = match part.layers {
            [dense] if dense.layer.is_wide() => wide::backward(&part, dense),
            _ => gradient::backward(&part),
        };
        gradient = of_x;
        of_parameters.push(found);
    }
    let mut of_parameters = of_parameters.into_iter().rev().flatten();
    std::array::from_fn(|index| match index {
        0 => gradient.take(),
        _ => of_parameters.next().flatten(),
    })
}
