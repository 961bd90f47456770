//! Recurrent layers: LSTM and GRU.

mod cell;
mod layer;

use burn::module::{Module, ModuleMapper, ModuleVisitor};
use burn::prelude::*;
use rekindle_core::{Batch, Column, CoreError};
use rekindle_env::{Buffer, Space};
use rekindle_kernels::HostPass;
use rekindle_onnx::{Graph, Value};
use serde::{Deserialize, Serialize};

use crate::builder::ModelBuilder;
use crate::error::Result;
use crate::initializer::Initializer;
use layer::Layer;

/// The key of the hidden state `h` in a state.
const HIDDEN: &str = Recurrent::HIDDEN;
/// The key of the cell state `c` in the state of an LSTM.
const CELL: &str = Recurrent::CELL;

/// Kind of recurrent layer; RLlib's `recurrent_layer_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecurrentLayerType {
    /// Long short-term memory (Hochreiter and Schmidhuber, 1997), as PyTorch computes it.
    #[default]
    Lstm,
    /// Gated recurrent unit (Cho et al., 2014), as PyTorch computes it.
    Gru,
}

impl RecurrentLayerType {
    fn gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }

    fn state_keys(self) -> &'static [&'static str] {
        match self {
            Self::Lstm => &[CELL, HIDDEN],
            Self::Gru => &[HIDDEN],
        }
    }
}

/// Settings of a [`Recurrent`].
#[derive(Debug, Clone, PartialEq)]
pub struct RecurrentConfig {
    /// Number of input features.
    pub input_dim: usize,
    /// LSTM or GRU.
    pub layer_type: RecurrentLayerType,
    /// Number of output features, and the size of the state of each layer.
    pub hidden_dim: usize,
    /// Number of stacked layers.
    pub num_layers: usize,
    /// Whether the gates have biases.
    pub use_bias: bool,
    /// Initial weights of the gates. [`Initializer::TorchDefault`] is uniform in ±1/√hidden_dim.
    pub weights: Initializer,
    /// Initial biases of the gates. [`Initializer::TorchDefault`] is uniform in ±1/√hidden_dim.
    pub bias: Initializer,
}

impl RecurrentConfig {
    /// Creates a configuration of one LSTM layer with biases, initialized as PyTorch does.
    #[must_use]
    pub fn new(input_dim: usize, hidden_dim: usize) -> Self {
        Self {
            input_dim,
            layer_type: RecurrentLayerType::Lstm,
            hidden_dim,
            num_layers: 1,
            use_bias: true,
            weights: Initializer::TorchDefault,
            bias: Initializer::TorchDefault,
        }
    }

    /// Builds the layers, with parameters drawn from the builder's stream.
    #[must_use]
    pub fn build(&self, builder: &ModelBuilder) -> Recurrent {
        let layer = |index| {
            let input_dim = if index == 0 { self.input_dim } else { self.hidden_dim };
            Layer::new(&Self { input_dim, ..self.clone() }, builder)
        };
        Recurrent {
            layer_type: self.layer_type,
            hidden_dim: self.hidden_dim,
            layers: (0..self.num_layers).map(layer).collect(),
        }
    }
}

/// Stacked layers of an LSTM or GRU over sequences.
///
/// Parameters have PyTorch's names and layout: `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`,
/// `bias_hh_l0` for the first layer.
#[derive(Debug, Clone)]
pub struct Recurrent {
    layer_type: RecurrentLayerType,
    hidden_dim: usize,
    layers: Vec<Layer>,
}

impl Recurrent {
    /// The key of the hidden state in a state.
    pub const HIDDEN: &str = "h";
    /// The key of the cell state in the state of an LSTM.
    pub const CELL: &str = "c";

    /// Returns the number of output features.
    #[must_use]
    pub fn output_dim(&self) -> usize {
        self.hidden_dim
    }

