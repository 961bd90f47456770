//! Recurrent layers: LSTM and GRU.

use std::array;

use burn::prelude::*;

use crate::cpu::{CellKind, RecurrentOp, RecurrentShape, pack_gates};
use crate::eager::is_eager;
use crate::host_op::apply;
#[cfg(feature = "flex")]
use crate::host_op::elements;
use crate::packed::packed;
use rekindle_core::AnyTensor;

/// Minimum width of a fused layer. Operations on narrower layers do not fill vectors.
pub(crate) const LEAST_HIDDEN: usize = 8;

/// The weights of a recurrent layer, in PyTorch's layout: gates are stacked as input, forget, cell, output in an
/// LSTM, and as reset, update, new in a GRU.
#[derive(Debug, Clone)]
pub struct RecurrentLayer {
    weight_ih: AnyTensor,
    weight_hh: AnyTensor,
    biases: Option<[AnyTensor; 2]>,
    /// `[gates · hidden, inputs]`.
    dims: [usize; 2],
    hidden: usize,
}

impl RecurrentLayer {
    /// Creates a layer. Returns `None` if the sizes of the weights differ.
    ///
    /// # Shapes
    /// `weight_ih`: `[gates · hidden, inputs]`; `weight_hh`: `[gates · hidden, hidden]`; `biases`, of inputs and state:
    /// `[gates · hidden]`.
    #[must_use]
    pub fn new(
        weight_ih: Tensor<2>,
        weight_hh: Tensor<2>,
        biases: Option<[Tensor<1>; 2]>,
    ) -> Option<Self> {
        let (dims, [gates, hidden]) = (weight_ih.dims(), weight_hh.dims());
        let biases_fit = biases.iter().flatten().all(|bias| bias.dims() == [gates]);
        let (weight_ih, weight_hh) = (weight_ih.into(), weight_hh.into());
        let biases = biases.map(|biases| biases.map(AnyTensor::from));
        (dims[0] == gates && biases_fit).then_some(Self {
            weight_ih,
            weight_hh,
            biases,
            dims,
            hidden,
        })
    }

    /// Returns the sizes of one step of each sequence.
    #[cfg(feature = "flex")]
    pub(crate) fn step_shape(&self, kind: CellKind, sequences: usize) -> RecurrentShape {
        let (inputs, hidden, has_bias) = (self.dims[1], self.hidden, self.biases.is_some());
        RecurrentShape { kind, sequences, steps: 1, inputs, hidden, has_bias }
    }

    /// Whether the weights have these sizes.
    #[cfg(feature = "flex")]
    pub(crate) fn fits(&self, shape: &RecurrentShape) -> bool {
        self.dims == [shape.gates(), shape.inputs]
    }

    #[cfg(feature = "flex")]
    pub(crate) fn hidden(&self) -> usize {
        self.hidden
    }

    /// Returns the weights of inputs and state.
    #[cfg(feature = "flex")]
    pub(crate) fn weights(&self) -> [&AnyTensor; 2] {
        [&self.weight_ih, &self.weight_hh]
    }

    /// Returns the biases, empty in a layer without biases; `None` if they are not in host memory, or track gradients.
    #[cfg(feature = "flex")]
    pub(crate) fn bias_elements(&self) -> Option<[&[f32]; 2]> {
        let Some([of_inputs, of_state]) = &self.biases else { return Some([&[]; 2]) };
        Some([elements(of_inputs)?, elements(of_state)?])
    }

    /// Runs sequences through the layer, on the CPU. An LSTM starts from a hidden and a cell state, a GRU from a hidden
    /// state alone. Returns the hidden state after each step, and the states after the last step.
    ///
    /// Returns `None` on other devices, in an [`eager`](crate::eager) scope, for layers of fewer than 8 units, and for
    /// operands that do not fit together.
    ///
    /// # Shapes
    /// `x`: `[S, T, inputs]`; states: `[S, hidden]`; result: `[S, T, hidden]`.
    #[must_use]
    pub fn forward(
        &self,
        x: &Tensor<3>,
        hidden: &Tensor<2>,
        cell: Option<&Tensor<2>>,
    ) -> Option<(Tensor<3>, Tensor<2>, Option<Tensor<2>>)> {
        let [sequences, steps, inputs] = x.dims();
        let kind = if cell.is_some() { CellKind::Lstm } else { CellKind::Gru };
        let has_bias = self.biases.is_some();
        let shape =
            RecurrentShape { kind, sequences, steps, inputs, hidden: self.hidden, has_bias };
        let states = [sequences, self.hidden];
        let fits = self.dims == [shape.gates(), inputs]
            && hidden.dims() == states
            && cell.is_none_or(|cell| cell.dims() == states);
        let is_empty = sequences * steps * inputs == 0;
        if !fits || self.hidden < LEAST_HIDDEN || is_empty || is_eager() {
            return None;
        }
        let packed = [&self.weight_ih, &self.weight_hh]
            .map(|weight| packed(weight, |weight| pack_gates(shape, weight)));
        let op = RecurrentOp { shape, packed };
        let x = AnyTensor::from(x.clone());
        let state = [Some(hidden), cell].map(|state| state.cloned().map(AnyTensor::from));
        let operands: Vec<&AnyTensor> = [&x, &self.weight_ih, &self.weight_hh]
            .into_iter()
            .chain(self.biases.iter().flatten())
            .chain(state.iter().flatten())
            .collect();
        let flat = match operands.len() {
            4 => run::<4>(op, &operands),
            5 => run::<5>(op, &operands),
            6 => run::<6>(op, &operands),
            _ => run::<7>(op, &operands),
        }?;
        let rows = sequences * steps * self.hidden;
        let (outputs, cell) = match kind {
            CellKind::Gru => (flat, None),
            CellKind::Lstm => {
                let cell = flat.clone().narrow(0, rows, sequences * self.hidden);
                (flat.narrow(0, 0, rows), Some(cell.reshape(states)))
            }
        };
        let outputs = outputs.reshape([sequences, steps, self.hidden]);
        let last = match steps {
            1 => outputs.clone().reshape(states),
            _ => outputs.clone().narrow(1, steps - 1, 1).reshape(states),
        };
        Some((outputs, last, cell))
    }
}

fn run<const N: usize>(op: RecurrentOp, operands: &[&AnyTensor]) -> Option<Tensor<1>> {
    let operands: [&AnyTensor; N] = array::from_fn(|index| operands[index]);
    let len = op.shape.output_len();
    apply::<_, N, 1>(op, operands, [len]).map(|(y, _)| y)
}

#[cfg(test)]
mod tests;
