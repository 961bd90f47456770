//! Recorded observations and actions, which verify that a loaded bundle acts as before.

use rekindle_catalog::CatalogError;
use rekindle_core::Generator;
use rekindle_env::{BoxDType, Buffer, Space};
use rekindle_rl_module::ModuleError;

use super::PolicyBundle;
use crate::{Result, RunnerError};

/// Rows of a test vector.
const ROWS: usize = 16;
/// Attempts to draw an observation that the policy can act on.
const TRIES: usize = 100;
/// Relative difference of continuous actions between devices that is tolerated.
const TOLERANCE: f32 = 1e-4;

/// Draws observations that the policy can act on.
///
/// # Errors
/// [`RunnerError::NoTestObservations`] with the reason of the last attempt, if all attempts fail.
pub(super) fn draw(policy: &PolicyBundle) -> Result<Buffer> {
    let space = &policy.config.observation_space;
    let mut probe = policy.clone();
    let mut rng = Generator::from_seed(0);
    let mut drawn = Buffer::zeros(space, 0);
    let mut one = Buffer::zeros(space, 1);
    for _ in 0..ROWS {
        let mut tries = 0;
        loop {
            space.sample_into(&mut rng, one.row_mut(0))?;
            probe.reset();
            match probe.compute_actions(&one, false) {
                Ok(_) => break,
                Err(error) if !is_about_values(&error) => return Err(error),
                Err(error) if tries >= TRIES => {
                    let (space, source) = (space.to_string(), Box::new(error));
                    return Err(RunnerError::NoTestObservations { space, source });
                }
                Err(_) => tries += 1,
            }
        }
        drawn.extend_from(&one, 0..1)?;
    }
    Ok(drawn)
}

/// Whether the error comes from the values of an observation, so that another observation may
/// succeed.
fn is_about_values(error: &RunnerError) -> bool {
    match error {
        RunnerError::NonFiniteAction { .. }
        | RunnerError::Module(ModuleError::AllMasked { .. }) => true,
        RunnerError::CannotAct { source, .. } => {
            matches!(**source, CatalogError::AllMasked { .. } | CatalogError::InvalidInput { .. })
        }
        _ => false,
    }
}

/// Checks that two columns of actions are equal, within the tolerance.
///
/// # Errors
/// [`RunnerError::TestVector`] with the largest difference.
pub(super) fn check(space: &Space, found: &Buffer, expected: &Buffer) -> Result<()> {
    let difference = difference(space, found, expected);
    if difference <= TOLERANCE { Ok(()) } else { Err(RunnerError::TestVector { difference }) }
}

/// Returns the largest difference between two columns of actions, relative to half the width of the
/// bounds, or to the size of the numbers where they are unbounded. Infinite if a choice differs, if
/// numbers differ in count, or if one is NaN.
fn difference(space: &Space, found: &Buffer, expected: &Buffer) -> f32 {
    let largest = |a: f32, b: f32| if a >= b { a } else { b };
    match space {
        Space::Dict(dict) => dict.iter().fold(0.0, |worst, (key, part)| {
            let (Ok(found), Ok(expected)) = (found.get(key), expected.get(key)) else {
                return f32::INFINITY;
            };
            largest(worst, difference(part, found, expected))
        }),
        Space::Tuple(tuple) => tuple.spaces().iter().enumerate().fold(0.0, |worst, (i, part)| {
            let (Ok(found), Ok(expected)) = (found.index(i), expected.index(i)) else {
                return f32::INFINITY;
            };
            largest(worst, difference(part, found, expected))
        }),
        Space::Box(space) if space.dtype() == BoxDType::Float32 => {
            let (Ok(found), Ok(expected)) = (found.as_f32(), expected.as_f32()) else {
                return f32::INFINITY;
            };
            if found.len() != expected.len() {
                return f32::INFINITY;
            }
            let bounds = space.low().iter().zip(space.high()).cycle();
            let numbers = found.iter().zip(expected).zip(bounds);
            numbers.fold(0.0, |worst, ((f, e), (low, high))| {
                largest(worst, relative(*f, *e, *low, *high))
            })
        }
        _ if found == expected => 0.0,
        _ => f32::INFINITY,
    }
}

