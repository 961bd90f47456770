//! A weak car in a valley.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{discrete_action, reset_bounds};
use crate::buffer::{Row, RowMut};
use crate::env::{Env, ResetOptions, Step, load_state, save_state};
use crate::error::Result;
use crate::np_random::Generator;
use crate::options::EnvConfig;
use crate::render::{Canvas, Frame, Point, colors};
use crate::spaces::Space;

pub(super) const MIN_POSITION: f64 = -1.2;
pub(super) const MAX_POSITION: f64 = 0.6;
pub(super) const MAX_SPEED: f64 = 0.07;
const GOAL_POSITION: f64 = 0.5;
const FORCE: f64 = 0.001;
pub(super) const GRAVITY: f64 = 0.0025;

/// `MountainCar-v0`: swing a car that is too weak to climb the hill out of the valley.
///
/// - Observation: position, velocity.
/// - Actions: 0 accelerates to the left, 1 does nothing, 2 accelerates to the right.
/// - Reward: -1 per step.
/// - Terminates at position 0.5 with a velocity of at least the option `goal_velocity` (0).
/// - Starts at rest, uniform in `[-0.6, -0.4]`; the reset options `low` and `high` change these
///   bounds.
#[derive(Clone, Debug)]
pub struct MountainCar {
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
}

impl MountainCar {
    /// Creates the environment. Option: `goal_velocity` (0).
    ///
    /// # Errors
    ///
    /// [`EnvError`](crate::EnvError) for an unknown option or one of another type.
    pub fn new(config: &EnvConfig) -> Result<Self> {
        config.deny_unknown("MountainCar", &["goal_velocity"])?;
        Ok(Self {
            observation_space: observation_space()?,
            action_space: Space::discrete(3)?,
            goal_velocity: config.get_f64("goal_velocity")?.unwrap_or(0.0),
            state: State { rng: Generator::from_entropy(), physics: [0.0; 2] },
        })
    }
}

pub(super) fn observation_space() -> Result<Space> {
    let low = [MIN_POSITION, -MAX_SPEED].map(|bound| bound as f32);
    let high = [MAX_POSITION, MAX_SPEED].map(|bound| bound as f32);
    Space::box_between(low, high)
}

/// The picture of a car at `position` and of a flag at `goal`.
pub(super) fn draw(position: f64, goal: f64) -> Result<Frame> {
    let hill = |x: f64| [x, 0.45 * (3.0 * x).sin() + 0.55];
    let mut canvas = Canvas::new(400, 600, [MIN_POSITION, MAX_POSITION], 0.0);
    let part = |i: i32| hill(MIN_POSITION + f64::from(i) / 60.0 * (MAX_POSITION - MIN_POSITION));
    for i in 0..60 {
        canvas.line(part(i), part(i + 1), 0.006, colors::BLACK);
    }
    let [foot_x, foot_y] = hill(goal);
    canvas.line([foot_x, foot_y], [foot_x, foot_y + 0.15], 0.006, colors::BLACK);
    let flag = [[foot_x, foot_y + 0.15], [foot_x, foot_y + 0.1], [foot_x + 0.07, foot_y + 0.125]];
    canvas.polygon(&flag, colors::YELLOW);

    // The car stands on the hill: `along` is its slope.
    let (center, slope) = (hill(position), 1.35 * (3.0 * position).cos());
    let along = [1.0 / slope.hypot(1.0), slope / slope.hypot(1.0)];
    let place = |[x, y]: Point| {
        [center[0] + x * along[0] - y * along[1], center[1] + x * along[1] + y * along[0]]
    };
    let body = [[-0.06, 0.03], [0.06, 0.03], [0.06, 0.08], [-0.06, 0.08]];
    canvas.polygon(&body.map(place), colors::BLACK);
    for wheel in [-0.03, 0.03] {
        canvas.circle(place([wheel, 0.025]), 0.025, colors::GRAY);
    }
    Ok(canvas.into_frame()?.with_fps(30.0))
}

impl Env for MountainCar {
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
        observation.write_f32(&self.state.physics.map(|x| x as f32))
    }

    #[inline]
    fn step(&mut self, action: Row<'_>, mut observation: RowMut<'_>) -> Result<Step> {
        let direction = (discrete_action(&self.action_space, action)? - 1) as f64;
        let [position, velocity] = self.state.physics;

        let velocity = velocity + (direction * FORCE + (3.0 * position).cos() * -GRAVITY);
        let velocity = velocity.clamp(-MAX_SPEED, MAX_SPEED);
        let position = (position + velocity).clamp(MIN_POSITION, MAX_POSITION);
        let at_wall = position == MIN_POSITION && velocity < 0.0;
        let velocity = if at_wall { 0.0 } else { velocity };
        self.state.physics = [position, velocity];
        observation.write_f32(&self.state.physics.map(|x| x as f32))?;

        let terminated = position >= GOAL_POSITION && velocity >= self.goal_velocity;
        Ok(Step { reward: -1.0, terminated, truncated: false })
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
        "MountainCar"
    }
}
