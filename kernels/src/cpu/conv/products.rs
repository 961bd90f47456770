//! Products of patches, weights and gradients, in tiles that stay in registers.
//!
//! Each element of a result is one sum in the order of the reduction, whatever tile it is in.

// See `matmul` on loops over indices.
#![allow(clippy::needless_range_loop, clippy::manual_memcpy)]

use pulp::{Simd, WithSimd};

use super::shape::ConvShape;
use crate::activation::DenseActivation;
use crate::cpu::matmul::tiles;
use crate::cpu::panels::{HALF_PANEL, load, load_part, panels, store_part, vectors};
use crate::cpu::vector_math;

#[inline(always)]
fn activate<S: Simd>(simd: S, by: DenseActivation, x: S::f32s) -> S::f32s {
    match by {
        DenseActivation::Linear => x,
        DenseActivation::Relu => vector_math::at_least(simd, x, 0.0),
        DenseActivation::Tanh => vector_math::tanh(simd, x),
    }
}

/// The forward pass of a layer over some pixels: `out = activation(bias + patches · weights)`.
pub(super) struct Convolution<'a> {
    pub(super) shape: ConvShape,
    /// The input that kernels read, and the distance between two of its rows.
    pub(super) input: &'a [f32],
    pub(super) row: usize,
    /// The first element that the kernel of each pixel reads.
    pub(super) offsets: &'a [usize],
    pub(super) panels: &'a [f32],
    pub(super) bias: &'a [f32],
    /// `[pixels, channels]`.
    pub(super) out: &'a mut [f32],
}

impl WithSimd for Convolution<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let patch = self.shape.patch();
        for (first, width) in panels(self.shape.channels()) {
            let panel = &self.panels[first * patch..][..width * patch];
            macro_rules! tile {
                ($n:tt, $column:tt, $m:tt, $pixel:tt) => {
                    self.tile::<S, $m, $n>(simd, panel, width, $pixel, [first, $column])
                };
            }
            macro_rules! pixels {
                ($m:tt, $pixel:tt) => {
                    vectors!(S, width, tile, $m, $pixel)
                };
            }
            tiles!(S, self.offsets.len(), pixels);
        }
    }
}

impl Convolution<'_> {
    #[inline(always)]
    fn tile<S: Simd, const M: usize, const N: usize>(
        &mut self,
        simd: S,
        panel: &[f32],
        width: usize,
        pixel: usize,
        [first, column]: [usize; 2],
    ) {
        let (run, channels) = (self.shape.run(), self.shape.channels());
        let bias = &self.bias[channels.min(first + column)..];
        let mut sums = [load_part::<S, N>(simd, bias); M];
        for ky in 0..self.shape.kernel[0] {
            let mut rows = [&self.input[..0]; M];
            for m in 0..M {
                rows[m] = &self.input[self.offsets[pixel + m] + ky * self.row..][..run];
            }
            let weights = &panel[ky * run * width..][..run * width];
            sums = add_products(simd, sums, rows, weights, width, column);
        }
        let end = channels.min(first + column + N * S::F32_LANES);
        for m in 0..M {
            for n in 0..N {
                sums[m][n] = activate(simd, self.shape.activation, sums[m][n]);
            }
            let out = &mut self.out[(pixel + m) * channels..][..channels];
            store_part(simd, sums[m], &mut out[end.min(first + column)..end]);
        }
    }
}

/// Returns `sums + rows · panel` for the vectors of the panel from `column` on.
#[inline(always)]
fn add_products<S: Simd, const M: usize, const N: usize>(
    simd: S,
    mut sums: [[S::f32s; N]; M],
    rows: [&[f32]; M],
    panel: &[f32],
    width: usize,
    column: usize,
) -> [[S::f32s; N]; M] {
    for (p, weights) in panel.chunks_exact(width).enumerate() {
        let weights = load::<S, N>(simd, &weights[column..]);
        for m in 0..M {
            let x = simd.splat_f32s(rows[m][p]);
            for n in 0..N {
                sums[m][n] = simd.mul_add_e_f32s(x, weights[n], sums[m][n]);
            }
        }
    }
    sums
}

/// The gradient of the weights: `sums += patchesᵀ · gradient` over some pixels.
pub(super) struct WeightGradient<'a> {
    pub(super) shape: ConvShape,
    pub(super) input: &'a [f32],
    pub(super) row: usize,
    pub(super) offsets: &'a [usize],
    /// `[pixels, wide channels]`.
    pub(super) gradient: &'a [f32],
    /// `[patch, wide channels]`.
    pub(super) sums: &'a mut [f32],
}

/// Pixels that are added at a time, so that their gradients stay in the first-level cache.
const REDUCTION: usize = 192;

