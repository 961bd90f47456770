//! One recurrent layer.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::prelude::*;
use rekindle_core::any_tensor::to_f32;
use rekindle_kernels::RecurrentLayer;
use rekindle_onnx::{Graph, Value};

use super::RecurrentConfig;
use super::cell::{export_gru_cell, export_lstm_cell, gru_cell, lstm_cell};
use crate::builder::ModelBuilder;
use crate::error::Result;
use crate::initializer::Initializer;

/// The container that visitors see around the parameters.
const CONTAINER: &str = "Struct:Recurrent";

/// The gates of one layer, stacked as in PyTorch: input, forget, cell, output for an LSTM; reset,
/// update, new for a GRU.
#[derive(Module, Debug)]
pub(super) struct Layer {
    /// `[gates · hidden_dim, input_dim]`
    weight_ih: Param<Tensor<2>>,
    /// `[gates · hidden_dim, hidden_dim]`
    weight_hh: Param<Tensor<2>>,
    /// `[gates · hidden_dim]`
    bias_ih: Option<Param<Tensor<1>>>,
    /// `[gates · hidden_dim]`
    bias_hh: Option<Param<Tensor<1>>>,
}

/// Hidden state, and cell state if the layer has one.
type LayerState = (Tensor<2>, Option<Tensor<2>>);

impl Layer {
    pub(super) fn new(config: &RecurrentConfig, builder: &ModelBuilder) -> Self {
        let (inputs, hidden) = (config.input_dim, config.hidden_dim);
        let outputs = config.layer_type.gates() * hidden;
        // PyTorch bounds all parameters of a recurrent layer by its hidden size.
        let bound = 1.0 / (hidden.max(1) as f32).sqrt();
        let resolve = |initializer| match initializer {
            Initializer::TorchDefault => Initializer::Uniform { low: -bound, high: bound },
            other => other,
        };
        let weight = |inputs| builder.matrix(outputs, inputs, &resolve(config.weights));
        let bias =
            || config.use_bias.then(|| builder.vector(hidden, outputs, &resolve(config.bias)));
        Self {
            weight_ih: weight(inputs),
            weight_hh: weight(hidden),
            bias_ih: bias(),
            bias_hh: bias(),
        }
    }

    /// Returns the weights for the fused kernel, or `None` if only one of the biases exists.
    pub(super) fn fused(&self) -> Option<RecurrentLayer> {
        let biases = match (&self.bias_ih, &self.bias_hh) {
            (Some(ih), Some(hh)) => Some([ih.val(), hh.val()]),
            (None, None) => None,
            _ => return None,
        };
        RecurrentLayer::new(self.weight_ih.val(), self.weight_hh.val(), biases)
    }

    /// # Shapes
    /// `x`: `[S, T, input_dim]`; states: `[S, hidden_dim]`; result: `[S, T, hidden_dim]`.
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        hidden: Tensor<2>,
        cell: Option<Tensor<2>>,
    ) -> (Tensor<3>, Tensor<2>, Option<Tensor<2>>) {
        if let Some(layer) = self.fused()
            && let Some(found) = layer.forward(&x, &hidden, cell.as_ref())
        {
            return found;
        }
        let [sequences, steps, features] = x.dims();
        let add = |x: Tensor<2>, bias: &Option<Param<Tensor<1>>>| match bias {
            Some(bias) => x + bias.val().unsqueeze(),
            None => x,
        };
        // The contribution of the inputs does not depend on the state: one product for all steps.
        let inputs = x.reshape([sequences * steps, features]);
        let inputs = inputs.matmul(self.weight_ih.val().transpose());
        let gates = inputs.dims()[1];
        let inputs = add(inputs, &self.bias_ih).reshape([sequences, steps, gates]);
        let weight_hh = self.weight_hh.val().transpose();
        let (mut hidden, mut cell): LayerState = (hidden, cell);
        let mut outputs = Vec::with_capacity(steps);
        for step in 0..steps {
            let input = inputs.clone().narrow(1, step, 1).squeeze_dim::<2>(1);
            let recurrent = add(hidden.clone().matmul(weight_hh.clone()), &self.bias_hh);
            match cell {
                Some(old) => {
                    let (new_hidden, new_cell) = lstm_cell(input + recurrent, old);
                    (hidden, cell) = (new_hidden, Some(new_cell));
                }
                None => hidden = gru_cell(input, recurrent, hidden),
            }
            outputs.push(hidden.clone());
        }
        (Tensor::stack(outputs, 1), hidden, cell)
    }

    /// Adds one step to an ONNX graph. States are those of an LSTM, cell then hidden, or that of a GRU.
    ///
    /// # Shapes
    /// `x`: `[B, input_dim]`; states, before and after: `[B, hidden_dim]`.
    pub(super) fn export_onnx(
        &self,
        graph: &mut Graph,
        x: &Value,
        states: &[Value],
    ) -> Result<Vec<Value>> {
        let mut product =
            |x: &Value, weight: &Param<Tensor<2>>, bias: &Option<Param<Tensor<1>>>| {
                let bias = bias.as_ref().map(|bias| to_f32(bias.val())).transpose()?;
                let data = to_f32(weight.val())?;
                Ok::<_, crate::CatalogError>(graph.linear_by_output(
                    x,
                    &data,
                    weight.dims(),
                    bias.as_deref(),
                ))
            };
        let width = self.weight_hh.dims()[1];
        match states {
            [cell, hidden] => {
                let input = product(x, &self.weight_ih, &self.bias_ih)?;
                let recurrent = product(hidden, &self.weight_hh, &self.bias_hh)?;
                let gates = graph.add(&input, &recurrent);
                Ok(export_lstm_cell(graph, &gates, cell, width).into())
            }
            [hidden] => {
                let input = product(x, &self.weight_ih, &self.bias_ih)?;
                let recurrent = product(hidden, &self.weight_hh, &self.bias_hh)?;
                Ok(vec![export_gru_cell(graph, &input, &recurrent, hidden, width)])
            }
            _ => Ok(Vec::new()),
        }
    }

    pub(super) fn visit_named<V: ModuleVisitor>(&self, index: usize, visitor: &mut V) {
        for (name, param) in [("weight_ih", &self.weight_ih), ("weight_hh", &self.weight_hh)] {
            visitor.enter_module(&format!("{name}_l{index}"), CONTAINER);
            param.visit(visitor);
            visitor.exit_module(name, CONTAINER);
        }
        for (name, param) in [("bias_ih", &self.bias_ih), ("bias_hh", &self.bias_hh)] {
            visitor.enter_module(&format!("{name}_l{index}"), CONTAINER);
            param.visit(visitor);
            visitor.exit_module(name, CONTAINER);
        }
    }

    pub(super) fn map_named<M: ModuleMapper>(self, index: usize, mapper: &mut M) -> Self {
        fn named<P: Module, M: ModuleMapper>(
            name: &str,
            index: usize,
            param: P,
            mapper: &mut M,
        ) -> P {
            mapper.enter_module(&format!("{name}_l{index}"), CONTAINER);
            let param = param.map(mapper);
            mapper.exit_module(name, CONTAINER);
            param
        }
        Self {
            weight_ih: named("weight_ih", index, self.weight_ih, mapper),
            weight_hh: named("weight_hh", index, self.weight_hh, mapper),
            bias_ih: named("bias_ih", index, self.bias_ih, mapper),
            bias_hh: named("bias_hh", index, self.bias_hh, mapper),
        }
    }
}
