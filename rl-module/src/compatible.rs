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

/// Whether a network reads the observations of both spaces in the same way. The bounds of floats do
/// not affect its outputs. The bounds of bytes do ([`InputScale`]).
fn reads_alike(one: &Space, other: &Space) -> bool {
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
