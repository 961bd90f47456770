//! A connector for one part of a Dict or Tuple.

use rekindle_core::ConfigError;
use rekindle_env::{Buffer, Space};
use rekindle_onnx::{Graph, Values};
use serde_json::Value;

use super::{Connector, ConnectorContext};
use crate::{Result, RunnerError};

/// Applies a connector to one part of Dict or Tuple rows; the other parts pass unchanged. Made by
/// [`ConnectorConfig::on_part`](super::ConnectorConfig::on_part).
///
/// # Shapes
/// The part changes to the output space of the connector.
///
/// # State
/// The state of the connector, under its name.
#[derive(Debug, Clone)]
pub struct OnPart {
    path: Vec<String>,
    connector: Box<dyn Connector>,
}

impl OnPart {
    /// Applies `connector` to the part at `path`: keys of Dicts and positions in Tuples, from the
    /// outside in.
    ///
    /// # Errors
    /// [`RunnerError::Config`] if the path is empty, or the connector transforms rewards,
    /// which have no parts.
    pub fn new(path: Vec<String>, connector: Box<dyn Connector>) -> Result<Self> {
        if connector.transforms_rewards() {
            let name = connector.name();
            let constraint = format!(
                "`{name}` transforms rewards, which have no parts; add it without `on_part`"
            );
            return Err(ConfigError::new("OnPart.connector", name, constraint).into());
        }
        if path.is_empty() {
            let constraint = "it must name at least one key";
            return Err(ConfigError::new("OnPart.path", "[]", constraint).into());
        }
        Ok(Self { path, connector })
    }

    fn refuse(&self, space: &Space, reason: impl Into<String>) -> RunnerError {
        RunnerError::ConnectorSpace {
            connector: self.connector.name().into(),
            space: space.to_string(),
            reason: format!("at `{}`: {}", self.path.join("."), reason.into()),
        }
    }

    /// Returns the part of a space that the connector works on.
    fn part<'a>(&self, space: &'a Space) -> Option<&'a Space> {
        self.path.iter().try_fold(space, |space, key| match space {
            Space::Dict(dict) => dict.get(key).ok(),
            Space::Tuple(tuple) => tuple.spaces().get(key.parse::<usize>().ok()?),
            _ => None,
        })
    }
}

/// Returns the space with `part` in place of the part at `path`.
fn replace(space: &Space, path: &[String], part: Space) -> Result<Space> {
    let Some((key, rest)) = path.split_first() else { return Ok(part) };
    let child = |name: &str, old: &Space| match name == key {
        true => replace(old, rest, part.clone()),
        false => Ok(old.clone()),
    };
    Ok(match space {
        Space::Dict(dict) => {
            let parts = dict.iter().map(|(name, old)| Ok((name, child(name, old)?)));
            Space::dict(parts.collect::<Result<Vec<_>>>()?)?
        }
        Space::Tuple(tuple) => {
            let parts = tuple.spaces().iter().enumerate();
            let parts = parts.map(|(position, old)| child(&position.to_string(), old));
            Space::tuple(parts.collect::<Result<Vec<_>>>()?)?
        }
        leaf => leaf.clone(),
    })
}

/// Copies all parts except the one at `path`, which `f` fills.
fn apply(
    input: &Buffer,
    output: &mut Buffer,
    path: &[String],
    f: &mut dyn FnMut(&Buffer, &mut Buffer) -> Result<()>,
) -> Result<()> {
    let Some((key, rest)) = path.split_first() else { return f(input, output) };
    let mut child = |name: &str, part: &Buffer, output: &mut Buffer| {
        let output = output.part_mut(name)?;
        if name == key {
            return apply(part, output, rest, f);
        }
        output.clear();
        Ok(output.extend_from(part, 0..part.rows())?)
    };
    if let Ok(parts) = input.as_dict() {
        return parts.iter().try_for_each(|(name, part)| child(name, part, output));
    }
    let mut parts = input.as_tuple()?.iter().enumerate();
    parts.try_for_each(|(position, part)| child(&position.to_string(), part, output))
}

