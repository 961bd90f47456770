//! One step of a recurrent layer.

use burn::prelude::*;
use rekindle_kernels::tanh;
use rekindle_onnx::{Graph, Value};

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

/// Adds [`lstm_cell`] to an ONNX graph. Returns the new cell and hidden state.
pub(super) fn export_lstm_cell(
    graph: &mut Graph,
    gates: &Value,
    cell: &Value,
    width: usize,
) -> [Value; 2] {
    let mut gate = |index: usize, activation: &str| {
        let gate = graph.slice(gates, index * width..(index + 1) * width);
        graph.node(activation, &[&gate], &[])
    };
    let (input, forget, output) = (gate(0, "Sigmoid"), gate(1, "Sigmoid"), gate(3, "Sigmoid"));
    let new = gate(2, "Tanh");
    let (kept, added) = (graph.mul(&forget, cell), graph.mul(&input, &new));
    let cell = graph.add(&kept, &added);
    let shown = graph.node("Tanh", &[&cell], &[]);
    let hidden = graph.mul(&output, &shown);
    [cell, hidden]
}

/// Adds [`gru_cell`] to an ONNX graph. Returns the new hidden state.
pub(super) fn export_gru_cell(
    graph: &mut Graph,
    input: &Value,
    recurrent: &Value,
    hidden: &Value,
    width: usize,
) -> Value {
    let mut gates =
        |of: &Value| [0, 1, 2].map(|index| graph.slice(of, index * width..(index + 1) * width));
    let ([reset, update, new], [reset_of, update_of, new_of]) = (gates(input), gates(recurrent));
    let mut sigmoid = |a: &Value, b: &Value| {
        let sum = graph.add(a, b);
        graph.node("Sigmoid", &[&sum], &[])
    };
    let (reset, update) = (sigmoid(&reset, &reset_of), sigmoid(&update, &update_of));
    let scaled = graph.mul(&reset, &new_of);
    let sum = graph.add(&new, &scaled);
    let new = graph.node("Tanh", &[&sum], &[]);
    let difference = graph.sub(hidden, &new);
    let kept = graph.mul(&difference, &update);
    graph.add(&kept, &new)
}
