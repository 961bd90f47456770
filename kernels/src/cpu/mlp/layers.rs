//! Layers and their parameters, for both passes.

use crate::activation::DenseActivation;
use crate::cpu::matmul::transpose;
use crate::cpu::scratch::Scratch;

/// Rows that pass all layers together, so that the values between the layers stay in the cache.
pub(super) const BLOCK: usize = 32;

/// Minimum number of multiplications that justifies another thread (some five microseconds).
pub(super) const GRAIN: usize = 1 << 18;

/// Number of layers up to which a pass allocates no lists of them.
pub(crate) const LAYERS: usize = 8;

/// The widths and activation of a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layer {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) activation: DenseActivation,
}

impl Layer {
    /// Whether the layer has so few outputs that scalar products are faster than vector operations.
    pub(super) fn is_narrow(self) -> bool {
        self.outputs < 8
    }

    /// Whether the layer has more weights than the cache holds, so that reading them bounds its speed.
    pub(super) fn is_wide(self) -> bool {
        self.inputs * self.outputs >= WIDE && !self.is_narrow()
    }
}

/// Number of weights from which a layer does not fit into the second-level cache together with its rows.
const WIDE: usize = 1 << 18;

/// A layer with its parameters.
#[derive(Clone, Copy)]
pub(crate) struct LayerParameters<'a> {
    pub(crate) layer: Layer,
    pub(crate) weights: &'a [f32],
    pub(crate) bias: &'a [f32],
}

/// Returns the multiplications of one row through all layers.
pub(super) fn cost(layers: &[LayerParameters<'_>]) -> usize {
    layers.iter().map(|l| (l.layer.inputs + 8) * l.layer.outputs).sum()
}

/// Transposes the weights of the chosen layers; the buffers of the others are empty.
pub(super) fn transposed(
    layers: &[LayerParameters<'_>],
    chosen: impl Fn(usize, Layer) -> bool,
) -> Vec<Scratch> {
    let mut all: Vec<Scratch> = layers
        .iter()
        .enumerate()
        .map(|(index, dense)| match chosen(index, dense.layer) {
            true => Scratch::new(dense.weights.len()),
            false => Scratch::default(),
        })
        .collect();
    let mut tasks = Vec::new();
    for (dense, transposed) in layers.iter().zip(&mut all).filter(|(_, t)| !t.is_empty()) {
        let Layer { inputs, outputs, .. } = dense.layer;
        let step = rekindle_parallel::share(outputs, (GRAIN / 16).div_ceil(inputs));
        let parts = transposed.chunks_mut(step * inputs).enumerate();
        tasks.extend(parts.map(|(part, out)| (dense, part * step, out)));
    }
    let work = |(dense, first, out): (&LayerParameters<'_>, usize, &mut [f32])| {
        transpose(dense.weights, dense.layer.outputs, first, out);
    };
    // Several small matrices are not worth several threads.
    match tasks.len() > layers.len() {
        true => rekindle_parallel::for_each(tasks, work),
        false => tasks.into_iter().for_each(work),
    }
    all
}
