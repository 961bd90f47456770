//! Values of nested spaces.

use crate::error::{OnnxError, Result};
use crate::graph::Value;

/// A value of a graph, or the named parts of a nested one: keys of a Dict, or positions of a Tuple.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// One tensor.
    One(Value),
    /// The parts of a Dict by key, or of a Tuple by position (`"0"`, `"1"`, …), in the order of the space.
    Parts(Vec<(String, Self)>),
}

impl From<Value> for Values {
    fn from(value: Value) -> Self {
        Self::One(value)
    }
}

impl Values {
    /// Returns the only tensor.
    ///
    /// # Errors
    /// [`OnnxError::Structure`] for nested values.
    pub fn one(&self) -> Result<&Value> {
        match self {
            Self::One(value) => Ok(value),
            Self::Parts(_) => Err(self.unexpected("one tensor")),
        }
    }

    /// Returns the parts.
    ///
    /// # Errors
    /// [`OnnxError::Structure`] for a single tensor.
    pub fn parts(&self) -> Result<&[(String, Self)]> {
        match self {
            Self::Parts(parts) => Ok(parts),
            Self::One(_) => Err(self.unexpected("nested values")),
        }
    }

    /// Returns the part of a name.
    ///
    /// # Errors
    /// [`OnnxError::Structure`] if there is no such part.
    pub fn part(&self, name: &str) -> Result<&Self> {
        let found = self.parts()?.iter().find(|(part, _)| part == name);
        found.map(|(_, values)| values).ok_or_else(|| self.unexpected(&format!("a part `{name}`")))
    }

    /// Replaces the part at a path of keys and positions by what `f` makes of it. An empty path is the value itself.
    ///
    /// # Errors
    /// [`OnnxError::Structure`] if there is no such part; the error of `f`.
    pub fn map_part<E: From<OnnxError>>(
        &self,
        path: &[String],
        f: &mut dyn FnMut(&Self) -> Result<Self, E>,
    ) -> Result<Self, E> {
        let Some((name, rest)) = path.split_first() else { return f(self) };
        self.part(name)?;
        let child = |(key, part): &(String, Self)| match key == name {
            true => Ok((key.clone(), part.map_part(rest, f)?)),
            false => Ok((key.clone(), part.clone())),
        };
        Ok(Self::Parts(self.parts()?.iter().map(child).collect::<Result<_, E>>()?))
    }

    fn unexpected(&self, expected: &str) -> OnnxError {
        let found = match self {
            Self::One(_) => "one tensor".to_owned(),
            Self::Parts(parts) => {
                let names: Vec<_> = parts.iter().map(|(name, _)| name.as_str()).collect();
                format!("parts [{}]", names.join(", "))
            }
        };
        OnnxError::Structure { expected: expected.to_owned(), found }
    }
}

/// What a module computes for acting: actions, the inputs of its action distribution, or both. As in a forward pass,
/// actions are used as they are. Without actions, they are the deterministic ones of the distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyOutputs {
    /// Actions, in the units of the module. Elements of a Box may be flattened, `[B, dim]`.
    pub actions: Option<Values>,
    /// Inputs of the action distribution, `[B, inputs]`.
    pub action_dist_inputs: Option<Value>,
}

impl PolicyOutputs {
    /// Creates the outputs of a module that computes actions.
    #[must_use]
    pub fn of_actions(actions: impl Into<Values>) -> Self {
        Self { actions: Some(actions.into()), action_dist_inputs: None }
    }

    /// Creates the outputs of a module that computes the inputs of its action distribution.
    #[must_use]
    pub fn of_distribution(inputs: Value) -> Self {
        Self { actions: None, action_dist_inputs: Some(inputs) }
    }
}
