//! A pole on a cart with hidden velocities.

use serde_json::Value as Json;

use crate::buffer::{Buffer, Row, RowMut};
use crate::classic_control::CartPole;
use crate::env::{Env, ResetOptions, Step};
use crate::error::Result;
use crate::options::EnvConfig;
use crate::render::Frame;
use crate::spaces::Space;

/// `StatelessCartPole-v1`: [`CartPole`] without velocities, so that an agent needs a memory.
/// RLlib's environment of the same name.
///
/// - Observation: cart position, pole angle (radians).
/// - Everything else, including options and random streams, is as in [`CartPole`].
#[derive(Clone, Debug)]
pub struct StatelessCartPole {
    env: CartPole,
    observation_space: Space,
    /// The observation of `env`: one row.
    full: Buffer,
}

impl StatelessCartPole {
    /// Creates the environment, with the options of [`CartPole::new`].
    ///
    /// # Errors
    ///
    /// As for [`CartPole::new`].
    pub fn new(config: &EnvConfig) -> Result<Self> {
        let env = CartPole::new(config)?;
        let space = env.observation_space().as_box()?;
        let pick = |bounds: &[f32]| [bounds[0], bounds[2]];
        let observation_space = Space::box_between(pick(space.low()), pick(space.high()))?;
        Ok(Self { full: Buffer::zeros(env.observation_space(), 1), env, observation_space })
    }

    fn observe(&self, mut observation: RowMut<'_>) -> Result<()> {
        match self.full.as_f32()? {
            &[x, _, theta, _] => observation.write_f32(&[x, theta]),
            other => observation.write_f32(other),
        }
    }
}

impl Env for StatelessCartPole {
    fn observation_space(&self) -> &Space {
        &self.observation_space
    }

    fn action_space(&self) -> &Space {
        self.env.action_space()
    }

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<()> {
        self.env.reset(options, self.full.row_mut(0))?;
        self.observe(observation)
    }

    #[inline]
    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step> {
        let step = self.env.step(action, self.full.row_mut(0))?;
        self.observe(observation)?;
        Ok(step)
    }

    fn render(&mut self) -> Result<Frame> {
        self.env.render()
    }

    fn state(&self) -> Result<Option<Json>> {
        self.env.state()
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        self.env.set_state(state)
    }

    fn name(&self) -> &str {
        "StatelessCartPole"
    }
}
