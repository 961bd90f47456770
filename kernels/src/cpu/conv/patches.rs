//! The input that kernels read: images in place, or scaled copies with zeros around them.

use std::ops::Range;

use pulp::Simd;

use super::shape::{Band, ConvShape, Grid};
use crate::cpu::scratch::{Indices, Scratch};
use crate::cpu::vector_math;

/// Images, or the outputs of a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Images<'a> {
    Floats(&'a [f32]),
    Bytes(&'a [u8]),
}

impl<'a> Images<'a> {
    pub(super) fn len(self) -> usize {
        match self {
            Self::Floats(floats) => floats.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    pub(super) fn slice(self, range: Range<usize>) -> Self {
        match self {
            Self::Floats(floats) => Self::Floats(&floats[range]),
            Self::Bytes(bytes) => Self::Bytes(&bytes[range]),
        }
    }

    /// Returns pieces of `len` elements. The last piece may be shorter.
    pub(super) fn chunks(self, len: usize) -> impl Iterator<Item = Self> + 'a {
        (0..self.len())
            .step_by(len.max(1))
            .map(move |first| self.slice(first..self.len().min(first + len)))
    }
}

/// The map `(x − low)/width` of the elements of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    pub(crate) low: f32,
    pub(crate) width: f32,
}

/// Images of a layer in the form that its kernels read.
pub(super) struct Patches {
    shape: ConvShape,
    scale: Option<Scale>,
    /// Scaled images with zeros around them, or empty if kernels read the images themselves.
    copies: Scratch,
    pub(super) grid: Grid,
    pub(super) offsets: Indices,
}

impl Patches {
    /// Allocates memory for bands up to the size of `largest`.
    pub(super) fn new(
        shape: ConvShape,
        scale: Option<Scale>,
        images: Images<'_>,
        largest: &Band,
    ) -> Self {
        let rows = largest.rows.len();
        let [height, width] = shape.extent(rows);
        let channels = shape.input[2];
        let copies = scale.is_some() || shape.reads_padding() || matches!(images, Images::Bytes(_));
        let grid = match copies {
            true => Grid { row: width * channels, image: height * width * channels },
            false => Grid { row: shape.input[1] * channels, image: shape.input_len() },
        };
        Self {
            shape,
            scale,
            copies: Scratch::new(if copies { largest.images * grid.image } else { 0 }),
            grid,
            offsets: grid.offsets(shape, largest.images, rows),
        }
    }

    /// Returns the input that the kernels of a band read, given the images of the band.
    #[inline(always)]
    pub(super) fn of<'a, S: Simd>(
        &'a mut self,
        simd: S,
        band: &Band,
        images: Images<'a>,
    ) -> &'a [f32] {
        if let Images::Floats(images) = images
            && self.copies.is_empty()
        {
            return &images[band.rows.start * self.shape.stride[0] * self.grid.row..];
        }
        let copies = self.copies.chunks_exact_mut(self.grid.image);
        for (copy, image) in copies.zip(images.chunks(self.shape.input_len())) {
            pad(simd, self.shape, self.scale, band.rows.start, image, copy);
        }
        &self.copies
    }
}

/// Writes the padded input that the kernels of the output's rows from `first_row` on read.
#[inline(always)]
fn pad<S: Simd>(
    simd: S,
    shape: ConvShape,
    scale: Option<Scale>,
    first_row: usize,
    image: Images<'_>,
    out: &mut [f32],
) {
    let [height, width, channels] = shape.input;
    let [above, left] = shape.padding;
    let [_, wide] = shape.extent(1);
    let left = left * channels;
    let inside = (width * channels).min(wide * channels - left);
    for (row, out) in out.chunks_exact_mut(wide * channels).enumerate() {
        let row = (first_row * shape.stride[0] + row).wrapping_sub(above);
        if row >= height {
            out.fill(0.0);
            continue;
        }
        out[..left].fill(0.0);
        out[left + inside..].fill(0.0);
        let out = &mut out[left..left + inside];
        let first = row * width * channels;
        match image.slice(first..first + inside) {
            Images::Floats(image) => match scale {
                None => out.copy_from_slice(image),
                Some(Scale { low, width }) => {
                    let (low, width) = (simd.splat_f32s(low), simd.splat_f32s(width));
                    vector_math::zip(
                        simd,
                        out,
                        image,
                        #[inline(always)]
                        |_, x| simd.div_f32s(simd.sub_f32s(x, low), width),
                    );
                }
            },
            Images::Bytes(image) => {
                let Scale { low, width } = scale.unwrap_or(Scale { low: 0.0, width: 1.0 });
                for (out, byte) in out.iter_mut().zip(image) {
                    *out = (f32::from(*byte) - low) / width;
                }
            }
        }
    }
}

/// Removes the padding from images. Elements that no kernel reads are 0. `store` is called for each row of an image
/// with the position of its first pixel in `out` and with the pixels that kernels read.
pub(super) fn crop(shape: ConvShape, padded: &[f32], mut store: impl FnMut(usize, &[f32])) {
    let [height, width, channels] = shape.input;
    let [above, left] = shape.padding;
    let [_, wide] = shape.extent(1);
    let inside = width.min(wide - left);
    let rows = padded.chunks_exact(wide * channels).skip(above).take(height);
    for (row, padded) in rows.enumerate() {
        store(row * width, &padded[left * channels..][..inside * channels]);
    }
}
