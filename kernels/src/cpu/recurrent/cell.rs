//! Kinds, sizes and operands of recurrent layers.

use pulp::Simd;

use crate::cpu::panels::{load_part, store_part};

/// The kind of a recurrent layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CellKind {
    /// Gates: input, forget, cell, output.
    Lstm,
    /// Gates: reset, update, new.
    Gru,
}

/// Sizes of a recurrent layer and its sequences.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecurrentShape {
    pub(crate) kind: CellKind,
    pub(crate) sequences: usize,
    pub(crate) steps: usize,
    pub(crate) inputs: usize,
    pub(crate) hidden: usize,
    pub(crate) has_bias: bool,
}

impl RecurrentShape {
    /// Rows of both weight matrices.
    pub(crate) fn gates(&self) -> usize {
        match self.kind {
            CellKind::Lstm => 4 * self.hidden,
            CellKind::Gru => 3 * self.hidden,
        }
    }

    /// Steps of all sequences.
    pub(super) fn rows(&self) -> usize {
        self.sequences * self.steps
    }

    /// Elements of the output.
    pub(crate) fn output_len(&self) -> usize {
        let last = if self.kind == CellKind::Lstm { 1 } else { 0 };
        self.sequences * (self.steps + last) * self.hidden
    }

    /// Multiplications of a sequence.
    pub(super) fn cost(&self) -> usize {
        self.steps * self.gates() * (self.inputs + self.hidden)
    }
}

/// The operands by name. Those that a layer lacks are empty.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    pub(super) x: &'a [f32],
    pub(super) weight_ih: &'a [f32],
    pub(super) weight_hh: &'a [f32],
    pub(super) bias_ih: &'a [f32],
    pub(super) bias_hh: &'a [f32],
    pub(super) hidden: &'a [f32],
    pub(super) cell: &'a [f32],
}

impl<'a> Operands<'a> {
    pub(super) fn of(shape: RecurrentShape, inputs: &[&'a [f32]]) -> Self {
        let at = |index: usize| inputs.get(index).copied().unwrap_or_default();
        let state = if shape.has_bias { 5 } else { 3 };
        let bias = |index| if shape.has_bias { at(index) } else { &[][..] };
        Self {
            x: at(0),
            weight_ih: at(1),
            weight_hh: at(2),
            bias_ih: bias(3),
            bias_hh: bias(4),
            hidden: at(state),
            cell: at(state + 1),
        }
    }
}

/// Returns the derivative of the logistic function, given its result.
#[inline(always)]
pub(super) fn sigmoid_slope<S: Simd>(simd: S, y: S::f32s) -> S::f32s {
    simd.mul_f32s(y, simd.sub_f32s(simd.splat_f32s(1.0), y))
}

/// Calls `f` with the vectors of `N` slices at the same place, and stores its `M` results at that place.
#[inline(always)]
pub(super) fn map_vectors<S: Simd, const N: usize, const M: usize>(
    simd: S,
    inputs: [&[f32]; N],
    mut outputs: [&mut [f32]; M],
    f: impl Fn([S::f32s; N]) -> [S::f32s; M],
) {
    let len = outputs.first().map_or(0, |output| output.len());
    for start in (0..len).step_by(S::F32_LANES) {
        let end = len.min(start + S::F32_LANES);
        let mut vectors = [simd.splat_f32s(0.0); N];
        for (vector, input) in vectors.iter_mut().zip(inputs) {
            [*vector] = load_part::<S, 1>(simd, &input[start..end]);
        }
        let results = f(vectors);
        for (output, result) in outputs.iter_mut().zip(results) {
            store_part(simd, [result], &mut output[start..end]);
        }
    }
}
