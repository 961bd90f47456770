//! Observations with an action mask.

use std::borrow::Cow;

use rekindle_core::{Column, Columns};
use rekindle_env::{Discrete, Space};
use rekindle_onnx::{Value, Values};

use burn::prelude::Tensor;

use crate::error::{ModuleError, Result};

/// The division of observations into an action mask and what a network sees.
///
/// Observations have a mask if they are a Dict with a part `action_mask` of one number per action: 1 for an
/// allowed action and 0 for a masked one. With previous actions or rewards beside them, these observations are
/// themselves a part, [`Columns::ORIG_OBS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ActionMask {
    /// The part that the network sees; `None` if it sees a Dict of several.
    part: Option<String>,
    /// Whether previous actions or rewards are beside the observations.
    has_previous: bool,
}

impl ActionMask {
    /// Divides an observation space. Returns how its observations are divided, and the space of what the network
    /// sees; `None` if they have no mask.
    ///
    /// # Errors
    /// [`ModuleError::Mismatch`] if the mask does not fit the actions, or there is nothing beside it.
    pub(crate) fn divide(
        observations: &Space,
        actions: &Discrete,
    ) -> Result<Option<(Self, Space)>> {
        Self::divide_for(observations, actions.n())
    }

    /// Divides an observation space for a policy of choices: the mask of a `MultiDiscrete` space has the masks of its
    /// components one after the other.
    ///
    /// # Errors
    /// [`ModuleError::Mismatch`] if the mask does not fit the actions, the actions are no choices, or there is nothing
    /// beside the mask.
    pub(crate) fn divide_choices<'a>(
        observations: &'a Space,
        actions: &Space,
    ) -> Result<(Option<Self>, Cow<'a, Space>)> {
        let division = match number_of_choices(actions) {
            Some(n) => Self::divide_for(observations, n)?,
            None if has_action_mask(observations) => {
                return Err(ModuleError::Mismatch(format!(
                    "the part `action_mask` of the observations masks the choices of a Discrete or MultiDiscrete space, and the action space is {actions}; rename the part if it is no mask"
                )));
            }
            None => None,
        };
        Ok(match division {
            Some((mask, seen)) => (Some(mask), Cow::Owned(seen)),
            None => (None, Cow::Borrowed(observations)),
        })
    }

    fn divide_for(observations: &Space, n: usize) -> Result<Option<(Self, Space)>> {
        let Space::Dict(dict) = observations else { return Ok(None) };
        if let Ok(original) = dict.get(Columns::ORIG_OBS) {
            let Some((division, seen)) = Self::divide_for(original, n)? else { return Ok(None) };
            let parts = dict.iter().map(|(name, space)| match name {
                Columns::ORIG_OBS => (name, seen.clone()),
                _ => (name, space.clone()),
            });
            return Ok(Some((Self { has_previous: true, ..division }, Space::dict(parts)?)));
        }
        let Ok(mask) = dict.get(Columns::ACTION_MASK) else { return Ok(None) };
        let fits = match mask {
            Space::MultiBinary(mask) => mask.n() == n,
            Space::Box(mask) => mask.shape() == [n],
            _ => false,
        };
        if !fits {
            return Err(ModuleError::Mismatch(format!(
                "the part `action_mask` of the observations is {mask}, and there are {n} actions; make it a `MultiBinary` or `Box` of {n} numbers, or rename it if it is no mask"
            )));
        }
        let rest = dict.iter().filter(|(name, _)| *name != Columns::ACTION_MASK);
        let rest: Vec<_> = rest.map(|(name, space)| (name.to_owned(), space.clone())).collect();
        match &rest[..] {
            [] => Err(ModuleError::Mismatch(
                "the observations have an action mask and nothing beside it; add what the network is to see".into(),
            )),
            [(name, space)] => {
                Ok(Some((Self { part: Some(name.clone()), has_previous: false }, space.clone())))
            }
            _ => Ok(Some((Self { part: None, has_previous: false }, Space::dict(rest)?))),
        }
    }

    /// Returns what the network sees, and the mask if observations have one, `[B, actions]`.
    ///
    /// # Errors
    /// If a part is missing or of another kind.
    pub(crate) fn read_if<'c>(
        division: Option<&Self>,
        observations: &'c Column,
    ) -> Result<(Cow<'c, Column>, Option<Tensor<2>>)> {
        Ok(match division {
            None => (Cow::Borrowed(observations), None),
            Some(division) => {
                let (seen, mask) = division.read(observations)?;
                (Cow::Owned(seen), Some(mask))
            }
        })
    }

    /// Divides the observations of an ONNX graph, as [`read_if`](Self::read_if) does.
    ///
    /// # Errors
    /// If a part is missing.
    pub(crate) fn export_if(
        division: Option<&Self>,
        observations: &Values,
    ) -> Result<(Values, Option<Value>)> {
        let Some(division) = division else { return Ok((observations.clone(), None)) };
        if division.has_previous {
            let original = Self { has_previous: false, ..division.clone() };
            let (seen, mask) =
                Self::export_if(Some(&original), observations.part(Columns::ORIG_OBS)?)?;
            let path = [Columns::ORIG_OBS.to_owned()];
            let seen = observations.map_part::<ModuleError>(&path, &mut |_| Ok(seen.clone()))?;
            return Ok((seen, mask));
        }
        let mask = observations.part(Columns::ACTION_MASK)?.one()?.clone();
        let seen = match &division.part {
            Some(name) => observations.part(name)?.clone(),
            None => {
                let rest = observations.parts()?.iter();
                let rest = rest.filter(|(name, _)| name != Columns::ACTION_MASK);
                Values::Parts(rest.cloned().collect())
            }
        };
        Ok((seen, Some(mask)))
    }

    fn read(&self, observations: &Column) -> Result<(Column, Tensor<2>)> {
        let parts = observations.nested()?;
        if self.has_previous {
            let original = Self { has_previous: false, ..self.clone() };
            let (seen, mask) = original.read(parts.column(Columns::ORIG_OBS)?)?;
            return Ok((parts.clone().with(Columns::ORIG_OBS, seen).into(), mask));
        }
        let mask = parts.float::<2>(Columns::ACTION_MASK)?;
        let seen = match &self.part {
            Some(name) => parts.column(name)?.clone(),
            None => {
                let mut rest = parts.clone();
                rest.remove(Columns::ACTION_MASK);
                Column::Nested(rest)
            }
        };
        Ok((seen, mask))
    }
}

