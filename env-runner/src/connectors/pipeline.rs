//! Pipelines of connectors.

use rekindle_env::{Buffer, Space};
use rekindle_onnx::{Graph, Values};
use serde_json::{Map, Value};

use super::saved::invalid;
use super::{Connector, ConnectorContext, RewardContext};
use crate::env_runner::checks::{Outside, find_outside, has_choices};
use crate::{Result, RunnerError};

/// A sequence of connectors with unique names, which rows pass through in order; RLlib's
/// `ConnectorPipelineV2`.
///
/// Two connectors of one kind are called `Name` and `Name_1`, and keep separate state.
#[derive(Debug, Clone)]
pub struct ConnectorPipeline {
    input_space: Space,
    stages: Vec<Stage>,
}

/// A connector of a pipeline, with its name and outputs.
#[derive(Debug, Clone)]
struct Stage {
    name: String,
    connector: Box<dyn Connector>,
    output_space: Space,
    /// Whether the outputs have choices, which are checked.
    has_choices: bool,
    output: Buffer,
    /// The inputs that [`ConnectorPipeline::invert`] finds.
    inverted: Buffer,
}

impl ConnectorPipeline {
    /// Creates a pipeline without connectors, which rows pass unchanged.
    #[must_use]
    pub fn new(input_space: Space) -> Self {
        Self { input_space, stages: Vec::new() }
    }

    /// Creates a pipeline of connectors.
    ///
    /// # Errors
    /// [`RunnerError::ConnectorSpace`] if a connector cannot work on the outputs of the one before.
    pub fn with(input_space: Space, connectors: Vec<Box<dyn Connector>>) -> Result<Self> {
        let mut pipeline = Self::new(input_space);
        for connector in connectors {
            pipeline.append(connector)?;
        }
        Ok(pipeline)
    }

    /// Returns the space of the inputs.
    #[must_use]
    pub fn input_space(&self) -> &Space {
        &self.input_space
    }

    /// Returns the space of the outputs.
    #[must_use]
    pub fn output_space(&self) -> &Space {
        self.stages.last().map_or(&self.input_space, |stage| &stage.output_space)
    }

