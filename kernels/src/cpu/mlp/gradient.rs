//! The backward pass.
//!
//! The rows are split into parts. The data of a part are in the cache of the thread that ran these rows
//! forward, and stay there: activations and gradients of hidden units never change cores. Each part has
//! its own sums for the gradients of the parameters, which are added up in the order of the parts. The
//! number of parts depends on the sizes alone, so results do not depend on the number of threads.

use pulp::{Simd, WithSimd};

use super::layers::{BLOCK, GRAIN, Layer, LayerParameters, cost, transposed};
use crate::activation::DenseActivation;
use crate::cpu::arch::arch;
use crate::cpu::matmul::{Columns, Rows, Start, matmul, transpose};
use crate::cpu::scratch::{Scratch, result};
use crate::cpu::vector_math;

/// Maximum number of parts. Each part has its own gradients, which cost memory and must be added
/// up.
const MOST_PARTS: usize = 16;

/// Minimum number of rows per part, so that adding up its gradients costs little compared with
/// computing them.
const LEAST_ROWS: usize = 64;

/// Rows that are added to the gradients of the weights at a time, so that they stay in the cache.
const REDUCTION: usize = 256;

/// Minimum number of parameters that justifies another thread for the sums.
const ADDED: usize = 1 << 13;

/// A backward pass through some layers.
pub(super) struct Backward<'a> {
    pub(super) x: &'a [f32],
    pub(super) layers: &'a [LayerParameters<'a>],
    /// The output of each layer.
    pub(super) outputs: &'a [&'a [f32]],
    /// The gradient of the last output.
    pub(super) gradient: &'a [f32],
    /// Whether the rows need a gradient.
    pub(super) needs_x: bool,
    /// Whether weights and bias of each layer need a gradient.
    pub(super) needs: &'a [bool],
}

/// The gradients of the rows, and the gradients of weights and bias of each layer, where needed.
pub(super) type Found = (Option<Vec<f32>>, Vec<Option<Vec<f32>>>);

/// Returns the gradients of the rows `x` and of the parameters of each layer, where they are needed.
pub(super) fn backward(pass: &Backward<'_>) -> Found {
    let Backward { x, layers, .. } = *pass;
    let width = layers.first().map_or(1, |dense| dense.layer.inputs);
    let rows = x.len() / width;
    let transposed = transposed(layers, |index, _| index > 0 || pass.needs_x);
    let lens: Vec<usize> =
        layers.iter().flat_map(|dense| [dense.weights.len(), dense.bias.len()]).collect();

    let step = rows_per_part(rows, cost(layers));
    let mut of_x = result(if pass.needs_x { x.len() } else { 0 });
    let mut of_x_parts = of_x.chunks_mut(step * width);
    let mut sums: Vec<Scratch> =
        (0..rows).step_by(step).map(|_| Scratch::new(lens.iter().sum())).collect();
    let part = |(part, sums)| {
        let first = part * step;
        let of_part = |matrix| of_rows(matrix, rows, first..rows.min(first + step));
        Part {
            layers,
            transposed: &transposed,
            x: of_part(x),
            outputs: pass.outputs.iter().map(|output| of_part(output)).collect(),
            gradient: of_part(pass.gradient),
            of_x: of_x_parts.next(),
            sums,
        }
    };
    let tasks = sums.iter_mut().map(|sums| &mut sums[..]).enumerate().map(part);
    let arch = arch();
    rekindle_parallel::for_each(tasks, |task: Part<'_>| arch.dispatch(task));
    (pass.needs_x.then_some(of_x), add_up(&lens, pass.needs, &sums))
}

/// Returns the rows of a part, given the multiplications of a row in the forward pass.
fn rows_per_part(rows: usize, cost: usize) -> usize {
    let parts = (rows * cost / GRAIN).clamp(1, MOST_PARTS);
    let least = LEAST_ROWS.min(rows.div_ceil(2));
    rows.div_ceil(parts).max(least).next_multiple_of(8).max(8)
}

/// Returns some rows of a matrix of `all` rows.
fn of_rows(matrix: &[f32], all: usize, rows: std::ops::Range<usize>) -> &[f32] {
    let width = matrix.len() / all.max(1);
    &matrix[rows.start * width..rows.end * width]
}

/// The backward pass of some rows.
struct Part<'a> {
    layers: &'a [LayerParameters<'a>],
    transposed: &'a [Scratch],
    x: &'a [f32],
    /// The output of each layer.
    outputs: Vec<&'a [f32]>,
    /// The gradient of the last output.
    gradient: &'a [f32],
    /// The gradient of the rows, if it is needed.
    of_x: Option<&'a mut [f32]>,
    /// The gradients of all parameters, one after the other.
    sums: &'a mut [f32],
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut gradients: Vec<Scratch> =
            self.outputs.iter().map(|output| Scratch::new(output.len())).collect();
        if let Some(last) = gradients.last_mut() {
            last.copy_from_slice(self.gradient);
        }
        let rows = self.gradient.len() / self.layers.last().map_or(1, |l| l.layer.outputs);
        for first in (0..rows).step_by(BLOCK) {
            self.between_layers(simd, first, BLOCK.min(rows - first), &mut gradients);
        }
        let mut x = self.x;
        let mut sums = self.sums;
        for ((dense, gradient), output) in self.layers.iter().zip(&gradients).zip(&self.outputs) {
            let (weights, rest) = sums.split_at_mut(dense.weights.len());
            let (bias, rest) = rest.split_at_mut(dense.bias.len());
            of_weights(simd, dense.layer, x, gradient, weights);
            column_sums(simd, gradient, bias);
            (x, sums) = (output, rest);
        }
    }
}

