//! Observations of any space as one vector.

use rekindle_env::{Buffer, Space};

use super::{Connector, ConnectorContext};
use crate::{Result, RunnerError};

/// Flattens observations into a vector; RLlib's `FlattenObservations`.
///
/// Boxes are flattened, choices become one-hot vectors, bits numbers; the parts of a Dict (sorted by
/// key) or Tuple follow one another.
#[derive(Debug, Clone)]
pub struct FlattenObservations {
    keys_to_remove: Vec<String>,
    /// The space of the input, known with the output space.
    input: Option<Space>,
}

impl FlattenObservations {
    /// Flattens everything but the parts of a Dict with these keys, which are dropped.
    pub fn new(keys_to_remove: Vec<String>) -> Self {
        Self { keys_to_remove, input: None }
    }

    /// The parts that are kept, in order, by key; the whole space if it is no Dict.
    fn kept<'a>(&self, space: &'a Space) -> Vec<(Option<&'a str>, &'a Space)> {
        match space {
            Space::Dict(dict) => {
                let kept =
                    dict.iter().filter(|(key, _)| !self.keys_to_remove.iter().any(|k| k == key));
                kept.map(|(key, part)| (Some(key), part)).collect()
            }
            _ => vec![(None, space)],
        }
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
        let width: usize = self.kept(input).iter().map(|(_, part)| part.flat_dim()).sum();
        if width == 0 {
            return Err(refuse("nothing is left of it".into()));
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
        let parts = self.kept(space);
        let rows = input.rows().max(1);
        let data = output.as_f32_mut()?;
        let width = data.len() / rows;
        for (row, mut flat) in data.chunks_exact_mut(width.max(1)).enumerate() {
            for (key, part) in &parts {
                let (head, rest) = flat.split_at_mut(part.flat_dim());
                match key {
                    Some(key) => part.flatten(input.row(row).get(key)?, head)?,
                    None => part.flatten(input.row(row), head)?,
                }
                flat = rest;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ConnectorPipeline;
    use super::*;

    #[test]
    fn a77_parts_follow_one_another_and_choices_are_one_hot() {
        let space = Space::dict([
            ("a", Space::unbounded(&[2]).unwrap()),
            ("b", Space::discrete(3).unwrap()),
            ("mask", Space::multi_binary(2).unwrap()),
        ])
        .unwrap();
        let mut input = Buffer::zeros(&space, 2);
        input.row_mut(1).get_mut("a").unwrap().write_f32(&[0.5, -1.0]).unwrap();
        input.row_mut(1).get_mut("b").unwrap().set_discrete(2).unwrap();
        let flatten = |keys: &[&str]| {
            let keys = keys.iter().map(|key| (*key).to_string()).collect();
            let piece = Box::new(FlattenObservations::new(keys));
            let mut pipeline = ConnectorPipeline::with(space.clone(), vec![piece])?;
            let out = pipeline.transform(&input, ConnectorContext::rows(true))?;
            Ok::<_, RunnerError>(out.row(1).f32s()?.to_vec())
        };
        assert_eq!(flatten(&[]).unwrap(), [0.5, -1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(flatten(&["mask", "b"]).unwrap(), [0.5, -1.0]);
        assert!(flatten(&["nothing"]).unwrap_err().to_string().contains("no part `nothing`"));
    }
}
