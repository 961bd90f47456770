//! The forward pass.

use std::sync::Arc;

use pulp::{Simd, WithSimd};
use smallvec::SmallVec;

use super::patches::{Images, Patches, Scale};
use super::products::Convolution;
use super::shape::{Band, ConvParameters, ConvShape};
use crate::cpu::arch::arch;
use crate::cpu::scratch::{Scratch, result};

/// Images that pass all layers together, so that the values between the layers stay in the cache.
pub(super) const BLOCK: usize = 8;

/// Minimum number of output pixels for one pass over the weights. Several small images are read together.
const PIXELS: usize = 128;

/// Number of layers up to which a pass allocates no lists of them.
pub(crate) const LAYERS: usize = 8;

/// Minimum number of multiplications that justifies another thread (some five microseconds).
pub(super) const GRAIN: usize = 1 << 18;

/// Returns how many images a layer reads at a time.
pub(super) fn images_at_a_time(shape: ConvShape) -> usize {
    PIXELS.div_ceil(shape.pixels().max(1)).min(BLOCK)
}

/// Applies the layers to images. Returns the output of the last layer, and the outputs of the other layers if
/// requested.
pub(super) fn forward(
    x: Images<'_>,
    layers: &[ConvParameters<'_>],
    packed: &[Option<Arc<Scratch>>],
    scale: Option<Scale>,
    keeps: bool,
) -> (Vec<f32>, Vec<Scratch>) {
    let packed = |index: usize| packed.get(index).and_then(Option::as_deref);
    let mut missing: Vec<Scratch> = layers
        .iter()
        .enumerate()
        .map(|(index, layer)| match packed(index) {
            Some(_) => Scratch::default(),
            None => layer.forward_memory(),
        })
        .collect();
    let tasks = missing.iter_mut().zip(layers).filter(|(panels, _)| !panels.is_empty());
    rekindle_parallel::for_each(tasks, |(panels, layer)| layer.forward_panels(panels));
    let panels: Vec<&[f32]> = missing
        .iter()
        .enumerate()
        .map(|(index, missing)| packed(index).map_or(&missing[..], |packed| &packed[..]))
        .collect();
    let images = x.len() / layers.first().map_or(1, |layer| layer.shape.input_len());
    let last = layers.last().map_or(0, |layer| layer.shape.output_len());
    let mut output = result(images * last);
    let saved = forward_into(x, layers, &panels, scale, keeps, &mut output);
    (output, saved.into_vec())
}

/// As [`forward`], into `output`. `panels` are the weights of the layers in panels. Returns the outputs of the other
/// layers if requested.
pub(super) fn forward_into(
    x: Images<'_>,
    layers: &[ConvParameters<'_>],
    panels: &[&[f32]],
    scale: Option<Scale>,
    keeps: bool,
    output: &mut [f32],
) -> SmallVec<[Scratch; LAYERS]> {
    let images = x.len() / layers.first().map_or(1, |layer| layer.shape.input_len());
    let cost: usize = layers.iter().map(|layer| layer.shape.cost()).sum();
    let threads = rekindle_parallel::num_threads();
    if images < threads && cost >= 2 * GRAIN {
        return by_rows(x, layers, panels, scale, images, output);
    }
    let kept = match layers.split_last() {
        Some((_, hidden)) if keeps => hidden,
        _ => &[],
    };
    let mut saved: SmallVec<[_; LAYERS]> =
        kept.iter().map(|layer| Scratch::new(images * layer.shape.output_len())).collect();
    // The result of an image does not depend on the task it is in.
    let tasks = (images * cost / GRAIN).clamp(1, threads.max(images.div_ceil(BLOCK)));
    let step = images.div_ceil(tasks).clamp(1, BLOCK);
    let of_step = |len: usize| (step * len / images.max(1)).max(1);
    let mut parts: SmallVec<[_; LAYERS]> = saved
        .iter_mut()
        .map(|saved| {
            let len = of_step(saved.len());
            saved.chunks_mut(len)
        })
        .collect();
    let outputs = output.chunks_mut(of_step(output.len()));
    let images = x.chunks(step * layers.first().map_or(1, |layer| layer.shape.input_len()));
    let tasks = images.zip(outputs).map(|(x, output)| {
        let saved = parts.iter_mut().map(|parts| parts.next().unwrap_or_default());
        Block { x, layers, panels, scale, outputs: saved.chain([output]).collect() }
    });
    let arch = arch();
    rekindle_parallel::for_each(tasks, |task| arch.dispatch(task));
    drop(parts);
    saved
}

/// All layers over a few images.
struct Block<'a> {
    x: Images<'a>,
    layers: &'a [ConvParameters<'a>],
    panels: &'a [&'a [f32]],
    scale: Option<Scale>,
    /// The outputs of the layers, or only of the last layer if the others are not kept.
    outputs: SmallVec<[&'a mut [f32]; LAYERS]>,
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, layers, panels, mut scale, mut outputs } = self;
        let Some(first) = layers.first() else { return };
        let images = x.len() / first.shape.input_len();
        let keeps = outputs.len() == layers.len();
        // The values between the layers, if they are not kept.
        let mut between = Scratch::default();
        for (index, (layer, panels)) in layers.iter().zip(panels).enumerate() {
            let last = index + 1 == layers.len();
            let len = images * layer.shape.output_len();
            if keeps {
                let (earlier, output) = outputs.split_at_mut(index);
                let x = earlier.last().map_or(x, |earlier| Images::Floats(earlier));
                convolve(simd, layer, panels, scale, x, output[0]);
            } else if last {
                let x = if index == 0 { x } else { Images::Floats(&between) };
                convolve(simd, layer, panels, scale, x, outputs[0]);
            } else {
                let mut output = Scratch::new(len);
                let x = if index == 0 { x } else { Images::Floats(&between) };
                convolve(simd, layer, panels, scale, x, &mut output);
                between = output;
            }
            scale = None;
        }
    }
}

