//! Checks of values and modules before environments, learners or runners use them.

use rekindle_core::Column;
use rekindle_env::{BoxDType, Buffer, EnvError, Space};
use rekindle_rl_module::{AnyRLModule, reads_alike};

use crate::error::{Result, RunnerError};

/// Checks that a reward can be learned from: finite in the single precision of rollouts.
///
/// # Errors
/// [`RunnerError::InvalidReward`].
pub(crate) fn check_reward(
    env: &str,
    index: usize,
    agent: Option<&str>,
    reward: f64,
) -> Result<()> {
    if (reward as f32).is_finite() {
        return Ok(());
    }
    let agent = agent.map(Into::into);
    Err(RunnerError::InvalidReward { env: env.into(), index, agent, reward })
}

/// Returns the first row of a column of `space` that holds a number that is not finite, with that
/// number.
pub(crate) fn find_non_finite(space: &Space, column: &Buffer) -> Option<(usize, f32)> {
    match space {
        Space::Box(space) if space.dtype() == BoxDType::Float32 => {
            let values = column.as_f32().ok()?;
            let at = values.iter().position(|value| !value.is_finite())?;
            Some((at * column.rows() / values.len(), values[at]))
        }
        Space::Dict(parts) => parts
            .iter()
            .find_map(|(key, part)| column.get(key).ok().and_then(|c| find_non_finite(part, c))),
        Space::Tuple(parts) => parts
            .spaces()
            .iter()
            .enumerate()
            .find_map(|(i, part)| column.index(i).ok().and_then(|c| find_non_finite(part, c))),
        _ => None,
    }
}

/// A choice that does not exist, in a column of a space.
#[derive(Debug, PartialEq)]
pub(crate) struct Outside {
    pub(crate) row: usize,
    pub(crate) value: String,
    /// The space that does not have it: that of the column, or a part of it.
    pub(crate) space: String,
}

impl Outside {
    #[cold]
    fn new(space: &Space, row: usize, value: String) -> Self {
        Self { row, value, space: space.to_string() }
    }
}

/// Whether a part of a space is a choice, which [`find_outside`] looks at.
pub(crate) fn has_choices(space: &Space) -> bool {
    match space {
        Space::Box(_) => false,
        Space::Discrete(_) | Space::MultiDiscrete(_) | Space::MultiBinary(_) => true,
        Space::Dict(parts) => parts.iter().any(|(_, part)| has_choices(part)),
        Space::Tuple(parts) => parts.spaces().iter().any(has_choices),
    }
}

/// Returns the first choice in a column of `space` that does not exist. Boxes are not checked.
pub(crate) fn find_outside(space: &Space, column: &Buffer) -> Option<Outside> {
    match space {
        Space::Box(_) => None,
        Space::Discrete(choice) => {
            let values = column.as_i64().ok()?;
            let row = values.iter().position(|&value| !choice.contains(value))?;
            Some(Outside::new(space, row, values[row].to_string()))
        }
        Space::MultiDiscrete(choices) => {
            let mut rows = column.as_i64().ok()?.chunks(choices.nvec().len().max(1)).enumerate();
            let (row, values) = rows.find(|(_, values)| !choices.contains(values))?;
            Some(Outside::new(space, row, format!("{values:?}")))
        }
        Space::MultiBinary(bits) => {
            let mut rows = column.as_u8().ok()?.chunks(bits.n().max(1)).enumerate();
            let (row, values) = rows.find(|(_, values)| !bits.contains(values))?;
            Some(Outside::new(space, row, format!("{values:?}")))
        }
        Space::Dict(parts) => parts
            .iter()
            .find_map(|(key, part)| column.get(key).ok().and_then(|c| find_outside(part, c))),
        Space::Tuple(parts) => parts
            .spaces()
            .iter()
            .enumerate()
            .find_map(|(i, part)| column.index(i).ok().and_then(|c| find_outside(part, c))),
    }
}

