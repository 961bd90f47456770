//! The forward pass.

use pulp::{Simd, WithSimd};
use smallvec::SmallVec;

use super::layers::{BLOCK, GRAIN, LAYERS, LayerParameters, cost, transposed};
use crate::activation::DenseActivation;
use crate::cpu::arch::arch;
use crate::cpu::matmul::{Rows, Start, matmul, scalar_products};
use crate::cpu::scratch::{Scratch, result};
use crate::cpu::vector_math;

/// Applies the layers to the rows of `x`. Returns the output of the last layer, and the outputs of
/// the other layers if they are to be kept.
pub(super) fn forward(
    x: &[f32],
    layers: &[LayerParameters<'_>],
    keeps: bool,
) -> (Vec<f32>, Vec<Scratch>) {
    let rows = x.len() / layers.first().map_or(1, |dense| dense.layer.inputs);
    let (last, hidden) =
        layers.split_last().map_or((0, &[][..]), |(last, hidden)| (last.layer.outputs, hidden));
    let hidden = if keeps { hidden } else { &[] };
    let mut saved: Vec<_> =
        hidden.iter().map(|dense| Scratch::new(rows * dense.layer.outputs)).collect();
    let mut output = result(rows * last);
    let transposed = of_narrow(layers);
    forward_into(x, layers, &transposed, &mut saved, &mut output);
    (output, saved)
}

/// Returns the transposed weights of narrow layers; the buffers of the others are empty.
pub(super) fn of_narrow(layers: &[LayerParameters<'_>]) -> Vec<Scratch> {
    transposed(layers, |_, layer| layer.is_narrow())
}

/// As [`forward`], into `output`. `transposed` are the weights that [`of_narrow`] returned. `saved` has a buffer for each
/// layer but the last, or none if their outputs are not kept.
pub(super) fn forward_into(
    x: &[f32],
    layers: &[LayerParameters<'_>],
    transposed: &[Scratch],
    saved: &mut [Scratch],
    output: &mut [f32],
) {
    let inputs = layers.first().map_or(1, |dense| dense.layer.inputs);
    let rows = x.len() / inputs;
    let step = rows_per_task(rows, cost(layers));
    let mut saved: SmallVec<[_; LAYERS]> = saved
        .iter_mut()
        .map(|saved| {
            let width = saved.len() / rows.max(1);
            saved.chunks_mut((step * width).max(1))
        })
        .collect();
    let width = output.len() / rows.max(1);
    let outputs = output.chunks_mut((step * width).max(1));
    let tasks = x.chunks(step * inputs).zip(outputs).map(|(x, output)| {
        let saved = saved.iter_mut().map(|saved| saved.next().unwrap_or_default());
        let outputs = saved.chain([output]).collect();
        Forward { x, layers, transposed, outputs }
    });
    let arch = arch();
    rekindle_parallel::for_each(tasks, |task| arch.dispatch(task));
}

/// Returns the rows of a task, given the multiplications that a row costs. The result of a row does not
/// depend on the task it is in.
fn rows_per_task(rows: usize, cost: usize) -> usize {
    let tasks = (rows * cost / GRAIN).clamp(1, 2 * rekindle_parallel::num_threads());
    rows.div_ceil(tasks).next_multiple_of(8).max(8)
}

/// The forward pass of some rows.
struct Forward<'a> {
    x: &'a [f32],
    layers: &'a [LayerParameters<'a>],
    transposed: &'a [Scratch],
    /// The outputs of the layers, or only of the last layer if the others are not kept.
    outputs: SmallVec<[&'a mut [f32]; LAYERS]>,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let widest = self.layers.iter().map(|l| l.layer.outputs).max().unwrap_or(0);
        let keeps = self.outputs.len() == self.layers.len();
        // The values between the layers, if they are not kept.
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
                apply(simd, dense, transposed, x, out);
            }
        }
    }
}

#[inline(always)]
fn apply<S: Simd>(
    simd: S,
    dense: &LayerParameters<'_>,
    transposed: &[f32],
    x: &[f32],
    out: &mut [f32],
) {
    let LayerParameters { layer, weights, bias } = *dense;
    let rows = Rows::new(x, layer.inputs);
    if layer.is_narrow() {
        scalar_products(simd, rows, transposed, bias, out);
    } else {
        matmul(simd, rows, weights, layer.outputs, Start::Row(bias), out);
    }
    activate(simd, layer.activation, out);
}

/// Applies an activation to every element in place.
#[inline(always)]
pub(in crate::cpu) fn activate<S: Simd>(simd: S, by: DenseActivation, out: &mut [f32]) {
    match by {
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
