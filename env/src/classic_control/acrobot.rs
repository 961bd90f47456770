//! A pendulum of two links that is driven at its elbow.

use std::f64::consts::{FRAC_PI_2, PI, TAU};

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

/// Seconds between two states.
const DT: f64 = 0.2;
const GRAVITY: f64 = 9.8;
const LINK_MASS_1: f64 = 1.0;
const LINK_MASS_2: f64 = 1.0;
const LINK_LENGTH_1: f64 = 1.0;
const LINK_COM_1: f64 = 0.5;
const LINK_COM_2: f64 = 0.5;
/// Moment of inertia of either link.
const LINK_MOI: f64 = 1.0;
const MAX_VELOCITY_1: f64 = 4.0 * PI;
const MAX_VELOCITY_2: f64 = 9.0 * PI;

/// `Acrobot-v1`: swing the tip of two linked rods above a line by torque on the joint between them.
///
/// - Observation: cosine and sine of each angle, and both angular velocities (radians per second).
/// - Actions: 0, 1 and 2 apply a torque of -1, 0 and 1 at the elbow.
/// - Reward: -1 per step, and 0 for the step that reaches the goal.
/// - Terminates when the tip is above the line, one link's length above the upper joint.
/// - Starts with all angles and velocities uniform in `[-0.1, 0.1]`; the reset options `low` and
///   `high` change these bounds.
#[derive(Clone, Debug)]
pub struct Acrobot {
    observation_space: Space,
    action_space: Space,
    state: State,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    rng: Generator,
    physics: Angles,
}

/// Angle of the upper link (0 hangs down), angle of the lower link relative to it, and both
/// angular velocities.
type Angles = [f64; 4];

impl Acrobot {
    /// Creates the environment, which has no options.
    ///
    /// # Errors
    ///
    /// [`EnvError::UnknownOption`](crate::EnvError::UnknownOption) for any option.
    pub fn new(config: &EnvConfig) -> Result<Self> {
        config.deny_unknown("Acrobot", &[])?;
        let high = [1.0, 1.0, 1.0, 1.0, MAX_VELOCITY_1 as f32, MAX_VELOCITY_2 as f32];
        Ok(Self {
            observation_space: Space::box_between(high.map(|bound| -bound), high)?,
            action_space: Space::discrete(3)?,
            state: State { rng: Generator::from_entropy(), physics: [0.0; 4] },
        })
    }

    fn observe(&self, mut observation: RowMut<'_>) -> Result<()> {
        let [theta1, theta2, dtheta1, dtheta2] = self.state.physics;
        let numbers = [theta1.cos(), theta1.sin(), theta2.cos(), theta2.sin(), dtheta1, dtheta2];
        observation.write_f32(&numbers.map(|x| x as f32))
    }
}

impl Env for Acrobot {
    fn observation_space(&self) -> &Space {
        &self.observation_space
    }

    fn action_space(&self) -> &Space {
        &self.action_space
    }

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<()> {
        let (low, high) = reset_bounds(self.name(), options, (-0.1, 0.1))?;
        self.state.rng.reseed(options.seed);
        // Gymnasium rounds the initial state, and only this one, to single precision.
        self.state.physics =
            std::array::from_fn(|_| f64::from(self.state.rng.uniform(low, high) as f32));
        self.observe(observation)
    }

    #[inline]
    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step> {
        let torque = (discrete_action(&self.action_space, action)? - 1) as f64;
        let [theta1, theta2, dtheta1, dtheta2] = runge_kutta(&self.state.physics, torque);
        self.state.physics = [
            wrap(theta1),
            wrap(theta2),
            dtheta1.clamp(-MAX_VELOCITY_1, MAX_VELOCITY_1),
            dtheta2.clamp(-MAX_VELOCITY_2, MAX_VELOCITY_2),
        ];
        self.observe(observation)?;

        let [theta1, theta2, ..] = self.state.physics;
        let terminated = -theta1.cos() - (theta2 + theta1).cos() > 1.0;
        let reward = if terminated { 0.0 } else { -1.0 };
        Ok(Step { reward, terminated, truncated: false })
    }

