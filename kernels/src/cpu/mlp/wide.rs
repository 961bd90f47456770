//! A layer whose weights do not fit into the cache.
//!
//! Threads divide the weights among themselves, not the rows, so each weight is read from memory once per pass. Sums
//! have the same order as in other layers: one sum over the inputs, or one over all rows for the gradients of weights.

// See `matmul` on loops over indices.
#![allow(clippy::needless_range_loop, clippy::manual_memcpy)]

use std::ops::Range;

use pulp::{Simd, WithSimd};
use smallvec::SmallVec;

use super::gradient::{Backward, Found, column_sums, through_activation};
use super::layers::{GRAIN, LayerParameters};
use crate::activation::DenseActivation;
use crate::cpu::arch::arch;
use crate::cpu::matmul::{Left, Rows, Start};
use crate::cpu::panels::{
    Columns, PANEL, in_panels, load_part, pack, panels, product, store_part, transposed_in_panels,
    transposed_product,
};
use crate::cpu::scratch::{Scratch, result};
use crate::cpu::vector_math;

/// Number of reduction steps at a time. A panel with this many rows leaves room for the other factor in the first-level
/// cache.
const DEPTH: usize = 128;

/// Maximum number of rows for which weights are read in place instead of from panels.
const FEW_ROWS: usize = 4;

/// Number of threads up to which a pass allocates no list of their parts.
const PARTS: usize = 8;

/// Number of inputs of the layer whose gradients are computed together.
const INPUTS: usize = 8;

/// Applies the layer to the rows of `x`.
pub(super) fn forward(x: &[f32], dense: &LayerParameters<'_>) -> Vec<f32> {
    let mut output = result(x.len() / dense.layer.inputs * dense.layer.outputs);
    forward_into(x, dense, &mut output);
    output
}

/// As [`forward`], into `output`.
pub(super) fn forward_into(x: &[f32], dense: &LayerParameters<'_>, output: &mut [f32]) {
    let (inputs, outputs) = (dense.layer.inputs, dense.layer.outputs);
    let rows = x.len() / inputs;
    let most = (rows * inputs * outputs / GRAIN).clamp(1, rekindle_parallel::num_threads());
    let width = outputs.div_ceil(most).next_multiple_of(PANEL);
    let columns = (0..outputs).step_by(width).map(|first| first..outputs.min(first + width));
    let mut parts: SmallVec<[_; PARTS]> =
        columns.map(|columns| (columns.clone(), Scratch::new(rows * columns.len()))).collect();
    let tasks = parts.iter_mut().map(|(columns, out)| Forward {
        x,
        dense: *dense,
        columns: columns.clone(),
        out,
    });
    let arch = arch();
    rekindle_parallel::for_each(tasks, |task| arch.dispatch(task));
    for (row, output) in output.chunks_exact_mut(outputs).enumerate() {
        for (columns, part) in &parts {
            let part = &part[row * columns.len()..][..columns.len()];
            output[columns.clone()].copy_from_slice(part);
        }
    }
}

/// The forward pass of some columns of the weights.
struct Forward<'a> {
    x: &'a [f32],
    dense: LayerParameters<'a>,
    columns: Range<usize>,
    /// `[rows, columns]`.
    out: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, dense, columns, out } = self;
        let rows = x.len() / dense.layer.inputs;
        if rows <= FEW_ROWS {
            few_rows(simd, x, &dense, &columns, out);
        } else {
            many_rows(simd, x, &dense, &columns, out);
        }
        match dense.layer.activation {
            DenseActivation::Linear => {}
            DenseActivation::Relu => vector_math::map(
                simd,
                out,
                #[inline(always)]
                |x| vector_math::at_least(simd, x, 0.0),
            ),
            DenseActivation::Tanh => vector_math::map(
                simd,
                out,
                #[inline(always)]
                |x| vector_math::tanh(simd, x),
            ),
        }
    }
}

