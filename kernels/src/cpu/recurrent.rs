//! Recurrent layers over sequences: LSTM and GRU.
//!
//! One matrix product computes the contributions of the inputs to the gates of all steps, and one product per matrix
//! computes the gradients of the weights. Each thread runs its own sequences through all steps, so threads never wait
//! for one another within a sequence.

mod cell;
mod forward;
mod gradient;
mod gru;
mod lstm;

pub(crate) use cell::{CellKind, RecurrentShape};

use cell::Operands;

use std::sync::Arc;

use super::panels::transposed_in_panels;
use super::scratch::Scratch;
use crate::host_op::{HostOp, Pass};

/// A recurrent layer as one operation. The inputs are the rows (`[sequences · steps, inputs]`), the weights of inputs
/// and state (`[gates · hidden, inputs]` and `[gates · hidden, hidden]`), both biases if there are any, and the state
/// before the first step (`[sequences, hidden]`): hidden state, and cell state of an LSTM.
///
/// The output is the hidden state after each step (`[sequences, steps, hidden]`), followed by the last cell state of an
/// LSTM (`[sequences, hidden]`).
#[derive(Debug)]
pub(crate) struct RecurrentOp {
    pub(crate) shape: RecurrentShape,
    /// The weights of inputs and state in panels ([`pack`]), if they are packed already.
    pub(crate) packed: [Option<Arc<Scratch>>; 2],
}

/// Returns weights of inputs or state, `[gates · hidden, columns]`, in panels.
pub(crate) fn pack(shape: RecurrentShape, weight: &[f32]) -> Scratch {
    transposed_in_panels(weight, shape.gates())
}

/// The parameters of a layer, with its weights in panels ([`pack`]). Biases are empty in a layer without biases.
#[cfg(feature = "flex")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct PackedLayer<'a> {
    pub(crate) weights: [&'a [f32]; 2],
    pub(crate) biases: [&'a [f32]; 2],
}

/// Takes one step of each sequence without allocating. `before` and `after` are the hidden states, and the cell states
/// of an LSTM.
#[cfg(feature = "flex")]
pub(crate) fn step(
    shape: RecurrentShape,
    layer: PackedLayer<'_>,
    x: &[f32],
    before: [&[f32]; 2],
    after: [&mut [f32]; 2],
) {
    let ([bias_ih, bias_hh], [hidden, cell]) = (layer.biases, before);
    // The weights themselves are not read.
    let operands = Operands { x, weight_ih: &[], weight_hh: &[], bias_ih, bias_hh, hidden, cell };
    forward::forward_into(shape, &operands, layer.weights, after);
}

/// Data for the backward pass.
#[derive(Debug)]
pub(crate) struct Saved {
    /// The gates of each step after their activations, `[sequences, steps, gates · hidden]`.
    gates: Scratch,
    /// The cell state after each step of an LSTM, or the contribution of the state to the new gate of a GRU,
    /// `[sequences, steps, hidden]`.
    cells: Scratch,
}

impl<const N: usize> HostOp<N> for RecurrentOp {
    type Saved = Saved;

    fn forward(&self, inputs: [&[f32]; N], _tracked: bool) -> (Vec<f32>, Saved) {
        forward::forward(self.shape, &Operands::of(self.shape, &inputs), &self.packed)
    }

    fn backward(&self, pass: Pass<'_, Saved, N>) -> [Option<Vec<f32>>; N] {
        let operands = Operands::of(self.shape, &pass.inputs);
        let mut found = gradient::backward(self.shape, &operands, &pass).into_iter();
        std::array::from_fn(|_| found.next().flatten())
    }
}
