//! The backward pass.
//!
//! The images are split into parts, whose number depends only on the sizes. Each part has its own sums for the
//! gradients of the parameters. The sums are added up in the order of the parts, so results do not depend on the number
//! of threads.

use pulp::{Simd, WithSimd};

use super::forward::{BLOCK, GRAIN, images_at_a_time};
use super::patches::{Images, Patches, Scale, crop};
use super::products::{InputGradient, WeightGradient};
use super::shape::{Band, ConvParameters, ConvShape, Grid};
use crate::cpu::arch::arch;
use crate::cpu::mlp::through_activation;
use crate::cpu::scratch::Scratch;
use crate::cpu::vector_math;

/// Maximum number of parts, and of the elements of their sums together.
const MOST_PARTS: usize = 16;
const MOST_SUMS: usize = 1 << 22;

/// A backward pass through some layers.
pub(super) struct Backward<'a> {
    pub(super) x: Images<'a>,
    pub(super) layers: &'a [ConvParameters<'a>],
    pub(super) scale: Option<Scale>,
    /// The output of each layer.
    pub(super) outputs: &'a [&'a [f32]],
    /// The gradient of the last output.
    pub(super) gradient: &'a [f32],
    /// Whether the images need a gradient.
    pub(super) needs_x: bool,
    /// Whether weights and bias of each layer need a gradient.
    pub(super) needs: &'a [bool],
}

/// The gradients of the images, and the gradients of weights and bias of each layer, where needed.
pub(super) type Found = (Option<Vec<f32>>, Vec<Option<Vec<f32>>>);

/// Returns the gradients of the images and of the parameters of each layer, where they are needed.
pub(super) fn backward(pass: &Backward<'_>) -> Found {
    let Backward { x, layers, scale, needs_x, .. } = *pass;
    let len = layers.first().map_or(1, |layer| layer.shape.input_len());
    let images = x.len() / len;
    // The first layer needs no panels if there is no gradient with respect to the images.
    let first = usize::from(!needs_x);
    let memory = |(index, layer): (usize, &ConvParameters<'_>)| match index < first {
        true => Scratch::default(),
        false => layer.gradient_memory(),
    };
    let mut panels: Vec<Scratch> = layers.iter().enumerate().map(memory).collect();
    let tasks: Vec<_> = panels.iter_mut().zip(layers).skip(first).collect();
    rekindle_parallel::for_each(tasks, |(panels, layer)| layer.gradient_panels(panels));

    let step = images_per_part(images, layers);
    let mut of_x = vec![0.0; if needs_x { x.len() } else { 0 }];
    let mut of_x_parts = of_x.chunks_mut(step * len);
    let mut sums: Vec<Scratch> =
        (0..images).step_by(step).map(|_| Scratch::new(sums_len(layers))).collect();
    let part = |(part, sums)| {
        let first = part * step;
        let of_part = |all: usize| {
            let len = all / images;
            first * len..images.min(first + step) * len
        };
        let outputs = pass.outputs.iter().map(|output| &output[of_part(output.len())]);
        Part {
            layers,
            panels: &panels,
            scale,
            x: x.slice(of_part(x.len())),
            outputs: outputs.collect(),
            gradient: &pass.gradient[of_part(pass.gradient.len())],
            of_x: of_x_parts.next(),
            sums,
        }
    };
    let tasks: Vec<_> = sums.iter_mut().map(|sums| &mut sums[..]).enumerate().map(part).collect();
    let arch = arch();
    rekindle_parallel::for_each(tasks, |task: Part<'_>| arch.dispatch(task));
    (needs_x.then_some(of_x), add_up(layers, pass.needs, sums))
}

fn sums_len(layers: &[ConvParameters<'_>]) -> usize {
    layers.iter().map(|layer| (layer.shape.patch() + 1) * layer.shape.wide_channels()).sum()
}

fn images_per_part(images: usize, layers: &[ConvParameters<'_>]) -> usize {
    let cost: usize = layers.iter().map(|layer| layer.shape.cost()).sum();
    let most = (MOST_SUMS / sums_len(layers).max(1)).clamp(2, MOST_PARTS);
    let parts = (images * cost / GRAIN).clamp(1, most);
    let step = images.div_ceil(parts).max(1);
    // Parts consist of whole blocks, unless there would be fewer than two parts.
    if images >= 2 * BLOCK { step.next_multiple_of(BLOCK) } else { step.max(images.div_ceil(2)) }
}

/// The backward pass of some images.
struct Part<'a> {
    layers: &'a [ConvParameters<'a>],
    panels: &'a [Scratch],
    scale: Option<Scale>,
    x: Images<'a>,
    /// The output of each layer.
    outputs: Vec<&'a [f32]>,
    /// The gradient of the last output.
    gradient: &'a [f32],
    /// The gradient of the images, if it is needed.
    of_x: Option<&'a mut [f32]>,
    /// For each layer, the gradients of weights `[patch, wide channels]` and bias `[wide channels]`.
    sums: &'a mut [f32],
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        self.sums.fill(0.0);
        let Some(last) = self.layers.last() else { return };
        let images = self.gradient.len() / last.shape.output_len().max(1);
        for first in (0..images).step_by(BLOCK) {
            self.block(simd, first, BLOCK.min(images - first));
        }
    }
}

