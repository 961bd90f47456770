//! One step of a GRU, for one sequence.

use pulp::Simd;

use super::cell::{map_vectors, sigmoid_slope};
use crate::cpu::vector_math::{sigmoid, tanh};

/// Computes the hidden state. Replaces the contributions of the inputs to the gates by the gates.
///
/// # Shapes
/// `gates`, `recurrent`: `[3 · hidden]`, reset, update, new, the contributions of input and state; the others:
/// `[hidden]`.
#[inline(always)]
pub(super) fn forward<S: Simd>(
    simd: S,
    gates: &mut [f32],
    recurrent: &[f32],
    before: &[f32],
    hidden: &mut [f32],
) {
    let width = before.len();
    let (activated, new) = gates.split_at_mut(2 * width);
    crate::cpu::vector_math::zip(
        simd,
        activated,
        &recurrent[..2 * width],
        #[inline(always)]
        |x, h| sigmoid(simd, simd.add_f32s(x, h)),
    );
    let (reset, update) = activated.split_at(width);
    let mut contribution = [0.0; 64];
    for start in (0..width).step_by(contribution.len()) {
        let range = start..width.min(start + contribution.len());
        let contribution = &mut contribution[..range.len()];
        contribution.copy_from_slice(&new[range.clone()]);
        map_vectors(
            simd,
            [
                contribution,
                &reset[range.clone()],
                &update[range.clone()],
                &recurrent[2 * width..][range.clone()],
                &before[range.clone()],
            ],
            [&mut new[range.clone()], &mut hidden[range.clone()]],
            #[inline(always)]
            |[x, reset, update, recurrent, before]| {
                let new = tanh(simd, simd.mul_add_e_f32s(reset, recurrent, x));
                let apart = simd.sub_f32s(before, new);
                [new, simd.mul_add_e_f32s(apart, update, new)]
            },
        );
    }
}

/// Computes the gradients of the contributions of input and state to the gates from the gradient of the hidden state
/// after the step. Replaces this gradient by the direct gradient of the hidden state before the step.
///
/// # Shapes
/// `recurrent`: `[hidden]`, the contribution of the state to the new gate.
#[inline(always)]
pub(super) fn backward<S: Simd>(
    simd: S,
    gates: &[f32],
    [before, recurrent]: [&[f32]; 2],
    of_hidden: &mut [f32],
    of_gates: &mut [f32],
    of_recurrent: &mut [f32],
) {
    let width = before.len();
    let one = simd.splat_f32s(1.0);
    let (reset, rest) = gates.split_at(width);
    let (update, new) = rest.split_at(width);
    let (of_reset, rest) = of_gates.split_at_mut(width);
    let (of_update, of_new) = rest.split_at_mut(width);
    let mut after = [0.0; 64];
    for start in (0..width).step_by(after.len()) {
        let range = start..width.min(start + after.len());
        let after = &mut after[..range.len()];
        after.copy_from_slice(&of_hidden[range.clone()]);
        map_vectors(
            simd,
            [
                &reset[range.clone()],
                &update[range.clone()],
                &new[range.clone()],
                &before[range.clone()],
                &recurrent[range.clone()],
                after,
            ],
            [
                &mut of_reset[range.clone()],
                &mut of_update[range.clone()],
                &mut of_new[range.clone()],
                &mut of_recurrent[2 * width..][range.clone()],
                &mut of_hidden[range.clone()],
            ],
            #[inline(always)]
            |[reset, update, new, before, recurrent, of_hidden]| {
                let of_new = simd.mul_f32s(of_hidden, simd.sub_f32s(one, update));
                let of_new = simd.mul_f32s(of_new, simd.negate_mul_add_e_f32s(new, new, one));
                let of_update = simd.mul_f32s(of_hidden, simd.sub_f32s(before, new));
                let of_reset = simd.mul_f32s(of_new, recurrent);
                [
                    simd.mul_f32s(of_reset, sigmoid_slope(simd, reset)),
                    simd.mul_f32s(of_update, sigmoid_slope(simd, update)),
                    of_new,
                    simd.mul_f32s(of_new, reset),
                    simd.mul_f32s(of_hidden, update),
                ]
            },
        );
    }
    of_recurrent[..2 * width].copy_from_slice(&of_gates[..2 * width]);
}
