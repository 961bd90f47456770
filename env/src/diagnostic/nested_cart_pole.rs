//! A pole on a cart with a nested observation.

use serde_json::Value as Json;

use crate::buffer::{Buffer, Row, RowMut};
use crate::classic_control::CartPole;
use crate::env::{Env, ResetOptions, Step};
use crate::error::{EnvError, Result};
use crate::options::EnvConfig;
use crate::render::Frame;
use crate::spaces::Space;

/// `NestedCartPole-v1`: [`CartPole`] whose observation is spread over a nested space.
///
/// The observation holds the same information as the flat one, so that an agent that reads every
/// part learns as well as in [`CartPole`], and one that loses a part does not:
///
/// - `cart`, a `Dict`: `position` and `velocity`, a `Box` of one number each.
/// - `pole`, a `Tuple`: the angle as a `Box` of one number (radians), and the side to which the
///   pole leans as a `Discrete`, 0 for left and 1 for right.
/// - `angular_velocity`, a `Box` of one number.
/// - `moves`, a `MultiDiscrete`: the directions in which the cart and the pole move, 0 for left and
///   1 for right.
///
/// Everything else, including options and random streams, is as in [`CartPole`].
#[derive(Clone, Debug)]
pub struct NestedCartPole {
    env: CartPole,
    observation_space: Space,
    /// The observation of `env`: one row.
    flat: Buffer,
}

impl NestedCartPole {
    /// Creates the environment, with the options of [`CartPole::new`].
    ///
    /// # Errors
    ///
    /// As for [`CartPole::new`].
    pub fn new(config: &EnvConfig) -> Result<Self> {
        let env = CartPole::new(config)?;
        let flat = env.observation_space().as_box()?;
        let number = |i: usize| Space::boxed(flat.low()[i], flat.high()[i], &[1]);
        let observation_space = Space::dict([
            ("cart", Space::dict([("position", number(0)?), ("velocity", number(1)?)])?),
            ("pole", Space::tuple([number(2)?, Space::discrete(2)?])?),
            ("angular_velocity", number(3)?),
            ("moves", Space::multi_discrete([2, 2])?),
        ])?;
        Ok(Self { flat: Buffer::zeros(env.observation_space(), 1), env, observation_space })
    }

    fn observe(&self, mut observation: RowMut<'_>) -> Result<()> {
        let &[x, x_dot, theta, theta_dot] = self.flat.as_f32()? else {
            return Err(EnvError::length("elements of a row", 4, self.flat.as_f32()?.len()));
        };
        let right = |number: f32| i64::from(number > 0.0);
        let mut cart = observation.get_mut("cart")?;
        cart.get_mut("position")?.write_f32(&[x])?;
        cart.get_mut("velocity")?.write_f32(&[x_dot])?;
        let mut pole = observation.get_mut("pole")?;
        pole.index_mut(0)?.write_f32(&[theta])?;
        pole.index_mut(1)?.write_discrete(right(theta))?;
        observation.get_mut("angular_velocity")?.write_f32(&[theta_dot])?;
        observation.get_mut("moves")?.write_i64(&[right(x_dot), right(theta_dot)])
    }
}

impl Env for NestedCartPole {
    fn observation_space(&self) -> &Space {
        &self.observation_space
    }

    fn action_space(&self) -> &Space {
        self.env.action_space()
    }

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<()> {
        self.env.reset(options, self.flat.row_mut(0))?;
        self.observe(observation)
    }

    #[inline]
    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step> {
        let step = self.env.step(action, self.flat.row_mut(0))?;
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
        "NestedCartPole"
    }
}
