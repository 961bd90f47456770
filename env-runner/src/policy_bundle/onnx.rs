//! Bundles as ONNX files.

use rekindle_core::Columns;
use rekindle_core::CoreError;
use rekindle_env::{BoxDType, Space};
use rekindle_onnx::{Dim, ElementType, Graph, Value, Values};

use super::PolicyBundle;
use crate::Result;

impl PolicyBundle {
    /// Returns the greedy policy as an ONNX file: connectors with their learned state, the network, and the action
    /// transform, in one graph with a free number of rows. Any ONNX runtime for operator set 17 runs the file.
    ///
    /// | input or output | shape |
    /// |---|---|
    /// | `obs` | `[batch, …]` of the observation space |
    /// | `state_in.h`, `state_in.c` | `[batch, layers, cells]` of a recurrent policy; 0 for the first step of an episode |
    /// | `state_in.frames` | the earlier frames of `FrameStacking`; 0 for the first step of an episode |
    /// | `actions` | `[batch, …]` of the action space, as the environment receives them |
    /// | `action_dist_inputs` | `[batch, n]`, if the module computes them: logits, or means and log standard deviations |
    /// | `state_out.…` | the states for the next step |
    ///
    /// Parts of a Dict are inputs of their own, such as `obs.position`, and those of a Tuple are `obs.0`, `obs.1`, ….
    /// Box elements have the type of the space. Choices are `int64`, and bits are `uint8`. The file's metadata has both
    /// spaces as JSON.
    ///
    /// The graph has no checks: for an action mask that allows nothing, [`compute_actions`](Self::compute_actions)
    /// fails, and the graph returns the first action.
    ///
    /// # Errors
    /// [`RunnerError::Onnx`](crate::RunnerError::Onnx) that names the module, encoder, distribution or connector
    /// without an ONNX form. Custom ones have the form that their `export_onnx` gives them.
    pub fn to_onnx(&self) -> Result<Vec<u8>> {
        let mut graph = Graph::new("policy");
        let observations = inputs(&mut graph, Columns::OBS, &self.config.observation_space)?;
        let seen = self.env_to_module.export_onnx(&mut graph, &observations)?;
        let outputs = self.acting.module.export_onnx(&mut graph, &seen)?;
        let distribution = self.acting.module.distribution();
        let actions = match (&outputs.actions, &outputs.action_dist_inputs) {
            (Some(actions), _) => Some(actions.clone()),
            (None, Some(inputs)) => Some(distribution.export_onnx(&mut graph, inputs)?),
            (None, None) => None,
        };
        if let Some(actions) = actions {
            let actions = self.module_to_env.export_onnx(&mut graph, &actions)?;
            self::outputs(&mut graph, Columns::ACTIONS, &self.config.action_space, &actions)?;
        }
        if let Some(inputs) = &outputs.action_dist_inputs {
            let dims = [Dim::Batch, Dim::Fixed(distribution.required_input_dim())];
            graph.output(Columns::ACTION_DIST_INPUTS, inputs, ElementType::Float32, &dims)?;
        }
        let json = |space: &Space| {
            let what = "a space".into();
            serde_json::to_string(space).map_err(|source| CoreError::Json { what, source })
        };
        let spaces = [json(&self.config.observation_space)?, json(&self.config.action_space)?];
        let steps = self.env_steps().to_string();
        Ok(graph.to_bytes(&[
            ("rekindle.observation_space", &spaces[0]),
            ("rekindle.action_space", &spaces[1]),
            ("rekindle.env_steps", &steps),
        ]))
    }
}

/// Returns the element type and shape of a row of a space that is not nested; `None` for a Dict or Tuple.
fn interface(space: &Space) -> Option<(ElementType, Vec<usize>)> {
    Some(match space {
        Space::Box(space) => {
            let kind = match space.dtype() {
                BoxDType::Float32 => ElementType::Float32,
                BoxDType::Uint8 => ElementType::Uint8,
                _ => ElementType::Int64,
            };
            (kind, space.shape().to_vec())
        }
        Space::Discrete(_) => (ElementType::Int64, Vec::new()),
        Space::MultiDiscrete(space) => (ElementType::Int64, vec![space.nvec().len()]),
        Space::MultiBinary(space) => (ElementType::Uint8, vec![space.n()]),
        Space::Dict(_) | Space::Tuple(_) => return None,
    })
}

/// Returns the names and spaces of the parts of a nested space.
fn parts(space: &Space) -> Vec<(String, &Space)> {
    match space {
        Space::Dict(dict) => dict.iter().map(|(key, part)| (key.to_owned(), part)).collect(),
        Space::Tuple(tuple) => {
            let parts = tuple.spaces().iter().enumerate();
            parts.map(|(position, part)| (position.to_string(), part)).collect()
        }
        _ => Vec::new(),
    }
}

/// Adds an input for each part of a space. As on devices, bytes and bits become floats.
fn inputs(graph: &mut Graph, name: &str, space: &Space) -> Result<Values> {
    let Some((kind, shape)) = interface(space) else {
        let parts = parts(space).into_iter().map(|(key, part)| {
            let values = inputs(graph, &format!("{name}.{key}"), part)?;
            Ok((key, values))
        });
        return Ok(Values::Parts(parts.collect::<Result<_>>()?));
    };
    let value = graph.input(name, kind, &rows(&shape))?;
    Ok(match kind {
        ElementType::Uint8 => graph.cast(&value, ElementType::Float32).into(),
        _ => value.into(),
    })
}

/// Adds an output for each part of a space.
fn outputs(graph: &mut Graph, name: &str, space: &Space, values: &Values) -> Result<()> {
    let Some((kind, shape)) = interface(space) else {
        return parts(space).into_iter().try_for_each(|(key, part)| {
            outputs(graph, &format!("{name}.{key}"), part, values.part(&key)?)
        });
    };
    let dims: Vec<i64> = [-1].into_iter().chain(shape.iter().map(|n| *n as i64)).collect();
    let value: Value = graph.reshape(values.one()?, &dims);
    let value = match kind {
        ElementType::Float32 => value,
        _ => graph.cast(&value, kind),
    };
    Ok(graph.output(name, &value, kind, &rows(&shape))?)
}

fn rows(shape: &[usize]) -> Vec<Dim> {
    [Dim::Batch].into_iter().chain(shape.iter().map(|n| Dim::Fixed(*n))).collect()
}