    /// Returns the state before the first step of an episode: one row of zeros.
    ///
    /// # Shapes
    /// `{"h": [1, num_layers, hidden_dim]}`. An LSTM also has `"c"` of the same shape.
    ///
    /// # Errors
    /// [`CatalogError::Env`](crate::CatalogError::Env) if a dimension is zero.
    pub fn initial_state(&self) -> Result<Buffer> {
        let part = || Space::unbounded(&[self.layers.len(), self.hidden_dim]);
        let keys = self.layer_type.state_keys().iter();
        let parts = keys.map(|&key| Ok((key, part()?)));
        Ok(Buffer::zeros(&Space::dict(parts.collect::<Result<Vec<_>>>()?)?, 1))
    }

    /// Runs every sequence from its state. Returns the features of each step, and the state after
    /// the last step of each sequence. Without steps, the state does not change.
    ///
    /// # Shapes
    /// - `x`: `[S·T, input_dim]`, one sequence of `T` steps after the other
    /// - `state`, and the returned state: nested tensors `[S, num_layers, hidden_dim]` with the keys
    ///   of [`initial_state`](Self::initial_state)
    /// - returned features: `[S·T, hidden_dim]`
    ///
    /// # Errors
    /// A [`CoreError`] if the state lacks a part, or if the number of rows is not a multiple of `S`.
    pub fn forward(&self, x: Tensor<2>, state: &Column) -> Result<(Tensor<2>, Column)> {
        let Column::Nested(state) = state else {
            let expected = "a nested batch of recurrent states".into();
            return Err(CoreError::TensorKind { expected, found: state.describe() }.into());
        };
        let hidden = self.state_part(state, HIDDEN)?;
        let cell = match self.layer_type {
            RecurrentLayerType::Lstm => Some(self.state_part(state, CELL)?),
            RecurrentLayerType::Gru => None,
        };
        let [rows, features] = x.dims();
        if rows == 0 {
            let features = Tensor::zeros([0, self.hidden_dim], &x.device());
            return Ok((features, Column::Nested(state.clone())));
        }
        let sequences = hidden.dims()[0];
        if sequences == 0 || !rows.is_multiple_of(sequences) {
            return Err(CoreError::TensorKind {
                expected: format!("rows in {sequences} sequences of equal length"),
                found: format!("{rows} rows"),
            }
            .into());
        }
        let mut x = x.reshape([sequences, rows / sequences, features]);
        let (mut last_hidden, mut last_cell) = (Vec::new(), Vec::new());
        let is_alone = self.layers.len() == 1;
        let layer_state = |state: &Tensor<3>, layer| match is_alone {
            true => state.clone().reshape([sequences, self.hidden_dim]),
            false => state.clone().narrow(1, layer, 1).squeeze_dim(1),
        };
        for (index, layer) in self.layers.iter().enumerate() {
            let cell = cell.as_ref().map(|cell| layer_state(cell, index));
            let (out, hidden, cell) = layer.forward(x, layer_state(&hidden, index), cell);
            x = out;
            last_hidden.push(hidden);
            last_cell.extend(cell);
        }
        let of_layers = |mut states: Vec<Tensor<2>>| match (is_alone, states.pop()) {
            (true, Some(state)) => state.reshape([sequences, 1, self.hidden_dim]),
            (_, last) => Tensor::stack::<3>(states.into_iter().chain(last).collect(), 1),
        };
        let mut state = Batch::new().with(HIDDEN, of_layers(last_hidden));
        if !last_cell.is_empty() {
            state.insert(CELL, of_layers(last_cell));
        }
        Ok((x.reshape([rows, self.hidden_dim]), Column::Nested(state)))
    }

    /// Returns one step of the layers as a pass over slices in host memory, if there is one layer.
    pub(crate) fn host_pass(&self) -> Option<HostPass> {
        match &self.layers[..] {
            [layer] => {
                HostPass::recurrent(layer.fused()?, self.layer_type == RecurrentLayerType::Lstm)
            }
            _ => None,
        }
    }

