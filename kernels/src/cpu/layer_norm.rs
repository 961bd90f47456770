//! Layer normalization and the activation after it, in one pass over the rows.

use pulp::{Simd, WithSimd};

use super::arch::arch;
use super::lanes::{scalar_product, square_sum};
use super::mlp::{activate, through_activation};
use super::scratch::Scratch;
use super::vector_math::{map, zip};
use crate::activation::DenseActivation;
use crate::host_op::{HostOp, Pass};

/// Minimum number of elements per task, and maximum number of tasks. Each task has its own gradients of scale and
/// shift.
const LEAST_ELEMENTS: usize = 1 << 14;
const MOST_TASKS: usize = 16;

/// `activation(scale · (x − mean) / √(variance + ε) + shift)`, with mean and variance of each row. The inputs are the
/// rows, the scale and the shift.
#[derive(Debug)]
pub(crate) struct LayerNormOp {
    pub(crate) width: usize,
    pub(crate) epsilon: f32,
    pub(crate) activation: DenseActivation,
}

/// Data for the backward pass: the normalized rows, and `1 / √(variance + ε)` of each row.
#[derive(Debug, Default)]
pub(crate) struct Normalized {
    rows: Scratch,
    inverse: Vec<f32>,
}

impl LayerNormOp {
    /// Returns the number of rows per task, which depends only on the sizes.
    fn step(&self, rows: usize) -> usize {
        rows.div_ceil(MOST_TASKS).max(LEAST_ELEMENTS / self.width.max(1)).max(1)
    }
}

impl HostOp<3> for LayerNormOp {
    type Saved = Normalized;