impl Part<'_> {
    /// Adds the gradients of some images.
    #[inline(always)]
    fn block<S: Simd>(&mut self, simd: S, first: usize, images: usize) {
        let Some(last) = self.layers.last() else { return };
        let last = last.shape;
        let of = |all, len| -> &[f32] {
            let all: &[f32] = all;
            &all[first * len..(first + images) * len]
        };
        let output = of(self.outputs[self.layers.len() - 1], last.output_len());
        let mut gradient = Scratch::new(images * last.pixels() * last.wide_channels());
        widen(simd, last, of(self.gradient, last.output_len()), output, &mut gradient);
        let mut end = self.sums.len();
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let shape = layer.shape;
            let scale = if index == 0 { self.scale } else { None };
            let len = shape.input_len();
            let below = index.checked_sub(1).map(|below| of(self.outputs[below], len));
            let x = match below {
                Some(below) => Images::Floats(below),
                None => self.x.slice(first * len..(first + images) * len),
            };
            let start = end - (shape.patch() + 1) * shape.wide_channels();
            parameters(simd, shape, scale, x, &gradient, &mut self.sums[start..end]);
            end = start;
            if index == 0 && self.of_x.is_none() {
                return;
            }
            let padded = input(simd, shape, &gradient, &self.panels[index], images);
            if let Some(y) = below {
                let below = self.layers[index - 1].shape;
                gradient = Scratch::new(images * below.pixels() * below.wide_channels());
                narrow(simd, shape, below, &padded, y, &mut gradient);
            } else if let Some(of_x) = &mut self.of_x {
                let of_x = &mut of_x[first * len..(first + images) * len];
                unpad(shape, scale, &padded, of_x);
            }
        }
    }
}

/// Turns the gradient of a layer's output `y` into the gradient of the input of its activation. The channels of each
/// pixel are padded with zeros.
#[inline(always)]
fn widen<S: Simd>(simd: S, shape: ConvShape, given: &[f32], y: &[f32], out: &mut [f32]) {
    let (channels, wide) = (shape.channels(), shape.wide_channels());
    let pixels = given.chunks_exact(channels).zip(y.chunks_exact(channels));
    for ((given, y), out) in pixels.zip(out.chunks_exact_mut(wide)) {
        out[channels..].fill(0.0);
        out[..channels].copy_from_slice(given);
        through_activation(simd, shape.activation, y, &mut out[..channels]);
    }
}

/// Adds the gradients of weights and bias.
#[inline(always)]
fn parameters<S: Simd>(
    simd: S,
    shape: ConvShape,
    scale: Option<Scale>,
    x: Images<'_>,
    gradient: &[f32],
    sums: &mut [f32],
) {
    let (input_len, wide) = (shape.input_len(), shape.wide_channels());
    let (weights, bias) = sums.split_at_mut(shape.patch() * wide);
    let images = (x.len() / input_len).min(images_at_a_time(shape));
    let band = Band { images, rows: 0..shape.output[0] };
    let mut patches = Patches::new(shape, scale, x, &band);
    let chunks = x.chunks(images * input_len);
    for (x, gradient) in chunks.zip(gradient.chunks(images * shape.pixels() * wide)) {
        let band = Band { images: x.len() / input_len, ..band.clone() };
        let (row, offsets) = (patches.grid.row, std::mem::take(&mut patches.offsets));
        let input = patches.of(simd, &band, x);
        let of_band = &offsets[..band.images * shape.pixels()];
        let sums = &mut *weights;
        simd.vectorize(WeightGradient { shape, input, row, offsets: of_band, gradient, sums });
        patches.offsets = offsets;
    }
    for pixel in gradient.chunks_exact(wide) {
        vector_math::zip(
            simd,
            bias,
            pixel,
            #[inline(always)]
            |a, b| simd.add_f32s(a, b),
        );
    }
}