#[inline(always)]
fn many_rows<S: Simd>(
    simd: S,
    x: &[f32],
    dense: &LayerParameters<'_>,
    columns: &Range<usize>,
    out: &mut [f32],
) {
    let (inputs, outputs, stride) = (dense.layer.inputs, dense.layer.outputs, columns.len());
    let rows = x.len() / inputs;
    let mut panel = Scratch::new(DEPTH * PANEL);
    for first in (0..inputs).step_by(DEPTH) {
        let len = DEPTH.min(inputs - first);
        let left = Rows { data: &x[first..], stride: inputs, len };
        let weights = &dense.weights[first * outputs..][..len * outputs];
        for (column, width) in panels(stride) {
            let len_of_panel = width.min(stride - column);
            let all = columns.start + column..columns.start + column + len_of_panel;
            pack(weights, outputs, all.clone(), width, &mut panel);
            let start = if first == 0 { Start::Row(&dense.bias[all]) } else { Start::Result };
            product(
                simd,
                left,
                [rows, width],
                &panel[..len * width],
                start,
                Columns { stride, len: len_of_panel },
                &mut out[column..],
            );
        }
    }
}

/// Reads long pieces of each row of the weights, once for up to four rows.
#[inline(always)]
fn few_rows<S: Simd>(
    simd: S,
    x: &[f32],
    dense: &LayerParameters<'_>,
    columns: &Range<usize>,
    out: &mut [f32],
) {
    let rows = x.len() / dense.layer.inputs;
    let mut row = 0;
    if row + 4 <= rows {
        few::<S, 4, 4>(simd, x, dense, columns, row, out);
        row += 4;
    }
    if row + 2 <= rows {
        few::<S, 2, 8>(simd, x, dense, columns, row, out);
        row += 2;
    }
    if row < rows {
        few::<S, 1, 8>(simd, x, dense, columns, row, out);
    }
}

#[inline(always)]
fn few<S: Simd, const M: usize, const N: usize>(
    simd: S,
    x: &[f32],
    dense: &LayerParameters<'_>,
    columns: &Range<usize>,
    row: usize,
    out: &mut [f32],
) {
    let (inputs, outputs, stride) = (dense.layer.inputs, dense.layer.outputs, columns.len());
    let left = Rows::new(x, inputs).at::<M>(row);
    let out = &mut out[row * stride..][..M * stride];
    for column in (0..stride).step_by(N * S::F32_LANES) {
        let end = stride.min(column + N * S::F32_LANES);
        let all = columns.start + column..columns.start + end;
        let mut sums = [load_part::<S, N>(simd, &dense.bias[all.clone()]); M];
        for (p, weights) in dense.weights.chunks_exact(outputs).enumerate() {
            let (left, weights) = (left(p), load_part::<S, N>(simd, &weights[all.clone()]));
            for m in 0..M {
                let left = simd.splat_f32s(left[m]);
                for n in 0..N {
                    sums[m][n] = simd.mul_add_e_f32s(left, weights[n], sums[m][n]);
                }
            }
        }
        for m in 0..M {
            store_part(simd, sums[m], &mut out[m * stride..][column..end]);
        }
    }
}