    /// Returns the names of the connectors, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().map(|stage| stage.name.as_str())
    }

    /// Returns the number of connectors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stages.len()
    }

    /// Whether there are no connectors.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Adds a connector at the end.
    ///
    /// # Errors
    /// [`RunnerError::ConnectorSpace`] if it cannot work there. The pipeline is then unchanged.
    pub fn append(&mut self, connector: Box<dyn Connector>) -> Result<()> {
        self.insert(self.stages.len(), connector)
    }

    /// Adds a connector at the start.
    ///
    /// # Errors
    /// As [`ConnectorPipeline::append`].
    pub fn prepend(&mut self, connector: Box<dyn Connector>) -> Result<()> {
        self.insert(0, connector)
    }

    /// Adds a connector before the one called `name`.
    ///
    /// # Errors
    /// [`RunnerError::UnknownConnector`], or as [`ConnectorPipeline::append`].
    pub fn insert_before(&mut self, name: &str, connector: Box<dyn Connector>) -> Result<()> {
        self.insert(self.position(name)?, connector)
    }

    /// Adds a connector after the one called `name`.
    ///
    /// # Errors
    /// [`RunnerError::UnknownConnector`], or as [`ConnectorPipeline::append`].
    pub fn insert_after(&mut self, name: &str, connector: Box<dyn Connector>) -> Result<()> {
        self.insert(self.position(name)? + 1, connector)
    }

    /// Removes the connector called `name`.
    ///
    /// # Errors
    /// [`RunnerError::UnknownConnector`], or [`RunnerError::ConnectorSpace`] if a later connector
    /// cannot work without it. The pipeline is then unchanged.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        let index = self.position(name)?;
        let spaces = self.spaces_without(index)?;
        self.stages.remove(index);
        self.set_spaces(spaces);
        Ok(())
    }

    fn position(&self, name: &str) -> Result<usize> {
        self.stages.iter().position(|stage| stage.name == name).ok_or_else(|| {
            let available = self.names().collect::<Vec<_>>().join(", ");
            RunnerError::UnknownConnector { name: name.into(), available }
        })
    }

    fn insert(&mut self, index: usize, connector: Box<dyn Connector>) -> Result<()> {
        let before = match index.checked_sub(1) {
            Some(previous) => &self.stages[previous].output_space,
            None => &self.input_space,
        };
        let mut space = connector.output_space(before)?;
        let mut spaces = vec![space.clone()];
        for stage in &self.stages[index..] {
            space = stage.connector.output_space(&space)?;
            spaces.push(space.clone());
        }
        let base = connector.name();
        let taken = |name: &str| self.stages.iter().any(|stage| stage.name == name);
        let name = std::iter::once(base.to_string())
            .chain((1..).map(|i| format!("{base}_{i}")))
            .find(|name| !taken(name))
            .unwrap_or_default();
        let output_space = spaces[0].clone();
        let output = Buffer::zeros(&output_space, 0);
        let inverted = Buffer::zeros(before, 0);
        let has_choices = has_choices(&output_space);
        let stage = Stage { name, connector, output_space, has_choices, output, inverted };
        self.stages.insert(index, stage);
        let before = self.stages[..index].iter().map(|stage| stage.output_space.clone());
        self.set_spaces(before.chain(spaces).collect());
        Ok(())
    }

    fn spaces_without(&self, removed: usize) -> Result<Vec<Space>> {
        let mut space = self.input_space.clone();
        let mut spaces = Vec::new();
        let kept = self.stages.iter().enumerate().filter(|(index, _)| *index != removed);
        for (_, stage) in kept {
            space = stage.connector.output_space(&space)?;
            spaces.push(space.clone());
        }
        Ok(spaces)
    }

    fn set_spaces(&mut self, spaces: Vec<Space>) {
        let inputs = std::iter::once(&self.input_space).chain(&spaces);
        for (stage, input) in self.stages.iter_mut().zip(inputs) {
            stage.connector.set_input_space(input);
            stage.inverted = Buffer::zeros(input, 0);
        }
        for (stage, space) in self.stages.iter_mut().zip(spaces) {
            stage.output = Buffer::zeros(&space, 0);
            stage.has_choices = has_choices(&space);
            stage.output_space = space;
        }
    }

    /// Passes rows through all connectors, and returns the outputs of the last one.
    ///
    /// # Errors
    /// If the rows are not of the input space, a connector fails, or it outputs a choice that does
    /// not exist ([`RunnerError::ConnectorOutput`]).
    pub fn transform<'a>(
        &'a mut self,
        input: &'a Buffer,
        cx: ConnectorContext<'_>,
    ) -> Result<&'a Buffer> {
        let mut current = input;
        for stage in &mut self.stages {
            if stage.connector.transforms_rewards() {
                continue;
            }
            resize(&mut stage.output, current.rows());
            stage.connector.transform(current, &mut stage.output, cx)?;
            if stage.has_choices
                && let Some(outside) = find_outside(&stage.output_space, &stage.output)
            {
                let Outside { row, value, space } = outside;
                let connector = stage.name.clone();
                return Err(RunnerError::ConnectorOutput { connector, row, value, space });
            }
            current = &stage.output;
        }
        Ok(current)
    }

    /// Passes rows through all connectors, and puts the outputs into `kept` without a copy. The outputs of
    /// a pipeline that leaves rows unchanged are its input: see [`outputs_of`](Self::outputs_of).
    ///
    /// # Errors
    /// As [`ConnectorPipeline::transform`].
    pub(crate) fn transform_into(
        &mut self,
        input: &Buffer,
        kept: &mut Buffer,
        cx: ConnectorContext<'_>,
    ) -> Result<()> {
        self.transform(input, cx)?;
        let mut stages = self.stages.iter_mut().rev();
        if let Some(last) = stages.find(|stage| !stage.connector.transforms_rewards()) {
            std::mem::swap(kept, &mut last.output);
        }
        Ok(())
    }

    /// Returns the outputs of [`transform_into`](Self::transform_into): `kept`, or `input` for a pipeline
    /// that leaves rows unchanged.
    pub(crate) fn outputs_of<'a>(&self, input: &'a Buffer, kept: &'a Buffer) -> &'a Buffer {
        match self.stages.iter().all(|stage| stage.connector.transforms_rewards()) {
            true => input,
            false => kept,
        }
    }

    /// Adds all connectors of rows to an ONNX graph.
    ///
    /// # Errors
    /// If a connector has no ONNX form.
    pub(crate) fn export_onnx(&self, graph: &mut Graph, rows: &Values) -> Result<Values> {
        let mut stages = self.stages.iter().filter(|stage| !stage.connector.transforms_rewards());
        stages.try_fold(rows.clone(), |rows, stage| stage.connector.export_onnx(graph, &rows))
    }

    /// Returns the number of frames that each output row stacks ([`Connector::stacked_frames`]), if there are several.
    pub(crate) fn stacked_frames(&self) -> Option<usize> {
        let mut stages = self.stages.iter().rev();
        let last = stages.find(|stage| !stage.connector.transforms_rewards())?;
        last.connector.stacked_frames().filter(|count| *count > 1)
    }

    /// Passes rewards through all connectors of rewards, in place. The rewards of a step come before
    /// its observations.
    ///
    /// # Errors
    /// If a connector fails, or a reward is then not finite in single precision
    /// ([`RunnerError::ConnectorReward`]).
    pub fn transform_rewards(&mut self, rewards: &mut [f64], cx: RewardContext<'_>) -> Result<()> {
        let mut stages = self.stages.iter_mut().filter(|s| s.connector.transforms_rewards());
        stages.try_for_each(|stage| {
            stage.connector.transform_rewards(rewards, cx)?;
            match rewards.iter().find(|reward| !(**reward as f32).is_finite()) {
                None => Ok(()),
                Some(&reward) => {
                    let connector = stage.name.clone();
                    Err(RunnerError::ConnectorReward { connector, reward })
                }
            }
        })
    }

    /// Whether a connector transforms rewards.
    #[must_use]
    pub fn transforms_rewards(&self) -> bool {
        self.stages.iter().any(|stage| stage.connector.transforms_rewards())
    }

    /// Fills `input` with rows that [`transform`](Self::transform) would turn into `output`.
    ///
    /// # Errors
    /// [`RunnerError::NotInvertible`] if a connector has no inverse, or an error if the rows are not
    /// of the output space.
    pub fn invert(&mut self, output: &Buffer, input: &mut Buffer) -> Result<()> {
        let mut current = output;
        for stage in self.stages.iter_mut().rev() {
            if stage.connector.transforms_rewards() {
                continue;
            }
            resize(&mut stage.inverted, current.rows());
            stage.connector.invert(current, &mut stage.inverted)?;
            current = &stage.inverted;
        }
        input.clear();
        Ok(input.extend_from(current, 0..current.rows())?)
    }

    /// Returns the outputs of the last call of [`transform`](Self::transform) with `input`.
    pub(crate) fn last_output<'a>(&'a self, input: &'a Buffer) -> &'a Buffer {
        let mut stages = self.stages.iter().rev();
        let last = stages.find(|stage| !stage.connector.transforms_rewards());
        last.map_or(input, |stage| &stage.output)
    }

    /// Returns the inputs of the last connector in the last call of [`transform`](Self::transform);
    /// `None` if there is no connector before it.
    pub(crate) fn last_input(&self) -> Option<&Buffer> {
        let stages = self.stages.iter().rev().filter(|s| !s.connector.transforms_rewards());
        stages.into_iter().nth(1).map(|stage| &stage.output)
    }

    /// Returns the learned states of the connectors, by name.
    ///
    /// # Errors
    /// If a state does not serialize.
    pub fn get_state(&self) -> Result<Value> {
        self.collect(|connector| connector.get_state())
    }

    /// Replaces the learned states of the connectors, all or none.
    ///
    /// # Errors
    /// [`RunnerError::UnknownConnector`] for the state of a connector that is not in the pipeline,
    /// or the connector's error.
    pub fn set_state(&mut self, state: &Value) -> Result<()> {
        self.distribute(state, |connector, state| connector.set_state(state))
    }

    /// Returns the connectors' episode states, by name.
    ///
    /// # Errors
    /// If an episode state does not serialize.
    pub fn get_memory(&self) -> Result<Value> {
        self.collect(|connector| connector.get_memory())
    }

    /// Replaces the connectors' episode states, all or none.
    ///
    /// # Errors
    /// As [`ConnectorPipeline::set_state`].
    pub fn set_memory(&mut self, memory: &Value) -> Result<()> {
        self.distribute(memory, |connector, memory| connector.set_memory(memory))
    }

    fn collect(&self, get: impl Fn(&dyn Connector) -> Result<Value>) -> Result<Value> {
        let mut values = Map::new();
        for stage in &self.stages {
            let value = get(&*stage.connector)?;
            if !value.is_null() {
                values.insert(stage.name.clone(), value);
            }
        }
        Ok(Value::Object(values))
    }

    fn distribute(
        &mut self,
        values: &Value,
        set: impl Fn(&mut dyn Connector, &Value) -> Result<()>,
    ) -> Result<()> {
        let values = match values {
            Value::Null => Map::new(),
            Value::Object(values) => values.clone(),
            other => {
                let reason = format!("it is {other}, not an object with connector names as keys");
                return Err(invalid("connector pipeline", reason));
            }
        };
        for name in values.keys() {
            self.position(name)?;
        }
        let mut connectors: Vec<_> =
            self.stages.iter().map(|stage| stage.connector.clone()).collect();
        for (stage, connector) in self.stages.iter().zip(&mut connectors) {
            set(&mut **connector, values.get(&stage.name).unwrap_or(&Value::Null))?;
        }
        for (stage, connector) in self.stages.iter_mut().zip(connectors) {
            stage.connector = connector;
        }
        Ok(())
    }

    /// Takes the changes of all learned states since the last merge, in order.
    ///
    /// # Errors
    /// If a delta does not serialize.
    pub(crate) fn take_deltas(&mut self) -> Result<Vec<Value>> {
        self.stages.iter_mut().map(|stage| stage.connector.take_delta()).collect()
    }

    /// Adds the deltas of all runners, one list per runner.
    ///
    /// # Errors
    /// If a delta does not fit its connector.
    pub fn merge(&mut self, runners: &[Vec<Value>]) -> Result<()> {
        for (index, stage) in self.stages.iter_mut().enumerate() {
            let deltas = runners.iter().filter_map(|deltas| deltas.get(index)).cloned();
            stage.connector.merge(&deltas.collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// Sets the number of rows. The caller overwrites their values.
fn resize(buffer: &mut Buffer, rows: usize) {
    if buffer.rows() != rows {
        buffer.clear();
        buffer.extend_zeros(rows);
    }
}
