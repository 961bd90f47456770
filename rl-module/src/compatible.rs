//! Whether saved parameters belong to a module for the same spaces.

use rekindle_catalog::InputScale;
use rekindle_checkpoint::State;
use rekindle_env::Space;
use serde::Deserialize;

use crate::error::{ModuleError, Result};
use crate::spec::RLModuleSpec;

/// The spaces that a saved module was built for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SavedSpaces {
    observation_space: Option<Space>,
    action_space: Option<Space>,
}

impl SavedSpaces {
    /// Reads the spaces in the state of a module. A state of weights alone has none.
    ///
    /// # Errors
    /// A checkpoint error if they are malformed.
    pub(crate) fn of_state(state: &State) -> Result<Self> {
        Ok(if state.data.is_null() { Self::default() } else { state.data_as()? })
    }

    pub(crate) fn of_spec(spec: &RLModuleSpec) -> Self {
        Self {
            observation_space: spec.get_observation_space().cloned(),
            action_space: spec.get_action_space().cloned(),
        }
    }

    /// Checks that a module is built for these spaces. Spaces that are not set are not compared.
    ///
    /// # Errors
    /// [`ModuleError::OtherSpace`] with both spaces.
    pub(crate) fn check(&self, here: &RLModuleSpec) -> Result<()> {
        let refuse = |field, saved: &Space, here: &Space| {
            let (saved, here) = (saved.to_string(), here.to_string());
            Err(ModuleError::OtherSpace { field, saved, here })
        };
        match (&self.observation_space, here.get_observation_space()) {
            (Some(saved), Some(here)) if !reads_alike(saved, here) => {
                return refuse("observation_space", saved, here);
            }
            _ => {}
        }
        match (&self.action_space, here.get_action_space()) {
            (Some(saved), Some(here)) if saved != here => refuse("action_space", saved, here),
            _ => Ok(()),
        }
    }
}

/// Whether a module that was built for one observation space reads those of the other in the same way.
///
/// Shapes, kinds and keys are equal. The bounds of floats do not affect the outputs of a network and may
/// differ. The bounds of bytes do ([`InputScale`]).
#[must_use]
pub fn reads_alike(one: &Space, other: &Space) -> bool {
    match (one, other) {
        (Space::Box(one), Space::Box(other)) => {
            one.dtype() == other.dtype()
                && one.shape() == other.shape()
                && InputScale::of(one) == InputScale::of(other)
        }
        (Space::Dict(one), Space::Dict(other)) => {
            let (mut ones, mut others) = (one.iter(), other.iter());
            ones.len() == others.len()
                && ones.all(|(key, part)| {
                    others.next().is_some_and(|(k, p)| k == key && reads_alike(part, p))
                })
        }
        (Space::Tuple(one), Space::Tuple(other)) => {
            let (ones, others) = (one.spaces(), other.spaces());
            ones.len() == others.len()
                && ones.iter().zip(others).all(|(one, other)| reads_alike(one, other))
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_float_observations_may_differ_and_nothing_else() {
        let (a, b) = (Space::boxed(-1.0, 1.0, &[2]).unwrap(), Space::unbounded(&[2]).unwrap());
        assert!(reads_alike(&a, &b));
        assert!(!reads_alike(&a, &Space::unbounded(&[3]).unwrap()));
        assert!(!reads_alike(&Space::discrete(2).unwrap(), &Space::discrete(3).unwrap()));
        let dict = |key, part: &Space| Space::dict([(key, part.clone())]).unwrap();
        assert!(reads_alike(&dict("x", &a), &dict("x", &b)) && !reads_alike(&dict("x", &a), &a));
        assert!(!reads_alike(&dict("x", &a), &dict("y", &a)));
        let pair = |parts: [&Space; 2]| Space::tuple(parts.map(Clone::clone)).unwrap();
        assert!(reads_alike(&pair([&a, &b]), &pair([&b, &a])));
    }
}