    fn forward(&self, [x, scale, shift]: [&[f32]; 3], tracked: bool) -> (Vec<f32>, Normalized) {
        let mut output = x.to_vec();
        let rows = x.len() / self.width;
        let mut saved = match tracked {
            true => Normalized { rows: Scratch::new(x.len()), inverse: vec![0.0; rows] },
            false => Normalized::default(),
        };
        let (step, ones) = (self.step(rows), vec![1.0; self.width]);
        let mut kept = saved.rows.chunks_mut(step * self.width);
        let mut inverse = saved.inverse.chunks_mut(step);
        let tasks: Vec<_> = output
            .chunks_mut(step * self.width)
            .map(|output| Forward {
                op: self,
                ones: &ones,
                parameters: [scale, shift],
                output,
                saved: kept.next().zip(inverse.next()),
            })
            .collect();
        let arch = arch();
        rekindle_parallel::for_each(tasks, |task: Forward<'_>| arch.dispatch(task));
        (output, saved)
    }

    fn backward(&self, pass: Pass<'_, Normalized, 3>) -> [Option<Vec<f32>>; 3] {
        let width = self.width;
        let rows = pass.output.len() / width;
        let (step, ones) = (self.step(rows), vec![1.0; width]);
        let mut of_x = pass.gradient.to_vec();
        let mut sums: Vec<Scratch> =
            (0..rows.div_ceil(step)).map(|_| Scratch::new(2 * width)).collect();
        let outputs = pass.output.chunks(step * width).zip(pass.saved.rows.chunks(step * width));
        let parts = of_x.chunks_mut(step * width).zip(&mut sums).zip(outputs);
        let tasks: Vec<_> = parts
            .zip(pass.saved.inverse.chunks(step))
            .map(|(((gradient, sums), (output, normalized)), inverse)| Backward {
                op: self,
                ones: &ones,
                scale: pass.inputs[1],
                output,
                normalized,
                inverse,
                gradient,
                sums,
            })
            .collect();
        let arch = arch();
        rekindle_parallel::for_each(tasks, |task: Backward<'_>| arch.dispatch(task));
        let sum = |from: usize| {
            let mut total = vec![0.0; width];
            for part in &sums {
                let part = &part[from..from + width];
                total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
            }
            total
        };
        let [needs_x, needs_scale, needs_shift] = pass.needs;
        [needs_x.then_some(of_x), needs_scale.then(|| sum(0)), needs_shift.then(|| sum(width))]
    }
}

/// The forward pass of some rows.
struct Forward<'a> {
    op: &'a LayerNormOp,
    /// Ones, to sum a row by a scalar product.
    ones: &'a [f32],
    /// Scale and shift.
    parameters: [&'a [f32]; 2],
    /// The inputs. They are replaced by the outputs.
    output: &'a mut [f32],
    saved: Option<(&'a mut [f32], &'a mut [f32])>,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (width, [scale, shift]) = (self.op.width, self.parameters);
        for (index, row) in self.output.chunks_exact_mut(width).enumerate() {
            let mean = simd.splat_f32s(scalar_product(simd, row, self.ones) / width as f32);
            map(
                simd,
                row,
                #[inline(always)]
                |x| simd.sub_f32s(x, mean),
            );
            let variance = square_sum(simd, row) / width as f32;
            let inverse = 1.0 / (variance + self.op.epsilon).sqrt();
            let factor = simd.splat_f32s(inverse);
            map(
                simd,
                row,
                #[inline(always)]
                |x| simd.mul_f32s(x, factor),
            );
            if let Some((kept, inverses)) = &mut self.saved {
                kept[index * width..][..width].copy_from_slice(row);
                inverses[index] = inverse;
            }
            zip(
                simd,
                row,
                scale,
                #[inline(always)]
                |x, scale| simd.mul_f32s(x, scale),
            );
            zip(
                simd,
                row,
                shift,
                #[inline(always)]
                |x, shift| simd.add_f32s(x, shift),
            );
        }
        activate(simd, self.op.activation, self.output);
    }
}

/// The backward pass of some rows.
struct Backward<'a> {
    op: &'a LayerNormOp,
    ones: &'a [f32],
    scale: &'a [f32],
    output: &'a [f32],
    normalized: &'a [f32],
    inverse: &'a [f32],
    /// The gradient of the outputs. It is replaced by the gradient of the inputs.
    gradient: &'a mut [f32],
    /// The gradients of scale and shift.
    sums: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    /// With the gradients `g` of the normalized values `z`: `(g − mean(g) − z·mean(g·z)) / √(variance + ε)`.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.op.width;
        through_activation(simd, self.op.activation, self.output, self.gradient);
        self.sums.fill(0.0);
        let (of_scale, of_shift) = self.sums.split_at_mut(width);
        let mut products = Scratch::new(width);
        let rows = self.gradient.chunks_exact_mut(width).zip(self.normalized.chunks_exact(width));
        for ((gradient, normalized), inverse) in rows.zip(self.inverse) {
            zip(
                simd,
                of_shift,
                gradient,
                #[inline(always)]
                |sum, g| simd.add_f32s(sum, g),
            );
            products.copy_from_slice(gradient);
            zip(
                simd,
                &mut products,
                normalized,
                #[inline(always)]
                |g, z| simd.mul_f32s(g, z),
            );
            zip(
                simd,
                of_scale,
                &products,
                #[inline(always)]
                |sum, product| simd.add_f32s(sum, product),
            );
            zip(
                simd,
                gradient,
                self.scale,
                #[inline(always)]
                |g, scale| simd.mul_f32s(g, scale),
            );
            let mean = scalar_product(simd, gradient, self.ones) / width as f32;
            let along = scalar_product(simd, gradient, normalized) / width as f32;
            let (mean, along) = (simd.splat_f32s(mean), simd.splat_f32s(along));
            let inverse = simd.splat_f32s(*inverse);
            zip(
                simd,
                gradient,
                normalized,
                #[inline(always)]
                |g, z| {
                    let rest = simd.sub_f32s(simd.sub_f32s(g, mean), simd.mul_f32s(z, along));
                    simd.mul_f32s(rest, inverse)
                },
            );
        }
    }
}