/// As [`find_outside`], for the bits in the `actions` of a module: their conversion to bytes hides
/// numbers below 0.
fn find_outside_bits(space: &Space, column: &Column) -> Option<Outside> {
    match (space, column) {
        (Space::MultiBinary(bits), Column::Tensor(tensor)) => {
            let values = tensor.to_i64().ok()?;
            let mut rows = values.chunks(bits.n().max(1)).enumerate();
            let (row, values) =
                rows.find(|(_, row)| row.iter().any(|bit| !(0..=1).contains(bit)))?;
            Some(Outside::new(space, row, format!("{values:?}")))
        }
        (Space::Dict(parts), Column::Nested(batch)) => {
            parts.iter().find_map(|(key, part)| find_outside_bits(part, batch.get(key).ok()??))
        }
        (Space::Tuple(parts), Column::Nested(batch)) => {
            let mut parts = parts.spaces().iter().enumerate();
            parts.find_map(|(i, part)| find_outside_bits(part, batch.get(&i.to_string()).ok()??))
        }
        _ => None,
    }
}

/// An action that no environment may receive.
#[derive(Debug)]
pub(crate) enum InvalidAction {
    NotFinite { row: usize, value: f32 },
    Outside(Outside),
}

impl InvalidAction {
    /// Returns the first invalid one of the actions that a module chose.
    pub(crate) fn find(space: &Space, actions: &Buffer) -> Option<Self> {
        match find_non_finite(space, actions) {
            Some((row, value)) => Some(Self::NotFinite { row, value }),
            None => find_outside(space, actions).map(Self::Outside),
        }
    }

    /// Returns the first invalid one of the bits in the `actions` that a module returned, before
    /// they are converted.
    pub(crate) fn find_bits(space: &Space, actions: Option<&Column>) -> Option<Self> {
        find_outside_bits(space, actions?).map(Self::Outside)
    }

    pub(crate) fn row(&self) -> usize {
        match self {
            Self::NotFinite { row, .. } | Self::Outside(Outside { row, .. }) => *row,
        }
    }

    /// The error for environment `index` of `env`; `origin` says where the action comes from.
    #[cold]
    pub(crate) fn error(self, env: &str, index: usize, origin: String) -> RunnerError {
        match self {
            Self::NotFinite { value, .. } => {
                RunnerError::InvalidAction { env: env.into(), index, value, origin }
            }
            Self::Outside(Outside { value, space, .. }) => {
                let place = format!("environment {index} of `{env}`");
                RunnerError::ActionOutsideSpace { place, value, space, origin }
            }
        }
    }

    /// The error for a row of a policy that acts without an environment.
    #[cold]
    pub(crate) fn error_of_row(self, origin: String) -> RunnerError {
        match self {
            Self::NotFinite { value, .. } => RunnerError::NonFiniteAction { origin, value },
            Self::Outside(Outside { row, value, space }) => {
                let place = format!("row {row}");
                RunnerError::ActionOutsideSpace { place, value, space, origin }
            }
        }
    }
}

/// The origin of an action in error messages that came out of connectors.
pub(crate) const ACTION_CONNECTOR: &str = "a module-to-env connector";

/// Checks that rows are elements of a space: their layout and their choices.
///
/// # Errors
/// [`EnvError::NotInSpace`].
pub(crate) fn check_rows(space: &Space, rows: &Buffer) -> Result<()> {
    if !rows.is_compatible(space) {
        let value = "a row of another kind or shape".into();
        return Err(EnvError::NotInSpace { space: space.to_string(), value }.into());
    }
    match find_outside(space, rows) {
        None => Ok(()),
        Some(Outside { value, space, .. }) => Err(EnvError::NotInSpace { space, value }.into()),
    }
}

/// Checks that a module reads the observations that it sees as those that it was built for
/// ([`reads_alike`]), and was built for the actions of its agents. A module whose spec names no spaces fits
/// any.
///
/// # Errors
/// [`RunnerError::ModuleSpaces`].
pub(crate) fn check_module(
    env: &str,
    id: &str,
    module: &AnyRLModule,
    [observations, actions]: [&Space; 2],
) -> Result<()> {
    let spec = module.spec();
    let refuse = |field, expected: &Space, found: &Space| {
        let [expected, found] = [expected, found].map(ToString::to_string);
        let (env, module) = (env.into(), id.into());
        Err(RunnerError::ModuleSpaces { env, module, field, expected, found })
    };
    match (spec.get_observation_space(), spec.get_action_space()) {
        (Some(built), _) if !reads_alike(built, observations) => {
            refuse("observation space", built, observations)
        }
        (_, Some(built)) if built != actions => refuse("action space", built, actions),
        _ => Ok(()),
    }
}