impl Connector for OnPart {
    fn name(&self) -> &'static str {
        self.connector.name()
    }

    fn output_space(&self, input: &Space) -> Result<Space> {
        let Some(part) = self.part(input) else {
            return Err(self.refuse(input, "there is no such part"));
        };
        let output = self.connector.output_space(part).map_err(|error| match error {
            RunnerError::ConnectorSpace { reason, .. } => self.refuse(part, reason),
            other => other,
        })?;
        replace(input, &self.path, output)
    }

    fn set_input_space(&mut self, input: &Space) {
        if let Some(part) = self.part(input) {
            self.connector.set_input_space(part);
        }
    }

    fn transform(
        &mut self,
        input: &Buffer,
        output: &mut Buffer,
        cx: ConnectorContext<'_>,
    ) -> Result<()> {
        let Self { path, connector } = self;
        apply(input, output, path, &mut |part, out| connector.transform(part, out, cx))
    }

    fn invert(&self, output: &Buffer, input: &mut Buffer) -> Result<()> {
        apply(output, input, &self.path, &mut |part, out| self.connector.invert(part, out))
    }

    fn export_onnx(&self, graph: &mut Graph, rows: &Values) -> Result<Values> {
        rows.map_part(&self.path, &mut |part| self.connector.export_onnx(graph, part))
    }

    fn get_memory(&self) -> Result<Value> {
        self.connector.get_memory()
    }

    fn set_memory(&mut self, memory: &Value) -> Result<()> {
        self.connector.set_memory(memory)
    }

    fn get_state(&self) -> Result<Value> {
        self.connector.get_state()
    }

    fn set_state(&mut self, state: &Value) -> Result<()> {
        self.connector.set_state(state)
    }

    fn take_delta(&mut self) -> Result<Value> {
        self.connector.take_delta()
    }

    fn merge(&mut self, deltas: &[Value]) -> Result<()> {
        self.connector.merge(deltas)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ConnectorConfig, ConnectorPipeline};
    use super::*;

    /// An image and a speed in a Tuple, and a mask.
    fn space() -> Space {
        let sensors = [Space::image(&[1, 2]).unwrap(), Space::unbounded(&[1]).unwrap()];
        Space::dict([
            ("mask", Space::multi_binary(2).unwrap()),
            ("sensors", Space::tuple(sensors).unwrap()),
        ])
        .unwrap()
    }

    fn pipeline(configs: &[ConnectorConfig]) -> Result<ConnectorPipeline> {
        let actions = Space::discrete(2)?;
        let connectors = configs.iter().map(|config| config.build(&actions));
        ConnectorPipeline::with(space(), connectors.collect::<Result<_>>()?)
    }

    #[test]
    fn one_part_is_transformed_and_the_others_pass() {
        let mut pipeline = pipeline(&[
            ConnectorConfig::frame_stacking(2).on_part(["sensors", "0"]),
            ConnectorConfig::mean_std_filter().on_part(["sensors", "1"]),
        ])
        .unwrap();
        let sensors = [Space::image(&[1, 4]).unwrap(), Space::boxed(-10.0, 10.0, &[1]).unwrap()];
        let expected = Space::dict([
            ("mask", Space::multi_binary(2).unwrap()),
            ("sensors", Space::tuple(sensors).unwrap()),
        ]);
        assert_eq!(pipeline.output_space(), &expected.unwrap());
        let mut input = Buffer::zeros(&space(), 2);
        for (row, speed) in [1.0, 3.0].into_iter().enumerate() {
            let mut row = input.row_mut(row);
            row.get_mut("mask").unwrap().write_u8(&[1, 0]).unwrap();
            let mut sensors = row.get_mut("sensors").unwrap();
            sensors.index_mut(0).unwrap().write_u8(&[7, 8]).unwrap();
            sensors.index_mut(1).unwrap().write_f32(&[speed]).unwrap();
        }
        let out = pipeline.transform(&input, ConnectorContext::rows(true)).unwrap();
        assert_eq!(out.get("mask").unwrap(), input.get("mask").unwrap());
        let sensors = out.get("sensors").unwrap();
        assert_eq!(sensors.index(0).unwrap().as_u8().unwrap(), [0, 0, 7, 8, 0, 0, 7, 8]);
        let speeds = sensors.index(1).unwrap().as_f32().unwrap();
        let expected = [-1.0, 1.0].map(|sign| sign * std::f32::consts::FRAC_1_SQRT_2);
        assert!(speeds.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-5), "{speeds:?}");
        assert_eq!(pipeline.get_state().unwrap()["MeanStdFilter"]["current"]["mean"][0], 2.0);
    }

    #[test]
    fn parts_that_are_not_there_or_do_not_suit_are_named() {
        let filter = ConnectorConfig::mean_std_filter;
        for (config, text) in [
            (filter().on_part(["sensors", "2"]), "at `sensors.2`: there is no such part"),
            (filter().on_part(["mask", "x"]), "at `mask.x`: there is no such part"),
            (filter().on_part(["sensors", "0"]), "at `sensors.0`: only float32"),
            (filter().on_part(Vec::<String>::new()), "at least one key"),
            (ConnectorConfig::clip_rewards(1.0).on_part(["mask"]), "rewards, which have no parts"),
        ] {
            let error = pipeline(&[config]).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