/// One layer over some images.
#[inline(always)]
fn convolve<S: Simd>(
    simd: S,
    layer: &ConvParameters<'_>,
    panels: &[f32],
    scale: Option<Scale>,
    x: Images<'_>,
    out: &mut [f32],
) {
    let shape = layer.shape;
    let (input, output) = (shape.input_len(), shape.output_len());
    let images = (x.len() / input).min(images_at_a_time(shape));
    let band = Band { images, rows: 0..shape.output[0] };
    let mut patches = Patches::new(shape, scale, x, &band);
    for (x, out) in x.chunks(images * input).zip(out.chunks_mut(images * output)) {
        let band = Band { images: x.len() / input, ..band.clone() };
        convolve_band(simd, layer, panels, &mut patches, &band, x, out);
    }
}

#[inline(always)]
fn convolve_band<S: Simd>(
    simd: S,
    layer: &ConvParameters<'_>,
    panels: &[f32],
    patches: &mut Patches,
    band: &Band,
    x: Images<'_>,
    out: &mut [f32],
) {
    let shape = layer.shape;
    let (row, offsets) = (patches.grid.row, std::mem::take(&mut patches.offsets));
    let pixels = band.images * band.rows.len() * shape.output[1];
    let input = patches.of(simd, band, x);
    let offsets_of_band = &offsets[..pixels];
    let bias = layer.bias;
    simd.vectorize(Convolution { shape, input, row, offsets: offsets_of_band, panels, bias, out });
    patches.offsets = offsets;
}

/// Applies the layers to fewer images than there are threads, which share the rows of each layer. Returns the
/// outputs of all layers but the last.
fn by_rows(
    x: Images<'_>,
    layers: &[ConvParameters<'_>],
    panels: &[&[f32]],
    scale: Option<Scale>,
    images: usize,
    output: &mut [f32],
) -> SmallVec<[Scratch; LAYERS]> {
    let mut saved = SmallVec::<[Scratch; LAYERS]>::new();
    let arch = arch();
    let threads = rekindle_parallel::num_threads();
    for (index, (layer, panels)) in layers.iter().zip(panels).enumerate() {
        let shape = layer.shape;
        let mut out = Scratch::new(images * shape.output_len());
        let parts = (shape.cost() / GRAIN).clamp(1, threads);
        let rows = shape.output[0].div_ceil(parts).max(1);
        let width = shape.output[1] * shape.output[2];
        let scale = if index == 0 { scale } else { None };
        let x = saved.last().map_or(x, |saved| Images::Floats(saved));
        let images = x.chunks(shape.input_len()).zip(out.chunks_mut(shape.output_len()));
        let tasks = images.flat_map(|(x, out)| {
            out.chunks_mut(rows * width).enumerate().map(move |(part, out)| {
                let rows = part * rows..part * rows + out.len() / width;
                Rows { layer, panels, scale, x, band: Band { images: 1, rows }, out }
            })
        });
        rekindle_parallel::for_each(tasks, |task| arch.dispatch(task));
        saved.push(out);
    }
    if let Some(last) = saved.pop() {
        output.copy_from_slice(&last);
    }
    saved
}

/// One layer over some rows of an image.
struct Rows<'a> {
    layer: &'a ConvParameters<'a>,
    panels: &'a [f32],
    scale: Option<Scale>,
    x: Images<'a>,
    band: Band,
    out: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { layer, panels, scale, x, band, out } = self;
        let mut patches = Patches::new(layer.shape, scale, x, &band);
        convolve_band(simd, layer, panels, &mut patches, &band, x, out);
    }
}
