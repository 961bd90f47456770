//! The backward pass of a perceptron: first the gradients of what lies between layers, row by row,
//! then those of the parameters, weight by weight. Each element is summed in one order whatever the
//! number of threads, so results do not depend on it.

use pulp::{Arch, Simd, WithSimd};

use crate::kernels::host_op::Pass;
use super::matmul::{Columns, Rows, Start, matmul, transpose};
use super::mlp::{BLOCK, Dense, GRAIN, Layer, Mlp, cost, rows_per_task, transposed};
use super::scratch::Scratch;
use super::vector_math;
use crate::kernels::{DenseActivation, parallel};

/// Rows that are added to the gradients of weights at a time, so that they stay in the cache.
const REDUCTION: usize = 256;

pub(super) fn backward<const N: usize>(
    mlp: &Mlp,
    pass: Pass<'_, Vec<Scratch>, N>,
) -> [Option<Vec<f32>>; N] {
    let (x, layers) = mlp.split(pass.inputs);
    let outputs: Vec<&[f32]> =
        pass.saved.iter().map(|saved| &saved[..]).chain([pass.output]).collect();
    let (between, mut of_x) = between_layers(&layers, &outputs, pass.gradient, pass.needs[0]);
    let inputs: Vec<&[f32]> = [x].into_iter().chain(outputs).collect();
    let mut gradients = parameters(&layers, &inputs, &between, &pass.needs[1..]);
    std::array::from_fn(|index| match index.checked_sub(1) {
        None => of_x.take(),
        Some(index) => gradients[index].take(),
    })
}

/// The gradients of what each layer's activation is applied to, and of the rows if they need one.
fn between_layers(
    layers: &[Dense<'_>],
    outputs: &[&[f32]],
    gradient: &[f32],
    needs_x: bool,
) -> (Vec<Scratch>, Option<Vec<f32>>) {
    let Some(first) = layers.first() else { return (Vec::new(), None) };
    let rows = outputs[0].len() / first.layer.outputs;
    // The rows' gradients come first; nobody asks for them in most networks.
    let mut of_x = vec![0.0; if needs_x { rows * first.layer.inputs } else { 0 }];
    let mut gradients: Vec<_> = outputs.iter().map(|output| Scratch::new(output.len())).collect();
    if let Some(last) = gradients.last_mut() {
        last.copy_from_slice(gradient);
    }
    let step = rows_per_task(rows, cost(layers));
    let transposed = transposed(layers, |index, _| index > 0 || needs_x);
    let mut tasks: Vec<Between<'_>> = (0..rows)
        .step_by(step)
        .map(|row| Between {
            layers,
            transposed: &transposed,
            outputs: Vec::new(),
            gradients: Vec::new(),
            rows: step.min(rows - row),
            needs_x,
        })
        .collect();
    let all = [&mut of_x[..]].into_iter().chain(gradients.iter_mut().map(|g| &mut g[..]));
    for (index, mut gradients) in all.enumerate() {
        let width = gradients.len() / rows.max(1);
        for (task, number) in tasks.iter_mut().zip(0..) {
            let (head, tail) = gradients.split_at_mut(task.rows * width);
            gradients = tail;
            task.gradients.push(head);
            if let Some(output) = index.checked_sub(1).map(|index| outputs[index]) {
                task.outputs.push(&output[number * step * width..][..task.rows * width]);
            }
        }
    }
    let arch = Arch::new();
    parallel::for_each(tasks, |task| arch.dispatch(task));
    (gradients, needs_x.then_some(of_x))
}

/// Some rows back through all layers.
struct Between<'a> {
    layers: &'a [Dense<'a>],
    transposed: &'a [Scratch],
    outputs: Vec<&'a [f32]>,
    /// Those of the rows, then those of each layer.
    gradients: Vec<&'a mut [f32]>,
    rows: usize,
    needs_x: bool,
}

