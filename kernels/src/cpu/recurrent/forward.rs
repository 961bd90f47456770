//! The forward pass.

use std::sync::Arc;

use pulp::{Simd, WithSimd};

use super::cell::{CellKind, Operands, RecurrentShape};
use super::{Saved, gru, lstm, pack};
use crate::cpu::arch::arch;
use crate::cpu::matmul::{Rows, Start};
use crate::cpu::panels::{Columns, panels, product};
use crate::cpu::scratch::{Scratch, result};

/// Minimum number of multiplications that justifies another thread (some five microseconds).
pub(super) const GRAIN: usize = 1 << 18;

/// Returns the sequences of a task. The result of a sequence does not depend on the task it is in.
pub(super) fn sequences_per_task(shape: RecurrentShape) -> usize {
    let most = (shape.sequences * shape.cost() / GRAIN).clamp(1, rekindle_parallel::num_threads());
    shape.sequences.div_ceil(most).max(1)
}

pub(super) fn forward(
    shape: RecurrentShape,
    operands: &Operands<'_>,
    packed: &[Option<Arc<Scratch>>; 2],
) -> (Vec<f32>, Saved) {
    let [input_panels, state_panels] = [0, 1].map(|index| match &packed[index] {
        Some(packed) => packed.clone(),
        None => Arc::new(pack(shape, [operands.weight_ih, operands.weight_hh][index])),
    });
    let mut output = result(shape.output_len());
    let (outputs, last_cells) = output.split_at_mut(shape.rows() * shape.hidden);
    let results = [outputs, last_cells];
    let saved = forward_into(shape, operands, [&input_panels, &state_panels], results);
    (output, saved)
}

/// As [`forward`], with the weights in panels. `outputs` are the hidden state after each step
/// (`[sequences, steps, hidden]`), and `last_cells` the last cell state of an LSTM.
pub(super) fn forward_into(
    shape: RecurrentShape,
    operands: &Operands<'_>,
    [input_panels, state_panels]: [&[f32]; 2],
    [outputs, last_cells]: [&mut [f32]; 2],
) -> Saved {
    let RecurrentShape { steps, inputs, hidden, .. } = shape;
    let gates_len = shape.gates();
    // An LSTM adds both biases, so their sum is enough. In a GRU, the reset gate multiplies the bias of the state.
    let biases = operands.bias_ih.iter().zip(operands.bias_hh);
    let bias = match shape.kind {
        CellKind::Lstm => Scratch::collect(operands.bias_ih.len(), biases.map(|(a, b)| a + b)),
        CellKind::Gru => Scratch::default(),
    };
    let bias = if shape.kind == CellKind::Lstm { &bias[..] } else { operands.bias_ih };

    let step = sequences_per_task(shape);
    let mut gates = Scratch::new(shape.rows() * gates_len);
    let mut cells = Scratch::new(shape.rows() * hidden);
    let mut last_cells = last_cells.chunks_mut(step * hidden);
    let mut cell = operands.cell.chunks(step * hidden);
    let parts = operands.x.chunks(step * steps * inputs).zip(operands.hidden.chunks(step * hidden));
    let results = gates
        .chunks_mut(step * steps * gates_len)
        .zip(cells.chunks_mut(step * steps * hidden))
        .zip(outputs.chunks_mut(step * steps * hidden));
    let task = |((x, state), ((gates, cells), outputs))| Sequences {
        shape,
        x,
        state,
        cell: cell.next().unwrap_or_default(),
        input_panels,
        state_panels,
        bias,
        state_bias: operands.bias_hh,
        gates,
        cells,
        outputs,
        last_cells: last_cells.next().unwrap_or_default(),
    };
    let tasks = parts.zip(results).map(task);
    let arch = arch();
    rekindle_parallel::for_each(tasks, |task| arch.dispatch(task));
    Saved { gates, cells }
}

/// The forward pass of some sequences.
struct Sequences<'a> {
    shape: RecurrentShape,
    x: &'a [f32],
    /// Hidden and cell state before the first step.
    state: &'a [f32],
    cell: &'a [f32],
    input_panels: &'a [f32],
    state_panels: &'a [f32],
    /// The bias of the inputs' contributions to the gates, or empty.
    bias: &'a [f32],
    /// The bias of the contributions of a GRU's state, or empty.
    state_bias: &'a [f32],
    gates: &'a mut [f32],
    cells: &'a mut [f32],
    outputs: &'a mut [f32],
    last_cells: &'a mut [f32],
}

