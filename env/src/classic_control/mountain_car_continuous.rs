//! A weak car in a valley, with a continuous throttle.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::mountain_car::{
    GRAVITY, MAX_POSITION, MAX_SPEED, MIN_POSITION, draw, observation_space,
};
use super::{continuous_action, reset_bounds};
use crate::buffer::{Row, RowMut};
use crate::env::{Env, ResetOptions, Step, load_state, save_state};
use crate::error::Result;
use crate::np_random::Generator;
use crate::options::EnvConfig;
use crate::render::Frame;
use crate::spaces::Space;

const GOAL_POSITION: f64 = 0.45;
const POWER: f64 = 0.0015;

/// `MountainCarContinuous-v0`: swing a weak car out of a valley with as little force as possible.
///
/// - Observation: position, velocity.
/// - Action: the force, clipped to `[-1, 1]`.
/// - Reward: `-0.1 action²` per step, with the unclipped action, and 100 for reaching the goal.
/// - Terminates at position 0.45 with a velocity of at least the option `goal_velocity` (0).
/// - Starts at rest, uniform in `[-0.6, -0.4]`; the reset options `low` and `high` change these
///   bounds.
#[derive(Clone, Debug)]
pub struct MountainCarContinuous {
    observation_space: Space,
    action_space: Space,
    goal_velocity: f64,
    state: State,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    rng: Generator,
    /// Position, velocity.
    physics: [f64; 2],
    /// Whether the numbers are single precision: Gymnasium draws the initial state in double
    /// precision and keeps every later one in single precision.
    single: bool,
}

impl MountainCarContinuous {
    /// Creates the environment. Option: `goal_velocity` (0).
    ///
    /// # Errors
    ///
    /// [`EnvError`](crate::EnvError) for an unknown option or one of another type.
    pub fn new(config: &EnvConfig) -> Result<Self> {
        config.deny_unknown("MountainCarContinuous", &["goal_velocity"])?;
        Ok(Self {
            observation_space: observation_space()?,
            action_space: Space::boxed(-1.0, 1.0, &[1])?,
            goal_velocity: config.get_f64("goal_velocity")?.unwrap_or(0.0),
            state: State { rng: Generator::from_entropy(), physics: [0.0; 2], single: false },
        })
    }
}

impl Env for MountainCarContinuous {
    fn observation_space(&self) -> &Space {
        &self.observation_space
    }

    fn action_space(&self) -> &Space {
        &self.action_space
    }

    fn reset(&mut self, options: &ResetOptions, mut observation: RowMut<'_>) -> Result<()> {
        let (low, high) = reset_bounds(self.name(), options, (-0.6, -0.4))?;
        self.state.rng.reseed(options.seed);
        self.state.physics = [self.state.rng.uniform(low, high), 0.0];
        self.state.single = false;
        observation.write_f32(&self.state.physics.map(|x| x as f32))
    }

    #[inline]
    fn step(&mut self, action: Row<'_>, mut observation: RowMut<'_>) -> Result<Step> {
        let action = continuous_action(&self.action_space, action)?;
        let [position, velocity] = self.state.physics;
        // For one sum or product of single-precision numbers, rounding the double-precision result
        // gives exactly the single-precision result.
        let single = self.state.single;
        let round = |x: f64| if single { f64::from(x as f32) } else { x };

        let slope = GRAVITY * round(3.0 * position).cos();
        let acceleration = if (-1.0..=1.0).contains(&action) {
            f64::from(action * POWER as f32 - slope as f32)
        } else {
            // Gymnasium's clipping replaces the single-precision action with a Python float.
            round(f64::from(action.signum()) * POWER - slope)
        };
        let velocity = round(velocity + acceleration).clamp(-round(MAX_SPEED), round(MAX_SPEED));
        let position = round(position + velocity).clamp(round(MIN_POSITION), round(MAX_POSITION));
        let at_wall = position == round(MIN_POSITION) && velocity < 0.0;
        let velocity = if at_wall { 0.0 } else { velocity };

        let terminated = position >= round(GOAL_POSITION) && velocity >= round(self.goal_velocity);
        let effort = f64::from(action) * f64::from(action) * 0.1;
        let reward = if terminated { 100.0 } else { 0.0 } - effort;

        let physics = [position as f32, velocity as f32];
        self.state.physics = physics.map(f64::from);
        self.state.single = true;
        observation.write_f32(&physics)?;
        Ok(Step { reward, terminated, truncated: false })
    }

    fn render(&mut self) -> Result<Frame> {
        draw(self.state.physics[0], GOAL_POSITION)
    }

    fn state(&self) -> Result<Option<Json>> {
        save_state(&self.state)
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        self.state = load_state(self.name(), state)?;
        Ok(())
    }

    fn name(&self) -> &str {
        "MountainCarContinuous"
    }
}