impl WithSimd for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (run, wide) = (self.shape.run(), self.shape.wide_channels());
        let pixels = self.offsets.chunks(REDUCTION);
        for (offsets, gradient) in pixels.zip(self.gradient.chunks(REDUCTION * wide)) {
            for ky in 0..self.shape.kernel[0] {
                let place = ky * run * wide;
                for (first, width) in panels(wide) {
                    macro_rules! tile {
                        ($n:tt, $column:tt, $m:tt, $element:tt) => {
                            self.tile::<S, $m, $n>(
                                simd,
                                offsets,
                                gradient,
                                [ky * self.row + $element, first + $column],
                                place + $element * wide,
                            )
                        };
                    }
                    macro_rules! elements {
                        ($m:tt, $element:tt) => {
                            vectors!(S, width, tile, $m, $element)
                        };
                    }
                    tiles!(S, run, elements);
                }
            }
        }
    }
}

impl WeightGradient<'_> {
    #[inline(always)]
    fn tile<S: Simd, const M: usize, const N: usize>(
        &mut self,
        simd: S,
        offsets: &[usize],
        gradient: &[f32],
        [element, column]: [usize; 2],
        place: usize,
    ) {
        let wide = self.shape.wide_channels();
        let out = &mut self.sums[place..][..M * wide];
        let mut sums = [[simd.splat_f32s(0.0); N]; M];
        for m in 0..M {
            sums[m] = load(simd, &out[m * wide + column..]);
        }
        for (offset, gradient) in offsets.iter().zip(gradient.chunks_exact(wide)) {
            let gradient = load::<S, N>(simd, &gradient[column..]);
            let x = &self.input[offset + element..][..M];
            for m in 0..M {
                let x = simd.splat_f32s(x[m]);
                for n in 0..N {
                    sums[m][n] = simd.mul_add_e_f32s(x, gradient[n], sums[m][n]);
                }
            }
        }
        for m in 0..M {
            store_part(simd, sums[m], &mut out[m * wide + column..]);
        }
    }
}

/// The gradient of the input that kernels read: `out += gradient · weightsᵀ`. Kernels of one image overlap, so the rows
/// of a tile are different images, which never overlap.
pub(super) struct InputGradient<'a> {
    pub(super) shape: ConvShape,
    /// The first element that the kernel of each pixel of one image reads.
    pub(super) offsets: &'a [usize],
    pub(super) row: usize,
    /// `[pixels, images, wide channels]`.
    pub(super) gradient: &'a [f32],
    pub(super) panels: &'a [f32],
    /// Elements of an image.
    pub(super) len: usize,
    /// `[images, len]`.
    pub(super) out: &'a mut [f32],
}

impl WithSimd for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (run, channels) = (self.shape.run(), self.shape.channels());
        let wide = run.next_multiple_of(HALF_PANEL);
        let images = self.out.len() / self.len;
        for ky in 0..self.shape.kernel[0] {
            for (first, width) in panels(run) {
                let panel = &self.panels[(ky * wide + first) * channels..][..width * channels];
                for (pixel, offset) in self.offsets.iter().enumerate() {
                    macro_rules! tile {
                        ($n:tt, $column:tt, $m:tt, $image:tt) => {
                            self.tile::<S, $m, $n>(
                                simd,
                                panel,
                                width,
                                [$image, pixel, $column],
                                offset + ky * self.row + first,
                                run - first,
                            )
                        };
                    }
                    macro_rules! images {
                        ($m:tt, $image:tt) => {
                            vectors!(S, width, tile, $m, $image)
                        };
                    }
                    tiles!(S, images, images);
                }
            }
        }
    }
}

impl InputGradient<'_> {
    #[inline(always)]
    fn tile<S: Simd, const M: usize, const N: usize>(
        &mut self,
        simd: S,
        panel: &[f32],
        width: usize,
        [image, pixel, column]: [usize; 3],
        offset: usize,
        remaining: usize,
    ) {
        let (wide, len) = (self.shape.wide_channels(), self.len);
        let out = &mut self.out[image * len..][..M * len];
        let (images, channels) =
            (self.gradient.len() / wide / self.offsets.len(), self.shape.channels());
        let columns = remaining.min(column)..remaining.min(column + N * S::F32_LANES);
        let mut sums = [[simd.splat_f32s(0.0); N]; M];
        let mut rows = [&self.gradient[..0]; M];
        for m in 0..M {
            let out = &out[m * len + offset..];
            sums[m] = load_part(simd, &out[columns.clone()]);
            rows[m] = &self.gradient[(pixel * images + image + m) * wide..][..channels];
        }
        let sums = add_products(simd, sums, rows, panel, width, column);
        for m in 0..M {
            let out = &mut out[m * len + offset..];
            store_part(simd, sums[m], &mut out[columns.clone()]);
        }
    }
}
