//! Observations of any space as one vector.

use rekindle_env::{BoxDType, BoxSpace, Buffer, Space};
use rekindle_onnx::{ElementType, Graph, Value as OnnxValue, Values};
use serde_json::Value;

use super::{Connector, ConnectorContext};
use crate::{Result, RunnerError};

/// Flattens observations into a vector; RLlib's `FlattenObservations`.
///
/// Float Boxes keep their values, choices become one-hot vectors, and bits become 0 and 1. Bytes
/// are scaled to `(x − low) / (high − low)`, as encoders of images do; RLlib leaves them as they
/// are. The parts of a Dict (sorted by key) or Tuple follow one another.
///
/// # Shapes
/// Any space to an unbounded `float32` Box `[n]`, where `n` is the sum of the flattened parts.
///
/// # State
/// None.
#[derive(Debug, Clone)]
pub struct FlattenObservations {
    keys_to_remove: Vec<String>,
    /// The space of the input, known once the connector is in a pipeline.
    input: Option<Space>,
}

impl FlattenObservations {
    /// Flattens everything except the parts of a Dict with these keys, which are dropped.
    #[must_use]
    pub fn new(keys_to_remove: Vec<String>) -> Self {
        Self { keys_to_remove, input: None }
    }

    /// Returns the parts that are kept, in order, by key; the whole space if it is not a Dict.
    fn kept<'a>(&self, space: &'a Space) -> impl Iterator<Item = (Option<&'a str>, &'a Space)> {
        let dict = space.as_dict().ok();
        let parts = dict.into_iter().flat_map(|dict| dict.iter());
        let kept = parts.filter(|(key, _)| !self.keys_to_remove.iter().any(|k| k == key));
        let whole = dict.is_none().then_some((None, space));
        whole.into_iter().chain(kept.map(|(key, part)| (Some(key), part)))
    }
}

impl Connector for FlattenObservations {
    fn name(&self) -> &'static str {
        "FlattenObservations"
    }

    fn output_space(&self, input: &Space) -> Result<Space> {
        let refuse = |reason: String| RunnerError::ConnectorSpace {
            connector: self.name().into(),
            space: input.to_string(),
            reason,
        };
        let there =
            |key: &String| matches!(input, Space::Dict(dict) if dict.iter().any(|(k, _)| k == key));
        if let Some(key) = self.keys_to_remove.iter().find(|key| !there(key)) {
            return Err(refuse(format!("it has no part `{key}` to remove")));
        }
        let width: usize = self.kept(input).map(|(_, part)| part.flat_dim()).sum();
        if width == 0 {
            return Err(refuse("`keys_to_remove` leaves no part of it".into()));
        }
        Ok(Space::unbounded(&[width])?)
    }

    fn set_input_space(&mut self, input: &Space) {
        self.input = Some(input.clone());
    }

    fn transform(
        &mut self,
        input: &Buffer,
        output: &mut Buffer,
        _cx: ConnectorContext<'_>,
    ) -> Result<()> {
        let space = self.input.as_ref().ok_or_else(|| RunnerError::ConnectorSpace {
            connector: self.name().into(),
            space: "unknown".into(),
            reason: "it works inside a pipeline only".into(),
        })?;
        let width = output.shape()?.iter().product();
        let data = output.as_f32_mut()?;
        let mut start = 0;
        for (key, part) in self.kept(space) {
            let column = match key {
                Some(key) => input.get(key)?,
                None => input,
            };
            start = flatten(part, column, data, width, start)?;
        }
        Ok(())
    }

    fn export_onnx(&self, graph: &mut Graph, rows: &Values) -> Result<Values> {
        let mut parts = Vec::new();
        for (key, space) in self.input.iter().flat_map(|space| self.kept(space)) {
            let rows = match key {
                Some(key) => rows.part(key)?,
                None => rows,
            };
            export(space, rows, graph, &mut parts)?;
        }
        Ok(graph.concat(&parts).into())
    }

    fn get_memory(&self) -> Result<Value> {
        Ok(Value::Null)
    }

    fn get_state(&self) -> Result<Value> {
        Ok(Value::Null)
    }
}

/// Writes a column into elements `start..` of rows of `width` elements. Returns where it ends.
fn flatten(
    space: &Space,
    column: &Buffer,
    data: &mut [f32],
    width: usize,
    start: usize,
) -> Result<usize> {
    let end = start + space.flat_dim();
    match space {
        Space::Dict(dict) => {
            let mut parts = dict.iter();
            parts.try_fold(start, |start, (key, part)| {
                flatten(part, column.get(key)?, data, width, start)
            })
        }
        Space::Tuple(tuple) => {
            let mut parts = tuple.spaces().iter().enumerate();
            parts.try_fold(start, |start, (position, part)| {
                flatten(part, column.index(position)?, data, width, start)
            })
        }
        Space::Box(space) if space.dtype() == BoxDType::Uint8 => {
            let rows = data.chunks_exact_mut(width);
            for (row, bytes) in rows.zip(column.as_u8()?.chunks_exact(space.size())) {
                scale(space, bytes, &mut row[start..end]);
            }
            Ok(end)
        }
        _ => {
            for (row, flat) in data.chunks_exact_mut(width).enumerate() {
                space.flatten(column.row(row), &mut flat[start..end])?;
            }
            Ok(end)
        }
    }
}

