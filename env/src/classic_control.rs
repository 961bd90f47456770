//! Gymnasium's classic control problems, with the same episodes from the same seeds.
//!
//! Random streams, rewards, flags and the order of all floating-point operations are Gymnasium's,
//! including the places where its dynamics run in single precision. The last digit may differ in
//! `sin` and `cos`, which depend on the mathematical library, and in squares within rewards, which
//! Gymnasium computes as powers. With glibc, recorded observations are equal bit for bit.

mod acrobot;
mod cart_pole;
mod mountain_car;
mod mountain_car_continuous;
mod pendulum;

pub use acrobot::Acrobot;
pub use cart_pole::CartPole;
pub use mountain_car::MountainCar;
pub use mountain_car_continuous::MountainCarContinuous;
pub use pendulum::Pendulum;

use crate::buffer::Row;
use crate::env::{ResetOptions, discrete_action, invalid_action};
use crate::error::{EnvError, Result};
use crate::registry::EnvSpec;
use crate::spaces::Space;

/// The environments of this module, with Gymnasium's limits and thresholds.
pub(crate) fn specs() -> Vec<EnvSpec> {
    vec![
        EnvSpec::new("Acrobot-v1", Acrobot::new)
            .with_max_episode_steps(500)
            .with_reward_threshold(-100.0),
        EnvSpec::new("CartPole-v1", CartPole::new)
            .with_max_episode_steps(500)
            .with_reward_threshold(475.0),
        EnvSpec::new("MountainCar-v0", MountainCar::new)
            .with_max_episode_steps(200)
            .with_reward_threshold(-110.0),
        EnvSpec::new("MountainCarContinuous-v0", MountainCarContinuous::new)
            .with_max_episode_steps(999)
            .with_reward_threshold(90.0),
        EnvSpec::new("Pendulum-v1", Pendulum::new).with_max_episode_steps(200),
    ]
}

/// Returns the single number of a continuous action. As in Gymnasium, it may be outside the bounds,
/// because the dynamics clip it.
#[inline]
fn continuous_action(space: &Space, action: Row<'_>) -> Result<f32> {
    match action.as_f32()? {
        &[number] if number.is_finite() => Ok(number),
        _ => Err(invalid_action(space, action)),
    }
}

/// Returns the bounds of the random initial state: the reset options `low` and `high`.
fn reset_bounds(env: &str, options: &ResetOptions, bounds: (f64, f64)) -> Result<(f64, f64)> {
    options.deny_unknown(env, &["low", "high"])?;
    let low = options.get_f64("low")?.unwrap_or(bounds.0);
    let high = options.get_f64("high")?.unwrap_or(bounds.1);
    if low > high {
        return Err(EnvError::InvalidOption {
            option: "low".to_owned(),
            expected: format!("at most `high` = {high}"),
            found: low.to_string(),
        });
    }
    Ok((low, high))
}