    fn render(&mut self) -> Result<Frame> {
        let [theta1, theta2, ..] = self.state.physics;
        // Both links have the same length.
        let (length, reach) = (LINK_LENGTH_1, 2.2 * LINK_LENGTH_1);
        let mut canvas = Canvas::new(500, 500, [-reach, reach], -reach);
        canvas.line([-reach, length], [reach, length], 0.02, colors::BLACK);
        let elbow = [length * theta1.sin(), -length * theta1.cos()];
        let angle = theta1 + theta2;
        let tip = [elbow[0] + length * angle.sin(), elbow[1] - length * angle.cos()];
        for (from, to) in [([0.0, 0.0], elbow), (elbow, tip)] {
            canvas.line(from, to, 0.2, colors::TEAL);
            canvas.circle(from, 0.1, colors::YELLOW);
        }
        Ok(canvas.into_frame()?.with_fps(15.0))
    }

    fn state(&self) -> Result<Option<Json>> {
        save_state(&self.state)
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        self.state = load_state(self.name(), state)?;
        Ok(())
    }

    fn name(&self) -> &str {
        "Acrobot"
    }
}

/// One step of the classical fourth-order Runge-Kutta method.
fn runge_kutta(state: &Angles, torque: f64) -> Angles {
    let moved = |dt: f64, slope: &Angles| std::array::from_fn(|i| state[i] + dt * slope[i]);
    let k1 = derivative(state, torque);
    let k2 = derivative(&moved(DT / 2.0, &k1), torque);
    let k3 = derivative(&moved(DT / 2.0, &k2), torque);
    let k4 = derivative(&moved(DT, &k3), torque);
    moved(DT / 6.0, &std::array::from_fn(|i| k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i]))
}

/// The equations of motion of Sutton and Barto's book.
fn derivative(&[theta1, theta2, dtheta1, dtheta2]: &Angles, torque: f64) -> Angles {
    const M1: f64 = LINK_MASS_1;
    const M2: f64 = LINK_MASS_2;
    const L1: f64 = LINK_LENGTH_1;
    const LC1: f64 = LINK_COM_1;
    const LC2: f64 = LINK_COM_2;
    const I: f64 = LINK_MOI;
    let (sin2, cos2) = (theta2.sin(), theta2.cos());
    let d1 = M1 * LC1 * LC1 + M2 * (L1 * L1 + LC2 * LC2 + 2.0 * L1 * LC2 * cos2) + I + I;
    let d2 = M2 * (LC2 * LC2 + L1 * LC2 * cos2) + I;
    let phi2 = M2 * LC2 * GRAVITY * (theta1 + theta2 - FRAC_PI_2).cos();
    let phi1 = -M2 * L1 * LC2 * (dtheta2 * dtheta2) * sin2
        - 2.0 * M2 * L1 * LC2 * dtheta2 * dtheta1 * sin2
        + (M1 * LC1 + M2 * L1) * GRAVITY * (theta1 - FRAC_PI_2).cos()
        + phi2;
    let ddtheta2 = (torque + d2 / d1 * phi1 - M2 * L1 * LC2 * (dtheta1 * dtheta1) * sin2 - phi2)
        / (M2 * LC2 * LC2 + I - d2 * d2 / d1);
    let ddtheta1 = -(d2 * ddtheta2 + phi1) / d1;
    [dtheta1, dtheta2, ddtheta1, ddtheta2]
}

/// The same angle within `[-pi, pi]`.
fn wrap(mut angle: f64) -> f64 {
    // Bounded velocities turn a link by less than this in one step. Reset options may start beyond
    // it, where the loops below would take too long.
    if angle.abs() > 4.0 * TAU {
        return (angle + PI).rem_euclid(TAU) - PI;
    }
    while angle > PI {
        angle -= TAU;
    }
    while angle < -PI {
        angle += TAU;
    }
    angle
}