/// Computes the gradients of the padded images that the kernels read.
#[inline(always)]
fn input<S: Simd>(
    simd: S,
    shape: ConvShape,
    gradient: &[f32],
    panels: &[f32],
    images: usize,
) -> Scratch {
    let [height, width] = shape.extent(shape.output[0]);
    let grid = Grid { row: width * shape.input[2], image: height * width * shape.input[2] };
    let mut padded = Scratch::new(images * grid.image);
    padded.fill(0.0);
    let offsets = grid.offsets(shape, 1, shape.output[0]);
    // Products read the same pixel of all images as neighbors.
    let (wide, pixels) = (shape.wide_channels(), shape.pixels());
    let mut side_by_side = Scratch::new(gradient.len());
    for (image, gradient) in gradient.chunks_exact(pixels * wide).enumerate() {
        for (pixel, gradient) in gradient.chunks_exact(wide).enumerate() {
            side_by_side[(pixel * images + image) * wide..][..wide].copy_from_slice(gradient);
        }
    }
    simd.vectorize(InputGradient {
        shape,
        offsets: &offsets,
        row: grid.row,
        gradient: &side_by_side,
        panels,
        len: grid.image,
        out: &mut padded,
    });
    padded
}

/// Removes the padding from the gradients of images, and turns the result into the gradients of the input of the
/// activation of the layer below, whose output is `y`.
#[inline(always)]
fn narrow<S: Simd>(
    simd: S,
    shape: ConvShape,
    below: ConvShape,
    padded: &[f32],
    y: &[f32],
    out: &mut [f32],
) {
    let (channels, wide) = (below.channels(), below.wide_channels());
    out.fill(0.0);
    let images = shape.input_len() / channels;
    let image = padded.len() / (y.len() / shape.input_len());
    let all = padded.chunks_exact(image).zip(y.chunks_exact(shape.input_len()));
    for ((padded, y), out) in all.zip(out.chunks_exact_mut(images * wide)) {
        crop(shape, padded, |pixel, row| {
            let y = &y[pixel * channels..][..row.len()];
            let out = &mut out[pixel * wide..];
            let pixels = row.chunks_exact(channels).zip(y.chunks_exact(channels));
            for ((row, y), out) in pixels.zip(out.chunks_exact_mut(wide)) {
                out[..channels].copy_from_slice(row);
                through_activation(simd, below.activation, y, &mut out[..channels]);
            }
        });
    }
}

/// Removes the padding from the gradients of images.
fn unpad(shape: ConvShape, scale: Option<Scale>, padded: &[f32], out: &mut [f32]) {
    let len = shape.input_len();
    let image = padded.len() / (out.len() / len).max(1);
    for (padded, out) in padded.chunks_exact(image).zip(out.chunks_exact_mut(len)) {
        crop(shape, padded, |pixel, row| {
            let out = &mut out[pixel * shape.input[2]..][..row.len()];
            match scale {
                None => out.copy_from_slice(row),
                Some(scale) => {
                    out.iter_mut().zip(row).for_each(|(out, row)| *out = row / scale.width);
                }
            }
        });
    }
}

/// Adds up the sums of all parts, and converts them to the layout of each parameter that needs a gradient.
fn add_up(
    layers: &[ConvParameters<'_>],
    needs: &[bool],
    mut parts: Vec<Scratch>,
) -> Vec<Option<Vec<f32>>> {
    let (total, others) = match parts.split_first_mut() {
        Some((total, others)) => (&mut total[..], others),
        None => (&mut [][..], &mut [][..]),
    };
    let share = rekindle_parallel::share(total.len(), 1 << 13);
    let tasks = total.chunks_mut(share).enumerate();
    let others = &*others;
    rekindle_parallel::for_each(tasks, |(index, total): (usize, &mut [f32])| {
        for part in others {
            let part = &part[index * share..][..total.len()];
            total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
    });
    let mut rest = &*total;
    let mut tasks = Vec::with_capacity(layers.len());
    let mut gradients: Vec<[Vec<f32>; 2]> = layers
        .iter()
        .map(|layer| [layer.weights, layer.bias].map(|p| vec![0.0; p.len()]))
        .collect();
    for (layer, gradients) in layers.iter().zip(&mut gradients) {
        let len = (layer.shape.patch() + 1) * layer.shape.wide_channels();
        // There are no sums without images.
        if rest.len() >= len {
            let (sums, behind) = rest.split_at(len);
            tasks.push((layer.shape, sums, gradients));
            rest = behind;
        }
    }
    rekindle_parallel::for_each(tasks, |(shape, sums, [weights, bias])| {
        let (of_weights, of_bias) = sums.split_at(shape.patch() * shape.wide_channels());
        ConvParameters::from_patches(shape, of_weights, weights);
        bias.copy_from_slice(&of_bias[..shape.channels()]);
    });
    gradients.into_iter().flatten().zip(needs).map(|(g, needs)| needs.then_some(g)).collect()
}