impl WithSimd for Between<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for first in (0..self.rows).step_by(BLOCK) {
            let rows = BLOCK.min(self.rows - first);
            for (index, (dense, transposed)) in
                self.layers.iter().zip(self.transposed).enumerate().rev()
            {
                let Layer { inputs, outputs, activation } = dense.layer;
                let (below, above) = self.gradients.split_at_mut(index + 1);
                let above = &mut above[0][first * outputs..][..rows * outputs];
                let y = &self.outputs[index][first * outputs..][..rows * outputs];
                through_activation(simd, activation, y, above);
                if index > 0 || self.needs_x {
                    let below = &mut below[index][first * inputs..][..rows * inputs];
                    let above = Rows { data: above, len: outputs };
                    matmul(simd, above, transposed, inputs, Start::Zero, below);
                }
            }
        }
    }
}

/// From the gradient of an activation's output `y` to that of its input.
#[inline(always)]
fn through_activation<S: Simd>(simd: S, by: DenseActivation, y: &[f32], gradient: &mut [f32]) {
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

/// The gradients of weights and bias of each layer, where they are needed.
fn parameters(
    layers: &[Dense<'_>],
    inputs: &[&[f32]],
    between: &[Scratch],
    needs: &[bool],
) -> Vec<Option<Vec<f32>>> {
    let mut gradients: Vec<Option<Vec<f32>>> = needs
        .chunks_exact(2)
        .zip(layers)
        .flat_map(|(needs, l)| [needs[0].then(|| l.weights.len()), needs[1].then(|| l.bias.len())])
        .map(|len| len.map(|len| vec![0.0; len]))
        .collect();
    let mut tasks = Vec::new();
    for (index, (gradients, dense)) in gradients.chunks_exact_mut(2).zip(layers).enumerate() {
        let layer = dense.layer;
        let of_layer = Of { layer, x: inputs[index], gradient: &between[index] };
        let rows = of_layer.gradient.len() / layer.outputs.max(1);
        let [weights, bias] = gradients else { continue };
        if let Some(weights) = weights {
            // The smaller side of a narrow layer is not worth splitting.
            let step = match layer.is_narrow() {
                true => layer.inputs,
                false => rows_per_task(layer.inputs, rows * layer.outputs),
            };
            for (task, weights) in weights.chunks_mut(step * layer.outputs).enumerate() {
                tasks.push(Task { of_layer, part: Part::Weights { first: task * step, weights } });
            }
        }
        if let Some(bias) = bias {
            tasks.push(Task { of_layer, part: Part::Bias(bias) });
        }
    }
    let work: usize = layers.iter().map(|l| l.weights.len()).sum::<usize>()
        * between.last().map_or(0, |last| last.len())
        / layers.last().map_or(1, |l| l.layer.outputs.max(1));
    let arch = Arch::new();
    match work < GRAIN {
        true => tasks.into_iter().for_each(|task| arch.dispatch(task)),
        false => parallel::for_each(tasks, |task| arch.dispatch(task)),
    }
    gradients
}

/// What the gradients of a layer's parameters are made of.
#[derive(Clone, Copy)]
struct Of<'a> {
    layer: Layer,
    x: &'a [f32],
    gradient: &'a [f32],
}

/// Gradients of a part of a layer's parameters.
struct Task<'a> {
    of_layer: Of<'a>,
    part: Part<'a>,
}

enum Part<'a> {
    /// The weights of the inputs from `first` on.
    Weights {
        first: usize,
        weights: &'a mut [f32],
    },
    Bias(&'a mut [f32]),
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Of { layer: Layer { inputs, outputs, .. }, x, gradient } = self.of_layer;
        match self.part {
            Part::Bias(sums) => {
                for row in gradient.chunks_exact(outputs) {
                    vector_math::zip(simd, sums, row, #[inline(always)] |a, b| simd.add_f32s(a, b));
                }
            }
            Part::Weights { weights, .. } if self.of_layer.layer.is_narrow() => {
                // (gradientᵀ · x)ᵀ, whose rows are long.
                let mut transposed = Scratch::new(weights.len());
                let left = Columns { data: gradient, stride: outputs, first: 0 };
                matmul(simd, left, x, inputs, Start::Zero, &mut transposed);
                transpose(&transposed, inputs, 0, weights);
            }
            Part::Weights { first, weights } => {
                let blocks = x.chunks(REDUCTION * inputs).zip(gradient.chunks(REDUCTION * outputs));
                for (x, gradient) in blocks {
                    let left = Columns { data: x, stride: inputs, first };
                    matmul(simd, left, gradient, outputs, Start::Result, weights);
                }
            }
        }
    }
}