/// Returns the number of choices of a `Discrete` space, or of all components of a `MultiDiscrete` one; `None` for other
/// spaces.
pub(crate) fn number_of_choices(actions: &Space) -> Option<usize> {
    match actions {
        Space::Discrete(actions) => Some(actions.n()),
        Space::MultiDiscrete(actions) => Some(actions.nvec().iter().sum()),
        _ => None,
    }
}

/// Whether observations of a space have an action mask: a Dict with a part `action_mask`, or one in which previous
/// actions or rewards are beside such observations.
#[must_use]
pub fn has_action_mask(observations: &Space) -> bool {
    let Space::Dict(parts) = observations else { return false };
    match parts.get(Columns::ORIG_OBS) {
        Ok(original) => has_action_mask(original),
        Err(_) => parts.get(Columns::ACTION_MASK).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divide(parts: &[(&str, Space)], actions: usize) -> Result<Option<(ActionMask, Space)>> {
        let space = Space::dict(parts.iter().map(|(name, space)| (*name, space.clone()))).unwrap();
        ActionMask::divide(&space, &Discrete::new(actions).unwrap())
    }

    #[test]
    fn the_mask_of_several_choices_has_theirs_one_after_the_other() {
        let observations = |n| {
            let mask = Space::multi_binary(n).unwrap();
            Space::dict([("action_mask", mask), ("x", Space::unbounded(&[4]).unwrap())]).unwrap()
        };
        let divide = |n, actions: &Space| {
            let observations = observations(n);
            let (mask, seen) = ActionMask::divide_choices(&observations, actions)?;
            Ok::<_, ModuleError>((mask.is_some(), seen.into_owned()))
        };
        let seen = Space::unbounded(&[4]).unwrap();
        let several = Space::multi_discrete([2, 3]).unwrap();
        assert_eq!(divide(5, &several).unwrap(), (true, seen.clone()));
        assert_eq!(divide(3, &Space::discrete(3).unwrap()).unwrap(), (true, seen));
        let message = divide(2, &several).unwrap_err().to_string();
        assert!(message.contains("there are 5 actions"), "{message}");
        let message = divide(2, &Space::boxed(-1.0, 1.0, &[2]).unwrap()).unwrap_err().to_string();
        assert!(message.contains("rename the part if it is no mask"), "{message}");
    }

    #[test]
    fn the_network_sees_what_is_beside_the_mask() {
        let mask = ("action_mask", Space::multi_binary(3).unwrap());
        let seen = ("observations", Space::unbounded(&[4]).unwrap());
        let more = ("more", Space::discrete(2).unwrap());
        let (_, one) = divide(&[mask.clone(), seen.clone()], 3).unwrap().unwrap();
        assert_eq!(one, seen.1);
        let (_, two) = divide(&[mask.clone(), seen.clone(), more.clone()], 3).unwrap().unwrap();
        assert_eq!(two, Space::dict([seen.clone(), more.clone()]).unwrap());
        assert_eq!(divide(&[seen.clone(), more], 3).unwrap(), None);
        let previous = ("prev_n_actions", Space::discrete(3).unwrap());
        let original = Space::dict([mask.clone(), seen.clone()]).unwrap();
        let (_, beside) =
            divide(&[(Columns::ORIG_OBS, original), previous.clone()], 3).unwrap().unwrap();
        assert_eq!(beside, Space::dict([(Columns::ORIG_OBS, seen.1.clone()), previous]).unwrap());
        let message = |parts: &[(&str, Space)], actions| divide(parts, actions).unwrap_err();
        assert!(message(&[mask.clone(), seen], 4).to_string().contains("there are 4 actions"));
        assert!(message(&[mask], 3).to_string().contains("nothing beside it"));
    }
}
