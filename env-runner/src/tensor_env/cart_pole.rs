//! `CartPole-v1` as a tensor program.

use burn::prelude::*;
use rekindle_env::{Result, Space};

use super::{TensorEnv, TensorStep};

const GRAVITY: f32 = 9.8;
const MASS_POLE: f32 = 0.1;
const TOTAL_MASS: f32 = MASS_POLE + 1.0;
/// Half of the pole's length.
const LENGTH: f32 = 0.5;
const POLE_MASS_LENGTH: f32 = MASS_POLE * LENGTH;
const FORCE: f32 = 10.0;
/// Seconds between two states.
const TAU: f32 = 0.02;
const X_THRESHOLD: f32 = 2.4;
/// 12 degrees in radians.
const THETA_THRESHOLD: f32 = 12.0 * 2.0 * std::f32::consts::PI / 360.0;
const MAX_EPISODE_STEPS: usize = 500;

/// [`CartPole`](rekindle_env::classic_control::CartPole) with the time limit of `CartPole-v1`, 500
/// steps. States are observations: position, velocity, angle, angular velocity.
#[derive(Debug, Clone)]
pub struct TensorCartPole {
    observation_space: Space,
    action_space: Space,
}

impl TensorCartPole {
    /// Creates the environment with the spaces of `CartPole-v1`.
    ///
    /// # Errors
    /// If `CartPole-v1` is not registered. It is built in.
    pub fn new() -> Result<Self> {
        let env = rekindle_env::make("CartPole-v1")?;
        let observation_space = env.observation_space().clone();
        Ok(Self { observation_space, action_space: env.action_space().clone() })
    }
}

impl TensorEnv for TensorCartPole {
    fn observation_space(&self) -> &Space {
        &self.observation_space
    }

    fn action_space(&self) -> &Space {
        &self.action_space
    }

    fn max_episode_steps(&self) -> usize {
        MAX_EPISODE_STEPS
    }

    fn reset_draws(&self) -> usize {
        4
    }

    fn reset(&self, uniform: Tensor<2>) -> Tensor<2> {
        uniform * 0.1 - 0.05
    }

    fn observe(&self, state: Tensor<2>) -> Tensor<2> {
        state
    }

    fn step(&self, state: Tensor<2>, actions: Tensor<2>) -> TensorStep {
        let column = |i| state.clone().narrow(1, i, 1);
        let [x, x_dot, theta, theta_dot] = [column(0), column(1), column(2), column(3)];
        let force = actions * (2.0 * FORCE) - FORCE;

        let (sin, cos) = (theta.clone().sin(), theta.clone().cos());
        let swing = theta_dot.clone().square() * sin.clone() * POLE_MASS_LENGTH;
        let push = (force + swing) / TOTAL_MASS;
        let inertia = cos.clone().square() * (-MASS_POLE / TOTAL_MASS) + 4.0 / 3.0;
        let theta_acc = (sin * GRAVITY - cos.clone() * push.clone()) / (inertia * LENGTH);
        let x_acc = push - theta_acc.clone() * cos * (POLE_MASS_LENGTH / TOTAL_MASS);

        // Explicit Euler: positions move with the velocities before the step.
        let x = x + x_dot.clone() * TAU;
        let theta = theta + theta_dot.clone() * TAU;
        // A pole whose state is NaN counts as fallen: only a pole inside the bounds stands.
        let inside = x.clone().abs().lower_equal_elem(X_THRESHOLD);
        let stands = inside.bool_and(theta.clone().abs().lower_equal_elem(THETA_THRESHOLD));
        let state =
            Tensor::cat(vec![x, x_dot + x_acc * TAU, theta, theta_dot + theta_acc * TAU], 1);
        let rewards = Tensor::ones([state.dims()[0]], &state.device());
        TensorStep::new(state, rewards).terminated(stands.bool_not().squeeze_dim(1))
    }
}
