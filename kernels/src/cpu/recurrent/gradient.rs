//! The backward pass.

use pulp::{Simd, WithSimd};

use super::cell::{CellKind, Operands, RecurrentShape};
use super::forward::{GRAIN, sequences_per_task};
use super::{Saved, gru, lstm};
use crate::cpu::arch::arch;
use crate::cpu::matmul::{Rows, Start};
use crate::cpu::panels::{Columns, in_panels, panels, product, transposed_product};
use crate::cpu::scratch::{Scratch, result};
use crate::cpu::vector_math;
use crate::host_op::Pass;

/// Returns the gradients of the operands that need one, in their order.
pub(super) fn backward<const N: usize>(
    shape: RecurrentShape,
    operands: &Operands<'_>,
    pass: &Pass<'_, Saved, N>,
) -> Vec<Option<Vec<f32>>> {
    let RecurrentShape { sequences, steps, inputs, hidden, .. } = shape;
    let (gates, rows) = (shape.gates(), sequences * steps);
    let needs = |index: usize| pass.needs.get(index).copied().unwrap_or_default();
    let state = if shape.has_bias { 5 } else { 3 };
    let is_gru = shape.kind == CellKind::Gru;

    let input_panels =
        if needs(0) { in_panels(operands.weight_ih, inputs) } else { Scratch::default() };
    let state_panels = in_panels(operands.weight_hh, hidden);
    let mut of_gates = Scratch::new(rows * gates);
    let mut of_recurrent = Scratch::new(if is_gru { rows * gates } else { 0 });
    let mut of_x = result(if needs(0) { operands.x.len() } else { 0 });
    let mut of_hidden = vec![0.0; sequences * hidden];
    let mut of_cell = vec![0.0; if is_gru { 0 } else { sequences * hidden }];

    let step = sequences_per_task(shape);
    let (outputs, gradient) = (&pass.output[..rows * hidden], pass.gradient);
    let (gradient, of_last_cell) = gradient.split_at(rows * hidden);
    of_cell.copy_from_slice(of_last_cell);
    let mut cell = operands.cell.chunks(step * hidden);
    let mut of_cells = of_cell.chunks_mut(step * hidden);
    let mut of_xs = of_x.chunks_mut(step * steps * inputs);
    let mut of_recurrents = of_recurrent.chunks_mut(step * steps * gates);
    let saved = pass.saved;
    let given = gradient.chunks(step * steps * hidden).zip(operands.hidden.chunks(step * hidden));
    let kept = saved
        .gates
        .chunks(step * steps * gates)
        .zip(saved.cells.chunks(step * steps * hidden))
        .zip(outputs.chunks(step * steps * hidden));
    let results =
        of_gates.chunks_mut(step * steps * gates).zip(of_hidden.chunks_mut(step * hidden));
    let task =
        |((of_gates, of_hidden), ((gradient, state), ((gates, cells), outputs)))| Sequences {
            shape,
            state,
            cell: cell.next().unwrap_or_default(),
            gates,
            cells,
            outputs,
            gradient,
            input_panels: &input_panels,
            state_panels: &state_panels,
            of_gates,
            of_recurrent: of_recurrents.next().unwrap_or_default(),
            of_x: of_xs.next().unwrap_or_default(),
            of_hidden,
            of_cell: of_cells.next().unwrap_or_default(),
        };
    let tasks: Vec<_> = results.zip(given.zip(kept)).map(task).collect();
    let arch = arch();
    rekindle_parallel::for_each(tasks, |task: Sequences<'_>| arch.dispatch(task));

    let of_state = if is_gru { &of_recurrent } else { &of_gates };
    let weight_ih = needs(1).then(|| of_weights(&of_gates, gates, operands.x, inputs));
    let weight_hh = needs(2).then(|| {
        let before = states_before(shape, operands.hidden, outputs);
        of_weights(of_state, gates, &before, hidden)
    });
    let mut found = vec![needs(0).then_some(of_x), weight_ih, weight_hh];
    if shape.has_bias {
        let of_inputs = (needs(3) || (needs(4) && !is_gru)).then(|| column_sums(&of_gates, gates));
        // The biases of an LSTM have the same gradient.
        let of_state = match is_gru {
            true => needs(4).then(|| column_sums(of_state, gates)),
            false => of_inputs.clone().filter(|_| needs(4)),
        };
        found.push(of_inputs.filter(|_| needs(3)));
        found.push(of_state);
    }
    found.push(needs(state).then_some(of_hidden));
    if !is_gru {
        found.push(needs(state + 1).then_some(of_cell));
    }
    found
}

/// Returns the hidden state before each step, `[sequences, steps, hidden]`.
fn states_before(shape: RecurrentShape, first: &[f32], outputs: &[f32]) -> Scratch {
    let (steps, hidden) = (shape.steps, shape.hidden);
    let mut before = Scratch::new(outputs.len());
    let sequences = before.chunks_exact_mut(steps * hidden).zip(first.chunks_exact(hidden));
    for ((before, first), outputs) in sequences.zip(outputs.chunks_exact(steps * hidden)) {
        before[..hidden].copy_from_slice(first);
        before[hidden..].copy_from_slice(&outputs[..(steps - 1) * hidden]);
    }
    before
}

/// Computes `of_gatesᵀ · right`, `[gates, columns]`.
fn of_weights(of_gates: &[f32], gates: usize, right: &[f32], columns: usize) -> Vec<f32> {
    let right = in_panels(right, columns);
    let mut weights = result(gates * columns);
    let rows = of_gates.len() / gates;
    let share = rekindle_parallel::share(gates, GRAIN.div_ceil((rows * columns).max(1)));
    let tasks: Vec<_> = weights
        .chunks_mut(share * columns)
        .zip((0..gates).step_by(share))
        .map(|(out, first)| Weights { of_gates, gates, first, right: &right, columns, out })
        .collect();
    let arch = arch();
    rekindle_parallel::for_each(tasks, |task| arch.dispatch(task));
    weights
}

/// The gradients of some rows of a weight matrix.
struct Weights<'a> {
    of_gates: &'a [f32],
    gates: usize,
    first: usize,
    right: &'a [f32],
    columns: usize,
    out: &'a mut [f32],
}

