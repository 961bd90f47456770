//! A pole on a cart.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{discrete_action, reset_bounds};
use crate::buffer::{Row, RowMut};
use crate::env::{Env, ResetOptions, Step, load_state, save_state};
use crate::error::Result;
use crate::np_random::Generator;
use crate::options::EnvConfig;
use crate::render::{Canvas, Frame, colors};
use crate::spaces::Space;

const GRAVITY: f64 = 9.8;
const MASS_POLE: f64 = 0.1;
const TOTAL_MASS: f64 = MASS_POLE + 1.0;
/// Half of the pole's length.
const LENGTH: f64 = 0.5;
const POLE_MASS_LENGTH: f64 = MASS_POLE * LENGTH;
const FORCE: f64 = 10.0;
/// Seconds between two states.
const TAU: f64 = 0.02;
const X_THRESHOLD: f64 = 2.4;
/// 12 degrees in radians.
const THETA_THRESHOLD: f64 = 12.0 * 2.0 * std::f64::consts::PI / 360.0;

/// `CartPole-v1`: keep a pole upright by pushing its cart to the left or right.
///
/// - Observation: cart position, cart velocity, pole angle (radians), pole angular velocity.
/// - Actions: 0 pushes to the left, 1 to the right.
/// - Reward: 1 per step. With the option `sutton_barto_reward`, 0 per step and -1 at the end.
/// - Terminates when the pole leans by more than 12 degrees, or when the cart is more than 2.4 from
///   the center.
/// - Starts with all four numbers uniform in `[-0.05, 0.05]`; the reset options `low` and `high`
///   change these bounds.
#[derive(Clone, Debug)]
pub struct CartPole {
    observation_space: Space,
    action_space: Space,
    sutton_barto_reward: bool,
    state: State,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    rng: Generator,
    /// Position, velocity, angle, angular velocity.
    physics: [f64; 4],
}

impl CartPole {
    /// Creates the environment. Option: `sutton_barto_reward` (false).
    ///
    /// # Errors
    ///
    /// [`EnvError`](crate::EnvError) for an unknown option or one of another type.
    pub fn new(config: &EnvConfig) -> Result<Self> {
        config.deny_unknown("CartPole", &["sutton_barto_reward"])?;
        let (x, theta) = (2.0 * X_THRESHOLD as f32, (2.0 * THETA_THRESHOLD) as f32);
        let high = [x, f32::INFINITY, theta, f32::INFINITY];
        Ok(Self {
            observation_space: Space::box_between(high.map(|bound| -bound), high)?,
            action_space: Space::discrete(2)?,
            sutton_barto_reward: config.get_bool("sutton_barto_reward")?.unwrap_or(false),
            state: State { rng: Generator::from_entropy(), physics: [0.0; 4] },
        })
    }
}

impl Env for CartPole {
    fn observation_space(&self) -> &Space {
        &self.observation_space
    }

    fn action_space(&self) -> &Space {
        &self.action_space
    }

    #[inline]
    fn reset(&mut self, options: &ResetOptions, mut observation: RowMut<'_>) -> Result<()> {
        let (low, high) = reset_bounds(self.name(), options, (-0.05, 0.05))?;
        self.state.rng.reseed(options.seed);
        self.state.physics = std::array::from_fn(|_| self.state.rng.uniform(low, high));
        observation.write_f32(&self.state.physics.map(|x| x as f32))
    }

    #[inline]
    fn step(&mut self, action: Row<'_>, mut observation: RowMut<'_>) -> Result<Step> {
        let force = if discrete_action(&self.action_space, action)? == 1 { FORCE } else { -FORCE };
        let [x, x_dot, theta, theta_dot] = self.state.physics;

        let (sin, cos) = (theta.sin(), theta.cos());
        let push = (force + POLE_MASS_LENGTH * (theta_dot * theta_dot) * sin) / TOTAL_MASS;
        let theta_acc = (GRAVITY * sin - cos * push)
            / (LENGTH * (4.0 / 3.0 - MASS_POLE * (cos * cos) / TOTAL_MASS));
        let x_acc = push - POLE_MASS_LENGTH * theta_acc * cos / TOTAL_MASS;

        // Explicit Euler: positions move with the velocities before the step.
        let x = x + TAU * x_dot;
        let x_dot = x_dot + TAU * x_acc;
        let theta = theta + TAU * theta_dot;
        let theta_dot = theta_dot + TAU * theta_acc;
        self.state.physics = [x, x_dot, theta, theta_dot];
        observation.write_f32(&self.state.physics.map(|x| x as f32))?;

        let terminated = !(-X_THRESHOLD..=X_THRESHOLD).contains(&x)
            || !(-THETA_THRESHOLD..=THETA_THRESHOLD).contains(&theta);
        let reward = match (self.sutton_barto_reward, terminated) {
            (false, _) => 1.0,
            (true, false) => 0.0,
            (true, true) => -1.0,
        };
        Ok(Step { reward, terminated, truncated: false })
    }

    fn render(&mut self) -> Result<Frame> {
        let [x, _, theta, _] = self.state.physics;
        let mut canvas = Canvas::new(400, 600, [-X_THRESHOLD, X_THRESHOLD], -0.8);
        canvas.line([-X_THRESHOLD, 0.0], [X_THRESHOLD, 0.0], 0.01, colors::BLACK);
        canvas.rectangle([x - 0.2, -0.12], [x + 0.2, 0.12], colors::BLACK);
        let axle = [x, 0.06];
        let length = 2.0 * LENGTH;
        let tip = [x + length * theta.sin(), axle[1] + length * theta.cos()];
        canvas.line(axle, tip, 0.08, colors::BROWN);
        canvas.circle(axle, 0.04, colors::BLUE);
        Ok(canvas.into_frame()?.with_fps(1.0 / TAU))
    }

    fn state(&self) -> Result<Option<Json>> {
        save_state(&self.state)
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        self.state = load_state(self.name(), state)?;
        Ok(())
    }

    fn name(&self) -> &str {
        "CartPole"
    }
}