impl Part<'_> {
    /// Computes the gradients of the inputs of each layer's activation, for some rows.
    #[inline(always)]
    fn between_layers<S: Simd>(
        &mut self,
        simd: S,
        first: usize,
        rows: usize,
        gradients: &mut [Scratch],
    ) {
        for index in (0..self.layers.len()).rev() {
            let Layer { inputs, outputs, activation } = self.layers[index].layer;
            let (below, above) = gradients.split_at_mut(index);
            let above = &mut above[0][first * outputs..][..rows * outputs];
            let y = &self.outputs[index][first * outputs..][..rows * outputs];
            through_activation(simd, activation, y, above);
            let below = match below.last_mut() {
                Some(below) => &mut below[..],
                None => match &mut self.of_x {
                    Some(of_x) => &mut **of_x,
                    None => return,
                },
            };
            let below = &mut below[first * inputs..][..rows * inputs];
            let above = Rows::new(above, outputs);
            matmul(simd, above, &self.transposed[index], inputs, Start::Zero, below);
        }
    }
}

/// Turns the gradient of an activation's output `y` into the gradient of its input.
#[inline(always)]
pub(in crate::cpu) fn through_activation<S: Simd>(
    simd: S,
    by: DenseActivation,
    y: &[f32],
    gradient: &mut [f32],
) {
    let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
    match by {
        DenseActivation::Linear => {}
        DenseActivation::Relu => vector_math::zip(
            simd,
            gradient,
            y,
            #[inline(always)]
            |g, y| simd.select_f32s(simd.less_than_f32s(zero, y), g, zero),
        ),
        DenseActivation::Tanh => vector_math::zip(
            simd,
            gradient,
            y,
            #[inline(always)]
            |g, y| simd.mul_f32s(g, simd.negate_mul_add_e_f32s(y, y, one)),
        ),
    }
}

/// Computes `xᵀ · gradient`.
#[inline(always)]
fn of_weights<S: Simd>(simd: S, layer: Layer, x: &[f32], gradient: &[f32], weights: &mut [f32]) {
    let Layer { inputs, outputs, .. } = layer;
    if layer.is_narrow() {
        // (gradientᵀ · x)ᵀ, whose rows are long.
        let mut transposed = Scratch::new(weights.len());
        let left = Columns { data: gradient, stride: outputs };
        matmul(simd, left, x, inputs, Start::Zero, &mut transposed);
        transpose(&transposed, inputs, 0, weights);
        return;
    }
    let blocks = x.chunks(REDUCTION * inputs).zip(gradient.chunks(REDUCTION * outputs));
    for (block, (x, gradient)) in blocks.enumerate() {
        let start = if block == 0 { Start::Zero } else { Start::Result };
        matmul(simd, Columns { data: x, stride: inputs }, gradient, outputs, start, weights);
    }
}

#[inline(always)]
pub(super) fn column_sums<S: Simd>(simd: S, rows: &[f32], sums: &mut [f32]) {
    sums.fill(0.0);
    for row in rows.chunks_exact(sums.len()) {
        vector_math::zip(
            simd,
            sums,
            row,
            #[inline(always)]
            |a, b| simd.add_f32s(a, b),
        );
    }
}

/// Adds up the sums of all parts and splits them into the gradients of parameters of `lens` elements, for
/// those that need one.
fn add_up(lens: &[usize], needs: &[bool], parts: &[Scratch]) -> Vec<Option<Vec<f32>>> {
    let mut totals: Vec<Option<Vec<f32>>> =
        lens.iter().zip(needs).map(|(&len, needs)| needs.then(|| vec![0.0; len])).collect();
    let (mut tasks, mut offset) = (Vec::new(), 0);
    for (total, len) in totals.iter_mut().zip(lens) {
        let share = rekindle_parallel::share(*len, ADDED);
        for (index, total) in total.iter_mut().flat_map(|t| t.chunks_mut(share)).enumerate() {
            tasks.push((offset + index * share, total));
        }
        offset += len;
    }
    let add = |(offset, total): (usize, &mut [f32])| {
        for part in parts {
            let part = &part[offset..][..total.len()];
            total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
    };
    // Several small parameters are not worth several threads.
    match tasks.len() > lens.len() {
        true => rekindle_parallel::for_each(tasks, add),
        false => tasks.into_iter().for_each(add),
    }
    totals
}
