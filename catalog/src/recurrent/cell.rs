//! One step of a recurrent layer.

use burn::prelude::*;
use rekindle_kernels::tanh;

/// Computes the logistic function by the fast `tanh`: `σ(x) = (tanh(x/2) + 1) / 2`.
fn sigmoid(x: Tensor<2>) -> Tensor<2> {
    tanh(x * 0.5) * 0.5 + 0.5
}

/// Computes the new hidden and cell state of an LSTM (PyTorch's `LSTMCell`).
///
/// # Shapes
/// - `gates`: `[S, 4·hidden]`, input, forget, cell and output gate before their activations
/// - `cell`, and both results: `[S, hidden]`
pub(super) fn lstm_cell(gates: Tensor<2>, cell: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let hidden = cell.dims()[1];
    let gate = |index| gates.clone().narrow(1, index * hidden, hidden);
    let (input, forget, output) = (sigmoid(gate(0)), sigmoid(gate(1)), sigmoid(gate(3)));
    let cell = forget * cell + input * tanh(gate(2));
    (output * tanh(cell.clone()), cell)
}

/// Computes the new hidden state of a GRU (PyTorch's `GRUCell`).
///
/// # Shapes
/// - `input`, `recurrent`: `[S, 3·hidden]`, the contributions of input and state to reset, update
///   and new gate
/// - `hidden`, and the result: `[S, hidden]`
pub(super) fn gru_cell(input: Tensor<2>, recurrent: Tensor<2>, hidden: Tensor<2>) -> Tensor<2> {
    let width = hidden.dims()[1];
    let gate = |of: &Tensor<2>, index| of.clone().narrow(1, index * width, width);
    let reset = sigmoid(gate(&input, 0) + gate(&recurrent, 0));
    let update = sigmoid(gate(&input, 1) + gate(&recurrent, 1));
    let new = tanh(gate(&input, 2) + reset * gate(&recurrent, 2));
    (hidden - new.clone()) * update + new
}
