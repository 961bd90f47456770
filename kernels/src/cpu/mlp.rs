//! The layers of a perceptron in one pass over the rows.

use pulp::{Arch, Simd, WithSimd};

use super::matmul::{Rows, Start, matmul, scalar_products, transpose};
use super::scratch::Scratch;
use super::{mlp_gradient, vector_math};
use crate::DenseActivation;
use crate::host_op::{HostOp, Pass};

/// Rows that go through all layers together, so that what lies between layers stays in the cache.
pub(super) const BLOCK: usize = 32;

/// Fewer multiplications than these are not worth another thread (some five microseconds).
pub(super) const GRAIN: usize = 1 << 18;

/// The widths and activation of a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layer {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) activation: DenseActivation,
}

impl Layer {
    /// Whether the outputs fill so little of a vector that scalar products are faster.
    pub(super) fn is_narrow(self) -> bool {
        self.outputs < 8
    }
}

/// Linear layers and their activations. Its inputs are the rows, and weights (`[inputs, outputs]`)
/// and bias (`[outputs]`) of each layer.
#[derive(Debug)]
pub(crate) struct MlpOp {
    pub(crate) layers: Vec<Layer>,
}

/// A layer with its parameters.
#[derive(Clone, Copy)]
pub(super) struct LayerParameters<'a> {
    pub(super) layer: Layer,
    pub(super) weights: &'a [f32],
    pub(super) bias: &'a [f32],
}

impl MlpOp {
    /// The layers, and the rows that they are applied to.
    pub(super) fn split<'a, const N: usize>(
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

/// How many of `rows` a task takes, given the multiplications that one costs.
pub(super) fn rows_per_task(rows: usize, cost: usize) -> usize {
    let tasks = (rows * cost / GRAIN).clamp(1, 2 * rekindle_parallel::num_threads());
    rows.div_ceil(tasks).next_multiple_of(8).max(8)
}

/// The multiplications of one row through all layers.
pub(super) fn cost(layers: &[LayerParameters<'_>]) -> usize {
    layers.iter().map(|l| (l.layer.inputs + 8) * l.layer.outputs).sum()
}

impl<const N: usize> HostOp<N> for MlpOp {
    /// The outputs of all layers but the last.
    type Saved = Vec<Scratch>;

    fn forward(&self, inputs: [&[f32]; N], tracked: bool) -> (Vec<f32>, Self::Saved) {
        let (x, layers) = self.split(inputs);
        let transposed = transposed(&layers, |_, layer| layer.is_narrow());
        let inputs = self.layers.first().map_or(1, |layer| layer.inputs);
        let rows = x.len() / inputs;
        let (last, hidden) = self.layers.split_last().map_or((0, &[][..]), |(l, h)| (l.outputs, h));
        let hidden = if tracked { hidden } else { &[] };
        let mut saved: Vec<_> =
            hidden.iter().map(|layer| Scratch::new(rows * layer.outputs)).collect();
        let mut output = vec![0.0; rows * last];
        let step = rows_per_task(rows, cost(&layers));
        let mut tasks: Vec<_> = x
            .chunks(step * inputs)
            .map(|x| Forward { x, layers: &layers, transposed: &transposed, outputs: Vec::new() })
            .collect();
        for output in saved.iter_mut().map(|saved| &mut saved[..]).chain([&mut output[..]]) {
            let width = output.len() / rows.max(1);
            for (task, output) in tasks.iter_mut().zip(output.chunks_mut(step * width)) {
                task.outputs.push(output);
            }
        }
        let arch = Arch::new();
        rekindle_parallel::for_each(tasks, |task| arch.dispatch(task));
        (output, saved)
    }

    fn backward(&self, pass: Pass<'_, Self::Saved, N>) -> [Option<Vec<f32>>; N] {
        mlp_gradient::backward(self, pass)
    }
}

/// The transposed weights of the layers that are chosen; empty for the others.
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

/// Some rows through all layers.
struct Forward<'a> {
    x: &'a [f32],
    layers: &'a [LayerParameters<'a>],
    transposed: &'a [Scratch],
    /// Where the outputs of the layers go; that of the last layer only if nothing is kept.
    outputs: Vec<&'a mut [f32]>,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let widest = self.layers.iter().map(|l| l.layer.outputs).max().unwrap_or(0);
        let keeps = self.outputs.len() == self.layers.len();
        // What lies between layers, where it is not kept.
        let mut between = match keeps {
            true => [Scratch::default(), Scratch::default()],
            false => [Scratch::new(BLOCK * widest), Scratch::new(BLOCK * widest)],
        };
        let Some(first) = self.layers.first() else { return };
        let last = self.layers.len() - 1;
        for (block, x) in self.x.chunks(BLOCK * first.layer.inputs).enumerate() {
            let rows = x.len() / first.layer.inputs;
            for (index, (dense, transposed)) in self.layers.iter().zip(self.transposed).enumerate()
            {
                let width = dense.layer.outputs;
                let of_block = block * BLOCK * width..(block * BLOCK + rows) * width;
                let [even, odd] = &mut between;
                let (before, scratch) = if index % 2 == 0 { (odd, even) } else { (even, odd) };
                let kept = if keeps { index } else { 0 };
                let (earlier, output) = self.outputs.split_at_mut(kept);
                let inputs = dense.layer.inputs;
                let x = match earlier.last() {
                    _ if index == 0 => x,
                    Some(earlier) => &earlier[block * BLOCK * inputs..][..rows * inputs],
                    None => &before[..rows * inputs],
                };
                let out = match index == last || keeps {
                    true => &mut output[0][of_block],
                    false => &mut scratch[..rows * width],
                };
                forward(simd, dense, transposed, x, out);
            }
        }
    }
}

#[inline(always)]
fn forward<S: Simd>(
    simd: S,
    dense: &LayerParameters<'_>,
    transposed: &[f32],
    x: &[f32],
    out: &mut [f32],
) {
    let LayerParameters { layer, weights, bias } = *dense;
    let rows = Rows { data: x, len: layer.inputs };
    if layer.is_narrow() {
        scalar_products(simd, rows, transposed, bias, out);
    } else {
        matmul(simd, rows, weights, layer.outputs, Start::Row(bias), out);
    }
    match layer.activation {
        DenseActivation::Linear => {}
        DenseActivation::Relu => {
            vector_math::map(
                simd,
                out,
                #[inline(always)]
                |x| vector_math::at_least(simd, x, 0.0),
            );
        }
        DenseActivation::Tanh => {
            vector_math::map(
                simd,
                out,
                #[inline(always)]
                |x| vector_math::tanh(simd, x),
            );
        }
    }
}