    /// Adds one step of each row to an ONNX graph, with the states as inputs and outputs: `state_in.h`, and
    /// `state_in.c` for an LSTM.
    ///
    /// # Shapes
    /// `x`: `[B, input_dim]`; states: `[B, num_layers, hidden_dim]`; result `[B, hidden_dim]`.
    ///
    /// # Errors
    /// If a parameter cannot be read from its device, or the graph has such a state already.
    pub fn export_onnx(&self, graph: &mut Graph, x: &Value) -> Result<Value> {
        let dims = [self.layers.len(), self.hidden_dim];
        let keys = self.layer_type.state_keys();
        let before = keys.iter().map(|key| Ok((*key, graph.state_in(key, &dims)?)));
        let before = before.collect::<Result<Vec<_>>>()?;
        let mut after: Vec<Vec<Value>> = vec![Vec::new(); keys.len()];
        let mut x = x.clone();
        for (index, layer) in self.layers.iter().enumerate() {
            let states: Vec<_> = before
                .iter()
                .map(|(_, state)| {
                    let state = graph.slice(state, index..index + 1);
                    graph.squeeze(&state)
                })
                .collect();
            let states = layer.export_onnx(graph, &x, &states)?;
            // The hidden state is the last of them, by the order of the keys.
            x = states.last().unwrap_or(&x).clone();
            for (after, state) in after.iter_mut().zip(&states) {
                after.push(graph.reshape(state, &[-1, 1, self.hidden_dim as i64]));
            }
        }
        for (key, states) in keys.iter().zip(after) {
            let state = graph.concat(&states);
            graph.state_out(key, &state, &dims)?;
        }
        Ok(x)
    }

    fn state_part(&self, state: &Batch, key: &str) -> Result<Tensor<3>> {
        let part = state.float::<3>(key)?;
        let [_, layers, hidden] = part.dims();
        if [layers, hidden] == [self.layers.len(), self.hidden_dim] {
            return Ok(part);
        }
        Err(CoreError::ColumnKind {
            column: format!("state `{key}`"),
            expected: format!(
                "a float tensor of shape [_, {}, {}]",
                self.layers.len(),
                self.hidden_dim
            ),
            found: format!("a float tensor of shape {:?}", part.dims()),
        }
        .into())
    }

    fn each(self, f: impl Fn(Layer) -> Layer) -> Self {
        Self { layers: self.layers.into_iter().map(f).collect(), ..self }
    }
}

// Burn would derive names such as `layers.0.weight_ih`. These parameters have PyTorch's names.
impl Module for Recurrent {
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.layers.iter().fold(devices, |devices, layer| layer.collect_devices(devices))
    }
    fn fork(self, device: &Device) -> Self {
        self.each(|layer| layer.fork(device))
    }
    fn to_device(self, device: &Device) -> Self {
        self.each(|layer| layer.to_device(device))
    }
    fn train(self) -> Self {
        self.each(Layer::train)
    }
    fn valid(&self) -> Self {
        self.clone().each(|layer| layer.valid())
    }
    fn materialize(self) -> Self {
        self.each(Layer::materialize)
    }
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        for (index, layer) in self.layers.iter().enumerate() {
            layer.visit_named(index, visitor);
        }
    }
    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let layers = self.layers.into_iter().enumerate();
        Self {
            layers: layers.map(|(index, layer)| layer.map_named(index, mapper)).collect(),
            ..self
        }
    }
}

// `#[derive(Module)]` requires a display from each field.
impl burn::module::ModuleDisplayDefault for Recurrent {
    fn content(&self, content: burn::module::Content) -> Option<burn::module::Content> {
        let content = content.set_top_level_type("Recurrent");
        Some(content.add_formatted(&format!(
            "{:?}, {} layers of {}",
            self.layer_type,
            self.layers.len(),
            self.hidden_dim
        )))
    }
}

impl burn::module::ModuleDisplay for Recurrent {}

#[cfg(test)]
mod tests;
