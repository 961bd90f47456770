//! Shapes of convolutions, and the order of their weights.

use std::ops::Range;

use crate::activation::DenseActivation;
use crate::cpu::panels::{HALF_PANEL, PANEL, panels, width};
use crate::cpu::scratch::{Indices, Scratch};

/// Input, kernel and output of a convolution. Images are `[height, width, channels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConvShape {
    pub(crate) input: [usize; 3],
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    /// Rows of zeros above the image, and columns of zeros to its left.
    pub(crate) padding: [usize; 2],
    pub(crate) output: [usize; 3],
    pub(crate) activation: DenseActivation,
}

impl ConvShape {
    /// Number of elements that a row of the kernel reads. They are neighbors in memory.
    pub(super) fn run(&self) -> usize {
        self.kernel[1] * self.input[2]
    }

    /// Elements that a kernel reads.
    pub(super) fn patch(&self) -> usize {
        self.kernel[0] * self.run()
    }

    /// Pixels of an output.
    pub(super) fn pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Channels of the output.
    pub(super) fn channels(&self) -> usize {
        self.output[2]
    }

    /// Channels of the output, filled up to whole vectors.
    pub(super) fn wide_channels(&self) -> usize {
        self.channels().next_multiple_of(HALF_PANEL)
    }

    pub(crate) fn input_len(&self) -> usize {
        self.input.iter().product()
    }

    pub(crate) fn output_len(&self) -> usize {
        self.output.iter().product()
    }

    /// Multiplications of an image.
    pub(super) fn cost(&self) -> usize {
        self.patch() * self.output_len()
    }

    /// Height and width of the input that the kernels of some rows of the output read. This is the image with its
    /// padding, without the last rows and columns if no kernel reaches them.
    pub(super) fn extent(&self, rows: usize) -> [usize; 2] {
        let side = |outputs: usize, axis: usize| {
            outputs.saturating_sub(1) * self.stride[axis] + self.kernel[axis]
        };
        [side(rows, 0), side(self.output[1], 1)]
    }

    /// Returns whether kernels read beyond the image.
    pub(super) fn reads_padding(&self) -> bool {
        let [height, width] = self.extent(self.output[0]);
        self.padding != [0, 0] || height > self.input[0] || width > self.input[1]
    }
}

/// A convolution with its parameters.
#[derive(Clone, Copy)]
pub(super) struct ConvParameters<'a> {
    pub(super) shape: ConvShape,
    /// `[out_channels, in_channels, kernel height, kernel width]`.
    pub(super) weights: &'a [f32],
    pub(super) bias: &'a [f32],
}

impl ConvParameters<'_> {
    /// Calls `f` for each input channel and row of the kernel. Its arguments are the index of the row's first weight
    /// among the weights of an output channel, and the index of the patch element that this weight multiplies. The
    /// row's weights are neighbors, and its patch elements are as far apart as there are input channels.
    fn each_run(shape: ConvShape, mut f: impl FnMut(usize, usize)) {
        let [_, _, channels] = shape.input;
        for channel in 0..channels {
            for row in 0..shape.kernel[0] {
                let weight = (channel * shape.kernel[0] + row) * shape.kernel[1];
                f(weight, row * shape.run() + channel);
            }
        }
    }

    /// Returns memory for the weights in [`forward_panels`](Self::forward_panels).
    pub(super) fn forward_memory(&self) -> Scratch {
        Scratch::new(self.shape.patch() * self.shape.wide_channels())
    }

    /// Writes the weights for the forward pass: panels of output channels, each `[patch, width]`, with zeros behind the
    /// last channel.
    pub(super) fn forward_panels(&self, packed: &mut [f32]) {
        let shape = self.shape;
        let (patch, columns) = (shape.patch(), shape.channels());
        for (first, width) in panels(columns) {
            let panel = &mut packed[first * patch..][..patch * width];
            let of_panel = columns.min(first + width) - first;
            if of_panel < width {
                panel.fill(0.0);
            }
            let weights = &self.weights[first * patch..][..of_panel * patch];
            Self::each_run(shape, |weight, element| {
                for kx in 0..shape.kernel[1] {
                    let element = element + kx * shape.input[2];
                    let row = &mut panel[element * width..][..of_panel];
                    for (channel, out) in row.iter_mut().enumerate() {
                        *out = weights[channel * patch + weight + kx];
                    }
                }
            });
        }
    }

    /// Returns memory for the weights in [`gradient_panels`](Self::gradient_panels).
    pub(super) fn gradient_memory(&self) -> Scratch {
        let wide = self.shape.run().next_multiple_of(HALF_PANEL);
        Scratch::new(self.shape.kernel[0] * wide * self.shape.channels())
    }

    /// Writes the weights for the gradient with respect to the input: for each row of the kernel, panels of its
    /// elements, each `[out_channels, width]`, with zeros behind the last element.
    pub(super) fn gradient_panels(&self, packed: &mut [f32]) {
        let shape = self.shape;
        let (patch, run, channels) = (shape.patch(), shape.run(), shape.channels());
        let wide = run.next_multiple_of(HALF_PANEL);
        if wide > run {
            packed.fill(0.0);
        }
        for channel in 0..channels {
            let weights = &self.weights[channel * patch..][..patch];
            Self::each_run(shape, |weight, element| {
                let (ky, first) = (element / run, element % run);
                for kx in 0..shape.kernel[1] {
                    let element = first + kx * shape.input[2];
                    let panel = element / PANEL * PANEL;
                    let width = width(run - panel);
                    let row = (ky * wide + panel) * channels + channel * width;
                    packed[row + element % PANEL] = weights[weight + kx];
                }
            });
        }
    }

    /// Converts sums `[patch, wide channels]` to the layout of the weights.
    pub(super) fn from_patches(shape: ConvShape, sums: &[f32], weights: &mut [f32]) {
        let (patch, wide) = (shape.patch(), shape.wide_channels());
        for (channel, weights) in weights.chunks_exact_mut(patch).enumerate() {
            Self::each_run(shape, |weight, element| {
                for kx in 0..shape.kernel[1] {
                    let element = element + kx * shape.input[2];
                    weights[weight + kx] = sums[element * wide + channel];
                }
            });
        }
    }
}

/// Where the images of a convolution lie in memory.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    /// Distance of two rows.
    pub(super) row: usize,
    /// Distance of two images.
    pub(super) image: usize,
}

impl Grid {
    /// The first elements that the kernels of some rows of the outputs of `images` read.
    pub(super) fn offsets(self, shape: ConvShape, images: usize, rows: usize) -> Indices {
        let [down, right] = [self.row * shape.stride[0], shape.input[2] * shape.stride[1]];
        let columns = shape.output[1];
        let firsts =
            (0..images).flat_map(|image| (0..rows).map(move |row| image * self.image + row * down));
        let offsets = firsts.flat_map(|first| (0..columns).map(move |c| first + c * right));
        Indices::collect(images * rows * columns, offsets)
    }
}

/// Rows of the outputs of consecutive images: all rows, or a part of those of one image.
#[derive(Clone)]
pub(super) struct Band {
    pub(super) images: usize,
    pub(super) rows: Range<usize>,
}