impl WithSimd for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let range = self.first..self.first + self.out.len() / self.columns;
        let right = (self.right, self.columns);
        transposed_product(simd, self.of_gates, self.gates, range, right, self.out);
    }
}

fn column_sums(rows: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0; columns];
    let share = rekindle_parallel::share(columns, SUMS.div_ceil((rows.len() / columns).max(1)));
    let tasks = sums.chunks_mut(share).enumerate();
    let tasks = tasks.map(|(part, sums)| ColumnSums { rows, columns, first: part * share, sums });
    let arch = arch();
    rekindle_parallel::for_each(tasks, |task| arch.dispatch(task));
    sums
}

/// Minimum number of additions that justifies another thread.
const SUMS: usize = 1 << 16;

/// The sums of some columns.
struct ColumnSums<'a> {
    rows: &'a [f32],
    columns: usize,
    first: usize,
    sums: &'a mut [f32],
}

impl WithSimd for ColumnSums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for row in self.rows.chunks_exact(self.columns) {
            vector_math::zip(
                simd,
                self.sums,
                &row[self.first..self.first + self.sums.len()],
                #[inline(always)]
                |a, b| simd.add_f32s(a, b),
            );
        }
    }
}

/// The backward pass of some sequences through time.
struct Sequences<'a> {
    shape: RecurrentShape,
    /// Hidden and cell state before the first step.
    state: &'a [f32],
    cell: &'a [f32],
    gates: &'a [f32],
    cells: &'a [f32],
    outputs: &'a [f32],
    /// The gradient of the outputs.
    gradient: &'a [f32],
    /// Empty if the rows need no gradient.
    input_panels: &'a [f32],
    state_panels: &'a [f32],
    of_gates: &'a mut [f32],
    /// Empty for an LSTM, whose gates are sums of the contributions of inputs and state.
    of_recurrent: &'a mut [f32],
    of_x: &'a mut [f32],
    /// After the pass, the gradient of the hidden state before the first step.
    of_hidden: &'a mut [f32],
    /// The gradient of the last cell state. After the pass, the gradient of the cell state before the first step.
    of_cell: &'a mut [f32],
}

impl WithSimd for Sequences<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let RecurrentShape { steps, inputs, hidden, .. } = self.shape;
        let gates = self.shape.gates();
        let sequences = self.state.len() / hidden;
        self.of_hidden.fill(0.0);
        for step in (0..steps).rev() {
            for sequence in 0..sequences {
                self.cell_step(simd, step, sequence);
            }
            let is_gru = self.shape.kind == CellKind::Gru;
            let of_gates = if is_gru { &*self.of_recurrent } else { &*self.of_gates };
            let data = &of_gates[step * gates..];
            let left = Rows { data, stride: steps * gates, len: gates };
            // The direct gradient of a GRU's state is already in place.
            let start = if is_gru { Start::Result } else { Start::Zero };
            for (first, width) in panels(hidden) {
                let panel = &self.state_panels[first * gates..][..width * gates];
                let columns = Columns { stride: hidden, len: width.min(hidden - first) };
                let out = &mut self.of_hidden[first..];
                product(simd, left, [sequences, width], panel, start, columns, out);
            }
        }
        if self.input_panels.is_empty() {
            return;
        }
        let left = Rows::new(self.of_gates, gates);
        for (first, width) in panels(inputs) {
            let panel = &self.input_panels[first * gates..][..width * gates];
            let columns = Columns { stride: inputs, len: width.min(inputs - first) };
            let out = &mut self.of_x[first..];
            product(simd, left, [sequences * steps, width], panel, Start::Zero, columns, out);
        }
    }
}

impl Sequences<'_> {
    /// Computes the gradients of the gates of a step of one sequence.
    #[inline(always)]
    fn cell_step<S: Simd>(&mut self, simd: S, step: usize, sequence: usize) {
        let RecurrentShape { steps, hidden, .. } = self.shape;
        let gates_len = self.shape.gates();
        let row = sequence * steps + step;
        let of_hidden = &mut self.of_hidden[sequence * hidden..][..hidden];
        vector_math::zip(
            simd,
            of_hidden,
            &self.gradient[row * hidden..][..hidden],
            #[inline(always)]
            |a, b| simd.add_f32s(a, b),
        );
        let gates = &self.gates[row * gates_len..][..gates_len];
        let cell = &self.cells[row * hidden..][..hidden];
        let of_gates = &mut self.of_gates[row * gates_len..][..gates_len];
        match self.shape.kind {
            CellKind::Lstm => {
                let before = match step {
                    0 => &self.cell[sequence * hidden..][..hidden],
                    _ => &self.cells[(row - 1) * hidden..][..hidden],
                };
                let of_cell = &mut self.of_cell[sequence * hidden..][..hidden];
                lstm::backward(simd, gates, [before, cell], of_hidden, of_cell, of_gates);
            }
            CellKind::Gru => {
                let before = match step {
                    0 => &self.state[sequence * hidden..][..hidden],
                    _ => &self.outputs[(row - 1) * hidden..][..hidden],
                };
                let of_recurrent = &mut self.of_recurrent[row * gates_len..][..gates_len];
                gru::backward(simd, gates, [before, cell], of_hidden, of_gates, of_recurrent);
            }
        }
    }
}
