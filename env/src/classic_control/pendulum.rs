//! A pendulum that must be swung up.

use std::f64::consts::{PI, TAU};
use std::hint::black_box;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::continuous_action;
use crate::buffer::{Row, RowMut};
use crate::env::{Env, ResetOptions, Step, load_state, save_state};
use crate::error::{EnvError, Result};
use crate::np_random::Generator;
use crate::options::EnvConfig;
use crate::render::{Canvas, Frame, colors};
use crate::spaces::Space;

const MASS: f64 = 1.0;
const LENGTH: f64 = 1.0;
/// Seconds between two states.
const DT: f64 = 0.05;
const MAX_SPEED: f64 = 8.0;
const MAX_TORQUE: f32 = 2.0;

/// `Pendulum-v1`: swing a pendulum up and keep it there with little torque.
///
/// - Observation: cosine and sine of the angle (0 is upright), angular velocity.
/// - Action: the torque, clipped to `[-2, 2]`.
/// - Reward: `-(angle² + 0.1 velocity² + 0.001 torque²)` with the state before the step.
/// - Never terminates.
/// - Starts with the angle uniform in `[-x_init, x_init]` and the velocity in `[-y_init, y_init]`;
///   these are the reset options (pi and 1).
/// - Option: `g` (10), the gravity in m/s².
#[derive(Clone, Debug)]
pub struct Pendulum {
    observation_space: Space,
    action_space: Space,
    gravity: f64,
    state: State,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    rng: Generator,
    /// Angle, angular velocity.
    physics: [f64; 2],
}

impl Pendulum {
    /// Creates the environment. Option: `g` (10).
    ///
    /// # Errors
    ///
    /// [`EnvError`] for an unknown option or one of another type.
    pub fn new(config: &EnvConfig) -> Result<Self> {
        config.deny_unknown("Pendulum", &["g"])?;
        let high = [1.0, 1.0, MAX_SPEED as f32];
        Ok(Self {
            observation_space: Space::box_between(high.map(|bound| -bound), high)?,
            action_space: Space::boxed(-MAX_TORQUE, MAX_TORQUE, &[1])?,
            gravity: config.get_f64("g")?.unwrap_or(10.0),
            state: State { rng: Generator::from_entropy(), physics: [0.0; 2] },
        })
    }

    fn observe(&self, mut observation: RowMut<'_>) -> Result<()> {
        let [theta, theta_dot] = self.state.physics;
        observation.write_f32(&[theta.cos() as f32, theta.sin() as f32, theta_dot as f32])
    }
}

impl Env for Pendulum {
    fn observation_space(&self) -> &Space {
        &self.observation_space
    }

    fn action_space(&self) -> &Space {
        &self.action_space
    }

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<()> {
        options.deny_unknown(self.name(), &["x_init", "y_init"])?;
        let bounds = [limit(options, "x_init", PI)?, limit(options, "y_init", 1.0)?];
        self.state.rng.reseed(options.seed);
        self.state.physics = bounds.map(|bound| self.state.rng.uniform(-bound, bound));
        self.observe(observation)
    }

    #[inline]
    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step> {
        let torque = continuous_action(&self.action_space, action)?.clamp(-MAX_TORQUE, MAX_TORQUE);
        let [theta, theta_dot] = self.state.physics;

        // NumPy squares with C's power function, which rounds differently from a multiplication in one
        // of a thousand cases. Without `black_box`, the compiler replaces the power by a multiplication.
        let square = |x: f64| x.powf(black_box(2.0));

        // NumPy computes these two in single precision, because the torque is.
        let effort = f64::from(0.001 * torque.powf(black_box(2.0)));
        let thrust = f64::from((3.0 / (MASS * LENGTH * LENGTH)) as f32 * torque);

        let angle = (theta + PI).rem_euclid(TAU) - PI;
        let cost = square(angle) + 0.1 * square(theta_dot) + effort;

        let pull = 3.0 * self.gravity / (2.0 * LENGTH) * theta.sin();
        let theta_dot = (theta_dot + (pull + thrust) * DT).clamp(-MAX_SPEED, MAX_SPEED);
        self.state.physics = [theta + theta_dot * DT, theta_dot];
        self.observe(observation)?;
        Ok(Step::running(-cost))
    }

    fn render(&mut self) -> Result<Frame> {
        let [theta, _] = self.state.physics;
        let mut canvas = Canvas::new(500, 500, [-2.2 * LENGTH, 2.2 * LENGTH], -2.2 * LENGTH);
        let tip = [-LENGTH * theta.sin(), LENGTH * theta.cos()];
        canvas.line([0.0, 0.0], tip, 0.2, colors::RED);
        canvas.circle([0.0, 0.0], 0.05, colors::BLACK);
        // Gymnasium's videos are slower than the physics, too.
        Ok(canvas.into_frame()?.with_fps(30.0))
    }

    fn state(&self) -> Result<Option<Json>> {
        save_state(&self.state)
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        self.state = load_state(self.name(), state)?;
        Ok(())
    }

    fn name(&self) -> &str {
        "Pendulum"
    }
}

/// Returns the bound of a symmetric range of initial values.
fn limit(options: &ResetOptions, option: &str, default: f64) -> Result<f64> {
    match options.get_f64(option)?.unwrap_or(default) {
        bound if bound >= 0.0 => Ok(bound),
        bound => Err(EnvError::InvalidOption {
            option: option.to_owned(),
            expected: "at least 0".to_owned(),
            found: bound.to_string(),
        }),
    }
}