/// Starts sums with a part of a bias, or with zeros if there is no bias.
fn start(bias: &[f32], columns: std::ops::Range<usize>) -> Start<'_> {
    if bias.is_empty() { Start::Zero } else { Start::Row(&bias[columns]) }
}

impl WithSimd for Sequences<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let RecurrentShape { steps, inputs, hidden, .. } = self.shape;
        let gates = self.shape.gates();
        let rows = self.x.len() / inputs;
        let left = Rows::new(self.x, inputs);
        for (first, width) in panels(gates) {
            let len = width.min(gates - first);
            let panel = &self.input_panels[first * inputs..][..width * inputs];
            let start = start(self.bias, first..first + len);
            let columns = Columns { stride: gates, len };
            product(simd, left, [rows, width], panel, start, columns, &mut self.gates[first..]);
        }
        let sequences = rows / steps;
        let mut recurrent = match self.shape.kind {
            CellKind::Lstm => Scratch::default(),
            CellKind::Gru => Scratch::new(sequences * gates),
        };
        for step in 0..steps {
            match self.shape.kind {
                CellKind::Lstm => self.lstm_step(simd, step, sequences),
                CellKind::Gru => self.gru_step(simd, step, sequences, &mut recurrent),
            }
        }
        if self.shape.kind == CellKind::Lstm {
            let cells = self.cells.chunks_exact(steps * hidden);
            for (last, cells) in self.last_cells.chunks_exact_mut(hidden).zip(cells) {
                last.copy_from_slice(&cells[(steps - 1) * hidden..]);
            }
        }
    }
}

impl Sequences<'_> {
    #[inline(always)]
    fn lstm_step<S: Simd>(&mut self, simd: S, step: usize, sequences: usize) {
        let RecurrentShape { steps, hidden, .. } = self.shape;
        let gates = self.shape.gates();
        let left = before(self.state, self.outputs, step, [steps, hidden]);
        for (first, width) in panels(gates) {
            let panel = &self.state_panels[first * hidden..][..width * hidden];
            let columns = Columns { stride: steps * gates, len: width.min(gates - first) };
            let out = &mut self.gates[step * gates + first..];
            product(simd, left, [sequences, width], panel, Start::Result, columns, out);
        }
        for sequence in 0..sequences {
            let row = sequence * steps + step;
            let (earlier, cell) = self.cells.split_at_mut(row * hidden);
            let before = match step {
                0 => &self.cell[sequence * hidden..][..hidden],
                _ => &earlier[(row - 1) * hidden..],
            };
            let hidden_state = &mut self.outputs[row * hidden..][..hidden];
            let gates = &mut self.gates[row * gates..][..gates];
            lstm::forward(simd, gates, before, &mut cell[..hidden], hidden_state);
        }
    }

    #[inline(always)]
    fn gru_step<S: Simd>(&mut self, simd: S, step: usize, sequences: usize, recurrent: &mut [f32]) {
        let RecurrentShape { steps, hidden, .. } = self.shape;
        let gates = self.shape.gates();
        let left = before(self.state, self.outputs, step, [steps, hidden]);
        for (first, width) in panels(gates) {
            let len = width.min(gates - first);
            let panel = &self.state_panels[first * hidden..][..width * hidden];
            let start = start(self.state_bias, first..first + len);
            let columns = Columns { stride: gates, len };
            product(simd, left, [sequences, width], panel, start, columns, &mut recurrent[first..]);
        }
        for sequence in 0..sequences {
            let row = sequence * steps + step;
            let (earlier, hidden_state) = self.outputs.split_at_mut(row * hidden);
            let before = match step {
                0 => &self.state[sequence * hidden..][..hidden],
                _ => &earlier[(row - 1) * hidden..],
            };
            let recurrent = &recurrent[sequence * gates..][..gates];
            let gates = &mut self.gates[row * gates..][..gates];
            gru::forward(simd, gates, recurrent, before, &mut hidden_state[..hidden]);
            self.cells[row * hidden..][..hidden].copy_from_slice(&recurrent[2 * hidden..]);
        }
    }
}

/// Returns the hidden states before a step.
fn before<'a>(
    state: &'a [f32],
    outputs: &'a [f32],
    step: usize,
    [steps, hidden]: [usize; 2],
) -> Rows<'a> {
    match step {
        0 => Rows { data: state, stride: hidden, len: hidden },
        _ => Rows { data: &outputs[(step - 1) * hidden..], stride: steps * hidden, len: hidden },
    }
}