/// Returns the gradients of the rows, and of weights and bias, where they are needed.
pub(super) fn backward(pass: &Backward<'_>, dense: &LayerParameters<'_>) -> Found {
    let (inputs, outputs) = (dense.layer.inputs, dense.layer.outputs);
    let rows = pass.x.len() / inputs;
    let needs = [0, 1].map(|index| pass.needs.get(index).copied().unwrap_or_default());
    let mut gradient = Scratch::new(rows * outputs);
    gradient.copy_from_slice(pass.gradient);
    let mut bias = vec![0.0; outputs];
    let arch = arch();
    arch.dispatch(ThroughActivation {
        by: dense.layer.activation,
        y: pass.outputs.first().copied().unwrap_or_default(),
        gradient: &mut gradient,
        bias: needs[1].then_some(&mut bias),
    });
    let by_columns = if needs[0] { in_panels(&gradient, outputs) } else { Scratch::default() };
    let by_rows =
        if pass.needs_x { transposed_in_panels(&gradient, rows) } else { Scratch::default() };

    let len = if needs[0] { dense.weights.len() } else { 0 };
    // Without rows, nothing is written.
    let mut weights = if rows > 0 { result(len) } else { vec![0.0; len] };
    let share = rekindle_parallel::share(inputs, GRAIN.div_ceil(rows.max(1) * outputs));
    let mut of_weights = weights.chunks_mut(share * outputs);
    let mut of_x: Vec<Scratch> = (0..inputs)
        .step_by(share)
        .map(|first| Scratch::new(if pass.needs_x { share.min(inputs - first) * rows } else { 0 }))
        .collect();
    let tasks = of_x.iter_mut().enumerate().map(|(index, of_x)| Gradient {
        x: pass.x,
        dense: *dense,
        inputs: index * share..inputs.min((index + 1) * share),
        by_columns: &by_columns,
        by_rows: &by_rows,
        of_weights: of_weights.next().unwrap_or_default(),
        of_x,
    });
    let tasks: Vec<_> = tasks.collect();
    rekindle_parallel::for_each(tasks, |task| arch.dispatch(task));

    let of_x = pass.needs_x.then(|| rows_of(&of_x, [rows, inputs], share));
    (of_x, vec![needs[0].then_some(weights), needs[1].then_some(bias)])
}

/// Assembles the gradients of the rows from the gradients of parts of the inputs, `[inputs, rows]` each.
fn rows_of(parts: &[Scratch], [rows, inputs]: [usize; 2], share: usize) -> Vec<f32> {
    /// Rows of a task, which fill whole cache lines of the parts.
    const ROWS: usize = 16;
    let mut of_x = result(rows * inputs);
    let tasks: Vec<_> = of_x.chunks_mut(ROWS * inputs).enumerate().collect();
    rekindle_parallel::for_each(tasks, |(task, of_x)| {
        for (part, index) in parts.iter().zip(0..) {
            for (input, values) in (index * share..).zip(part.chunks_exact(rows)) {
                let values = values[task * ROWS..].iter();
                let column = of_x[input..].iter_mut().step_by(inputs);
                column.zip(values).for_each(|(out, value)| *out = *value);
            }
        }
    });
    of_x
}

/// The gradients of the input of the activation and of the bias.
struct ThroughActivation<'a> {
    by: DenseActivation,
    y: &'a [f32],
    gradient: &'a mut [f32],
    bias: Option<&'a mut Vec<f32>>,
}

impl WithSimd for ThroughActivation<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        through_activation(simd, self.by, self.y, self.gradient);
        if let Some(bias) = self.bias {
            column_sums(simd, self.gradient, bias);
        }
    }
}

/// The gradients of the weights of some inputs, and of these inputs.
struct Gradient<'a> {
    x: &'a [f32],
    dense: LayerParameters<'a>,
    inputs: Range<usize>,
    /// The gradient of the outputs in panels of outputs, empty if weights need no gradient.
    by_columns: &'a [f32],
    /// The transpose of this gradient in panels of rows, empty if inputs need no gradient.
    by_rows: &'a [f32],
    of_weights: &'a mut [f32],
    /// `[inputs, rows]`.
    of_x: &'a mut [f32],
}

impl WithSimd for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (all, outputs) = (self.dense.layer.inputs, self.dense.layer.outputs);
        let rows = self.x.len() / all;
        if !self.by_columns.is_empty() {
            let right = (self.by_columns, outputs);
            transposed_product(simd, self.x, all, self.inputs.clone(), right, self.of_weights);
        }
        if self.by_rows.is_empty() {
            return;
        }
        for first in self.inputs.clone().step_by(INPUTS) {
            let len = INPUTS.min(self.inputs.end - first);
            let place = first - self.inputs.start;
            let weights = &self.dense.weights[first * outputs..][..len * outputs];
            let left = Rows::new(weights, outputs);
            let out = &mut self.of_x[place * rows..][..len * rows];
            for (row, width) in panels(rows) {
                let panel = &self.by_rows[row * outputs..][..width * outputs];
                let columns = Columns { stride: rows, len: width.min(rows - row) };
                product(simd, left, [len, width], panel, Start::Zero, columns, &mut out[row..]);
            }
        }
    }
}
