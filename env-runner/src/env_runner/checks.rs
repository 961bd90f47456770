//! Checks of values and modules before environments, learners or runners use them.

use rekindle_env::{BoxDType, Buffer, EnvError, Space};
use rekindle_rl_module::AnyRLModule;

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

/// Checks that a module was built for the observations that it sees and the actions of its agents.
/// A module whose spec names no spaces fits any.
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
        (Some(built), _) if !reads(built, observations) => {
            refuse("observation space", built, observations)
        }
        (_, Some(built)) if built != actions => refuse("action space", built, actions),
        _ => Ok(()),
    }
}

/// Whether a module for one space reads observations of the other: bounds of float Boxes may differ.
fn reads(built: &Space, seen: &Space) -> bool {
    match (built, seen) {
        (Space::Box(a), Space::Box(b)) if a.dtype() == BoxDType::Float32 => {
            a.dtype() == b.dtype() && a.shape() == b.shape()
        }
        (Space::Dict(a), Space::Dict(b)) => {
            a.iter().count() == b.iter().count()
                && a.iter().zip(b.iter()).all(|((a, x), (b, y))| a == b && reads(x, y))
        }
        (Space::Tuple(a), Space::Tuple(b)) => {
            a.spaces().len() == b.spaces().len()
                && a.spaces().iter().zip(b.spaces()).all(|(x, y)| reads(x, y))
        }
        _ => built == seen,
    }
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
    fn rewards_have_to_fit_single_precision() {
        assert!(check_reward("X-v0", 0, None, -1e38).is_ok());
        for reward in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e39] {
            assert!(check_reward("X-v0", 0, None, reward).is_err(), "{reward}");
        }
    }

    #[test]
    fn bounds_of_float_observations_may_differ_and_nothing_else() {
        let (a, b) = (Space::boxed(-1.0, 1.0, &[2]).unwrap(), Space::unbounded(&[2]).unwrap());
        assert!(reads(&a, &b));
        assert!(!reads(&a, &Space::unbounded(&[3]).unwrap()));
        assert!(!reads(&Space::discrete(2).unwrap(), &Space::discrete(3).unwrap()));
        let dict = |part: &Space| Space::dict([("x", part.clone())]).unwrap();
        assert!(reads(&dict(&a), &dict(&b)) && !reads(&dict(&a), &a));
    }
}
