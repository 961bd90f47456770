//! Connectors in a row.

use rekindle_env::{Buffer, Space};
use serde_json::{Map, Value};

use super::{Connector, ConnectorContext};
use crate::{Result, RunnerError};

/// A list of connectors that feed one another, each under a name of its own.
///
/// Two connectors of one kind are `Name` and `Name_1`, and keep separate state.
#[derive(Debug)]
pub struct ConnectorPipeline {
    input_space: Space,
    stages: Vec<Stage>,
}

#[derive(Debug)]
struct Stage {
    name: String,
    connector: Box<dyn Connector>,
    output_space: Space,
    output: Buffer,
}

impl ConnectorPipeline {
    /// A pipeline that passes its input through.
    pub fn new(input_space: Space) -> Self {
        Self { input_space, stages: Vec::new() }
    }

    /// A pipeline of connectors.
    ///
    /// # Errors
    /// [`RunnerError::ConnectorSpace`] if one cannot work on what comes before it.
    pub fn with(input_space: Space, connectors: Vec<Box<dyn Connector>>) -> Result<Self> {
        let mut pipeline = Self::new(input_space);
        for connector in connectors {
            pipeline.append(connector)?;
        }
        Ok(pipeline)
    }

    /// The space of what goes in.
    pub fn input_space(&self) -> &Space {
        &self.input_space
    }

    /// The space of what comes out.
    pub fn output_space(&self) -> &Space {
        self.stages.last().map_or(&self.input_space, |stage| &stage.output_space)
    }

    /// The names of the connectors, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().map(|stage| stage.name.as_str())
    }

    /// The number of connectors.
    pub fn len(&self) -> usize {
        self.stages.len()
    }

    /// Whether it passes its input through.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Adds a connector at the end.
    ///
    /// # Errors
    /// [`RunnerError::ConnectorSpace`]; the pipeline is then unchanged.
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

    /// Takes out the connector called `name`.
    ///
    /// # Errors
    /// [`RunnerError::UnknownConnector`], or [`RunnerError::ConnectorSpace`] if a later one cannot
    /// work without it; the pipeline is then unchanged.
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
        self.stages.insert(index, Stage { name, connector, output_space, output });
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
        }
        for (stage, space) in self.stages.iter_mut().zip(spaces) {
            stage.output = Buffer::zeros(&space, 0);
            stage.output_space = space;
        }
    }

    /// Passes rows through all connectors.
    ///
    /// # Errors
    /// If the rows are not of the input space.
    pub fn transform<'a>(
        &'a mut self,
        input: &'a Buffer,
        cx: ConnectorContext<'_>,
    ) -> Result<&'a Buffer> {
        let mut current = input;
        for stage in &mut self.stages {
            if stage.output.rows() != current.rows() {
                stage.output.clear();
                stage.output.extend_zeros(current.rows());
            }
            stage.connector.transform(current, &mut stage.output, cx)?;
            current = &stage.output;
        }
        Ok(current)
    }

    /// What came out last, if `input` went in.
    pub(crate) fn last_output<'a>(&'a self, input: &'a Buffer) -> &'a Buffer {
        self.stages.last().map_or(input, |stage| &stage.output)
    }

    /// What the connectors have learnt, by their names.
    ///
    /// # Errors
    /// If a state does not serialise.
    pub fn get_state(&self) -> Result<Value> {
        self.collect(|connector| connector.get_state())
    }

    /// Replaces what the connectors have learnt.
    ///
    /// # Errors
    /// [`RunnerError::UnknownConnector`] for a state of a connector that is not here, or the
    /// connector's error.
    pub fn set_state(&mut self, state: &Value) -> Result<()> {
        self.distribute(state, |connector, state| connector.set_state(state))
    }

    /// What the connectors remember of the running episodes, by their names.
    ///
    /// # Errors
    /// If a memory does not serialise.
    pub fn get_memory(&self) -> Result<Value> {
        self.collect(|connector| connector.get_memory())
    }

    /// Replaces what the connectors remember of the running episodes.
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
        let values = values.as_object().cloned().unwrap_or_default();
        for name in values.keys() {
            self.position(name)?;
        }
        for stage in &mut self.stages {
            set(&mut *stage.connector, values.get(&stage.name).unwrap_or(&Value::Null))?;
        }
        Ok(())
    }

    /// What every connector has learnt since the last merge, in order.
    ///
    /// # Errors
    /// If a delta does not serialise.
    pub fn take_deltas(&mut self) -> Result<Vec<Value>> {
        self.stages.iter_mut().map(|stage| stage.connector.take_delta()).collect()
    }

    /// Adds the deltas of all runners, one list each.
    ///
    /// # Errors
    /// If a delta is not one of these connectors.
    pub fn merge(&mut self, runners: &[Vec<Value>]) -> Result<()> {
        for (index, stage) in self.stages.iter_mut().enumerate() {
            let deltas = runners.iter().filter_map(|deltas| deltas.get(index)).cloned();
            stage.connector.merge(&deltas.collect::<Vec<_>>())?;
        }
        Ok(())
    }
}
