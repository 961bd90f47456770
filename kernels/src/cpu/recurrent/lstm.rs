//! One step of an LSTM, for one sequence.

use pulp::Simd;

use super::cell::{map_vectors, sigmoid_slope};
use crate::cpu::vector_math::{sigmoid, tanh};

/// Applies the activations to the gates, and computes the cell state and the hidden state.
///
/// # Shapes
/// `gates`: `[4 · hidden]`, input, forget, cell, output; the others: `[hidden]`.
#[inline(always)]
pub(super) fn forward<S: Simd>(
    simd: S,
    gates: &mut [f32],
    before: &[f32],
    cell: &mut [f32],
    hidden: &mut [f32],
) {
    let width = before.len();
    activate(simd, &mut gates[..2 * width], true);
    activate(simd, &mut gates[2 * width..3 * width], false);
    activate(simd, &mut gates[3 * width..], true);
    let [input, forget, new, output] = split(gates);
    map_vectors(
        simd,
        [input, forget, new, output, before],
        [cell, hidden],
        #[inline(always)]
        |[input, forget, new, output, before]| {
            let cell = simd.mul_add_e_f32s(input, new, simd.mul_f32s(forget, before));
            [cell, simd.mul_f32s(output, tanh(simd, cell))]
        },
    );
}

#[inline(always)]
fn activate<S: Simd>(simd: S, gates: &mut [f32], is_sigmoid: bool) {
    match is_sigmoid {
        true => crate::cpu::vector_math::map(
            simd,
            gates,
            #[inline(always)]
            |x| sigmoid(simd, x),
        ),
        false => crate::cpu::vector_math::map(
            simd,
            gates,
            #[inline(always)]
            |x| tanh(simd, x),
        ),
    }
}

fn split(gates: &[f32]) -> [&[f32]; 4] {
    let width = gates.len() / 4;
    let (input, rest) = gates.split_at(width);
    let (forget, rest) = rest.split_at(width);
    let (new, output) = rest.split_at(width);
    [input, forget, new, output]
}

/// Computes the gradients of the gates before their activations from those of the hidden state and the cell state after
/// the step. Replaces the gradient of the cell state by the gradient of the cell state before the step.
#[inline(always)]
pub(super) fn backward<S: Simd>(
    simd: S,
    gates: &[f32],
    [before, cell]: [&[f32]; 2],
    of_hidden: &[f32],
    of_cell: &mut [f32],
    of_gates: &mut [f32],
) {
    let width = before.len();
    let one = simd.splat_f32s(1.0);
    let [input, forget, new, output] = split(gates);
    let (of_input, rest) = of_gates.split_at_mut(width);
    let (of_forget, rest) = rest.split_at_mut(width);
    let (of_new, of_output) = rest.split_at_mut(width);
    let mut after = [0.0; 64];
    for start in (0..width).step_by(after.len()) {
        let range = start..width.min(start + after.len());
        let after = &mut after[..range.len()];
        after.copy_from_slice(&of_cell[range.clone()]);
        let at = |values| -> &[f32] {
            let values: &[f32] = values;
            &values[range.clone()]
        };
        map_vectors(
            simd,
            [
                at(input),
                at(forget),
                at(new),
                at(output),
                at(before),
                at(cell),
                at(of_hidden),
                after,
            ],
            [
                &mut of_input[range.clone()],
                &mut of_forget[range.clone()],
                &mut of_new[range.clone()],
                &mut of_output[range.clone()],
                &mut of_cell[range.clone()],
            ],
            #[inline(always)]
            |[input, forget, new, output, before, cell, of_hidden, of_cell]| {
                let squashed = tanh(simd, cell);
                let through = simd.mul_f32s(of_hidden, output);
                let slope_of_cell = simd.negate_mul_add_e_f32s(squashed, squashed, one);
                let of_cell = simd.mul_add_e_f32s(through, slope_of_cell, of_cell);
                let of_new = simd.mul_f32s(of_cell, input);
                [
                    simd.mul_f32s(simd.mul_f32s(of_cell, new), sigmoid_slope(simd, input)),
                    simd.mul_f32s(simd.mul_f32s(of_cell, before), sigmoid_slope(simd, forget)),
                    simd.mul_f32s(of_new, simd.negate_mul_add_e_f32s(new, new, one)),
                    simd.mul_f32s(simd.mul_f32s(of_hidden, squashed), sigmoid_slope(simd, output)),
                    simd.mul_f32s(of_cell, forget),
                ]
            },
        );
    }
}