/// Checks that environments with other settings have the spaces of those before: observations and actions.
///
/// # Errors
/// [`RunnerError::OtherSpaces`].
pub(crate) fn check_same_spaces(env: &str, before: [&Space; 2], now: [&Space; 2]) -> Result<()> {
    let fields = ["observation space", "action space"];
    for ((field, expected), found) in fields.into_iter().zip(before).zip(now) {
        if expected != found {
            let [expected, found] = [expected, found].map(ToString::to_string);
            return Err(RunnerError::OtherSpaces { env: env.into(), field, expected, found });
        }
    }
    Ok(())
}

/// Turns an error of the environments into one that names the registered id.
pub(crate) fn of_env(env: &str) -> impl FnOnce(EnvError) -> RunnerError {
    move |source| match source {
        EnvError::WrongKindOfEnv { kind: "multi-agent", .. } => {
            RunnerError::MultiAgentEnv(env.into())
        }
        EnvError::WrongKindOfEnv { .. } => RunnerError::SingleAgent(env.into()),
        // These errors already name the requested id.
        EnvError::UnknownEnv { .. } | EnvError::InvalidId { .. } => source.into(),
        source => RunnerError::Environment { env: env.into(), source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_of_a_number_that_is_not_finite_is_found_at_any_depth() {
        let stick = Space::boxed(-1.0, 1.0, &[2]).unwrap();
        let nested = Space::tuple([Space::discrete(3).unwrap(), stick.clone()]).unwrap();
        let space = Space::dict([("a", nested), ("b", stick)]).unwrap();
        let mut column = Buffer::zeros(&space, 3);
        assert!(find_non_finite(&space, &column).is_none());
        column.row_mut(1).get_mut("b").unwrap().write_f32(&[0.0, f32::INFINITY]).unwrap();
        assert_eq!(find_non_finite(&space, &column), Some((1, f32::INFINITY)));
        let mut row = column.row_mut(2);
        let mut part = row.get_mut("a").unwrap();
        part.index_mut(1).unwrap().write_f32(&[f32::NAN, 0.0]).unwrap();
        assert_eq!(find_non_finite(&space, &column).unwrap().0, 2);
    }

    #[test]
    fn the_row_of_a_choice_that_does_not_exist_is_found_at_any_depth() {
        let start = rekindle_env::Discrete::with_start(3, -1).unwrap();
        let bits = Space::multi_binary(2).unwrap();
        let pair = Space::tuple([Space::Discrete(start), bits]).unwrap();
        let numbers = Space::multi_discrete([2, 3]).unwrap();
        let space = Space::dict([("a", pair), ("b", numbers)]).unwrap();
        assert!(has_choices(&space) && !has_choices(&Space::unbounded(&[2]).unwrap()));
        let mut column = Buffer::zeros(&space, 3);
        assert_eq!(find_outside(&space, &column), None);
        check_rows(&space, &column).unwrap();
        let find = |column: &Buffer| find_outside(&space, column).map(|o| (o.row, o.value));
        column.row_mut(2).get_mut("b").unwrap().write_i64(&[1, 3]).unwrap();
        assert_eq!(find(&column), Some((2, "[1, 3]".into())));
        column.row_mut(1).get_mut("a").unwrap().index_mut(1).unwrap().write_u8(&[2, 0]).unwrap();
        assert_eq!(find(&column), Some((1, "[2, 0]".into())));
        column.row_mut(1).get_mut("a").unwrap().index_mut(0).unwrap().write_discrete(2).unwrap();
        let found = find_outside(&space, &column).unwrap();
        assert_eq!((found.row, found.value.as_str()), (1, "2"));
        assert!(found.space.contains("Discrete(3"), "{}", found.space);
        assert!(check_rows(&space, &column).is_err());
        assert!(check_rows(&space, &Buffer::zeros(&Space::discrete(3).unwrap(), 1)).is_err());
    }

    #[test]
    fn rewards_have_to_fit_single_precision() {
        assert!(check_reward("X-v0", 0, None, -1e38).is_ok());
        for reward in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e39] {
            assert!(check_reward("X-v0", 0, None, reward).is_err(), "{reward}");
        }
    }
}