/// Scales bytes to [0, 1] by their bounds; 0 where the bounds are equal.
fn scale(space: &BoxSpace, bytes: &[u8], out: &mut [f32]) {
    for ((out, byte), (low, range)) in out.iter_mut().zip(bytes).zip(ranges(space)) {
        *out = (f32::from(*byte) - low) / range;
    }
}

/// Returns the lower bound and the width of each element, 1 where the bounds are equal.
fn ranges(space: &BoxSpace) -> impl Iterator<Item = (f32, f32)> + '_ {
    let bounds = space.low().iter().zip(space.high());
    bounds.map(|(low, high)| (*low, if high > low { high - low } else { 1.0 }))
}

/// Adds the flattened values of a space to an ONNX graph, and appends them to `parts`.
fn export(
    space: &Space,
    rows: &Values,
    graph: &mut Graph,
    parts: &mut Vec<OnnxValue>,
) -> Result<()> {
    let nvec = match space {
        Space::Dict(dict) => {
            let mut children = dict.iter();
            return children
                .try_for_each(|(key, part)| export(part, rows.part(key)?, graph, parts));
        }
        Space::Tuple(tuple) => {
            let mut children = tuple.spaces().iter().enumerate();
            return children.try_for_each(|(position, part)| {
                export(part, rows.part(&position.to_string())?, graph, parts)
            });
        }
        Space::Box(space) => {
            let mut flat = graph.rows(rows.one()?, space.size());
            match space.dtype() {
                BoxDType::Float32 => {}
                BoxDType::Uint8 => {
                    let (low, width): (Vec<_>, Vec<_>) = ranges(space).unzip();
                    let [low, width] = [low, width].map(|row| graph.floats(&row, &[row.len()]));
                    let shifted = graph.sub(&flat, &low);
                    flat = graph.div(&shifted, &width);
                }
                _ => flat = graph.cast(&flat, ElementType::Float32),
            }
            parts.push(flat);
            return Ok(());
        }
        Space::MultiBinary(bits) => {
            parts.push(graph.rows(rows.one()?, bits.n()));
            return Ok(());
        }
        Space::Discrete(choice) => vec![(choice.n(), choice.start())],
        Space::MultiDiscrete(choices) => choices.nvec().iter().map(|n| (*n, 0)).collect(),
    };
    let choices = graph.rows(rows.one()?, nvec.len());
    for (entry, (n, start)) in nvec.into_iter().enumerate() {
        let choice = graph.slice(&choices, entry..entry + 1);
        let start = graph.ints(&[start], &[1]);
        let choice = graph.sub(&choice, &start);
        parts.push(graph.one_hot(&choice, n));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::ConnectorPipeline;
    use super::*;

    fn pipeline(space: &Space, keys: &[&str]) -> Result<ConnectorPipeline> {
        let keys = keys.iter().map(|key| (*key).to_string()).collect();
        ConnectorPipeline::with(space.clone(), vec![Box::new(FlattenObservations::new(keys))])
    }

    #[test]
    fn parts_follow_one_another_and_choices_are_one_hot() {
        let space = Space::dict([
            ("a", Space::unbounded(&[2]).unwrap()),
            ("b", Space::discrete(3).unwrap()),
            ("mask", Space::multi_binary(2).unwrap()),
        ])
        .unwrap();
        let mut input = Buffer::zeros(&space, 2);
        input.row_mut(1).get_mut("a").unwrap().write_f32(&[0.5, -1.0]).unwrap();
        input.row_mut(1).get_mut("b").unwrap().write_discrete(2).unwrap();
        let flatten = |keys: &[&str]| {
            let mut pipeline = pipeline(&space, keys)?;
            let out = pipeline.transform(&input, ConnectorContext::rows(true))?;
            Ok::<_, RunnerError>(out.row(1).as_f32()?.to_vec())
        };
        assert_eq!(flatten(&[]).unwrap(), [0.5, -1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(flatten(&["mask", "b"]).unwrap(), [0.5, -1.0]);
        assert!(flatten(&["nothing"]).unwrap_err().to_string().contains("no part `nothing`"));
    }

    #[test]
    fn bytes_are_scaled_by_their_bounds_at_any_depth() {
        let bytes = |low, high| Space::Box(BoxSpace::bytes(low, high, &[2]).unwrap());
        let space = Space::dict([
            ("choice", Space::discrete(2).unwrap()),
            ("images", Space::tuple([bytes(0, 255), bytes(10, 20), bytes(7, 7)]).unwrap()),
        ])
        .unwrap();
        let mut input = Buffer::zeros(&space, 1);
        let mut row = input.row_mut(0);
        let mut images = row.get_mut("images").unwrap();
        images.index_mut(0).unwrap().write_u8(&[0, 255]).unwrap();
        images.index_mut(1).unwrap().write_u8(&[15, 20]).unwrap();
        images.index_mut(2).unwrap().write_u8(&[7, 7]).unwrap();
        let mut pipeline = pipeline(&space, &[]).unwrap();
        let out = pipeline.transform(&input, ConnectorContext::rows(true)).unwrap();
        assert_eq!(out.as_f32().unwrap(), [1.0, 0.0, 0.0, 1.0, 0.5, 1.0, 0.0, 0.0]);
    }
}