fn relative(found: f32, expected: f32, low: f32, high: f32) -> f32 {
    if found == expected {
        return 0.0;
    }
    // The width of wide bounds is beyond single precision.
    let half = high / 2.0 - low / 2.0;
    let scale = if half.is_finite() && half > 0.0 { half } else { expected.abs().max(1.0) };
    let difference = (found - expected).abs() / scale;
    if difference.is_nan() { f32::INFINITY } else { difference }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differ(space: &Space, found: &[f32], expected: &[f32]) -> f32 {
        let column = |numbers: &[f32]| Buffer::from_f32(numbers.to_vec(), &[1]).unwrap();
        difference(space, &column(found), &column(expected))
    }

    #[test]
    fn nan_differs_from_everything_wherever_it_stands() {
        let space = Space::boxed(-1.0, 1.0, &[1]).unwrap();
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        for (found, expected) in [
            ([nan, 0.0], [0.0, 0.0]),
            ([0.0, nan], [0.0, 0.0]),
            ([0.0, 0.0], [nan, 0.0]),
            ([nan, 0.0], [nan, 0.0]),
            ([inf, 0.0], [-inf, 0.0]),
        ] {
            assert_eq!(differ(&space, &found, &expected), inf, "{found:?} {expected:?}");
        }
        let parts = [("a", space.clone()), ("b", space)];
        let dict = Space::dict(parts).unwrap();
        let pair = |a: f32, b: f32| {
            let column = |x| Buffer::from_f32(vec![x], &[1]).unwrap();
            Buffer::from_dict([("a", column(a)), ("b", column(b))]).unwrap()
        };
        assert_eq!(difference(&dict, &pair(nan, 0.0), &pair(0.0, 0.0)), inf);
    }

    #[test]
    fn differences_are_relative_to_the_bounds() {
        for bound in [1.0, 1e4, 1e-4] {
            let space = Space::boxed(-bound, bound, &[1]).unwrap();
            let near = differ(&space, &[bound * 0.500_01], &[bound * 0.5]);
            let far = differ(&space, &[bound * 0.51], &[bound * 0.5]);
            assert!(near <= TOLERANCE && far > TOLERANCE, "{bound}: {near} {far}");
        }
        let free = Space::unbounded(&[1]).unwrap();
        assert!(differ(&free, &[50_001.0], &[50_000.0]) <= TOLERANCE);
        assert!(differ(&free, &[0.501], &[0.5]) > TOLERANCE);
        let wide = Space::boxed(-3e38, 3e38, &[1]).unwrap();
        assert!(differ(&wide, &[1.500_01e38], &[1.5e38]) <= TOLERANCE);
        assert!(differ(&wide, &[1e30], &[0.0]) <= TOLERANCE);
        assert!(differ(&wide, &[-3e38], &[3e38]) > TOLERANCE);
        let half = Space::boxed(0.0, f32::INFINITY, &[1]).unwrap();
        assert!(differ(&half, &[50_100.0], &[50_000.0]) > TOLERANCE);
    }

    #[test]
    fn choices_must_be_equal() {
        let space = Space::discrete(3).unwrap();
        let column = |choices: &[i64]| Buffer::from_i64(choices.to_vec(), &[]).unwrap();
        assert_eq!(difference(&space, &column(&[0, 2]), &column(&[0, 2])), 0.0);
        assert_eq!(difference(&space, &column(&[0, 2]), &column(&[0, 1])), f32::INFINITY);
        assert_eq!(difference(&space, &column(&[0]), &column(&[0, 1])), f32::INFINITY);
    }
}
