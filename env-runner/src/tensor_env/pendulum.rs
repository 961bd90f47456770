//! `Pendulum-v1` as a tensor program.

use std::f32::consts::{PI, TAU};

use burn::prelude::*;
use rekindle_env::{Result, Space};

use super::{TensorEnv, TensorStep};

/// Seconds between two states.
const DT: f32 = 0.05;
const GRAVITY: f32 = 10.0;
const MAX_SPEED: f32 = 8.0;
const MAX_TORQUE: f32 = 2.0;
const MAX_EPISODE_STEPS: usize = 200;

/// [`Pendulum`](rekindle_env::classic_control::Pendulum) with the time limit of `Pendulum-v1`, 200
/// steps. Mass and length are 1. A state consists of the angle in [−π, π), 0 upright, and the angular
/// velocity.
#[derive(Debug, Clone)]
pub struct TensorPendulum {
    observation_space: Space,
    action_space: Space,
}

impl TensorPendulum {
    /// Creates the environment with the spaces of `Pendulum-v1`.
    ///
    /// # Errors
    /// If `Pendulum-v1` is not registered. It is built in.
    pub fn new() -> Result<Self> {
        let env = rekindle_env::make("Pendulum-v1")?;
        let observation_space = env.observation_space().clone();
        Ok(Self { observation_space, action_space: env.action_space().clone() })
    }
}

impl TensorEnv for TensorPendulum {
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
        2
    }

    fn reset(&self, uniform: Tensor<2>) -> Tensor<2> {
        let range = Tensor::<2>::from_floats([[PI, 1.0]], &uniform.device());
        (uniform * 2.0 - 1.0) * range
    }

    fn observe(&self, state: Tensor<2>) -> Tensor<2> {
        let theta = state.clone().narrow(1, 0, 1);
        let theta_dot = state.narrow(1, 1, 1);
        Tensor::cat(vec![theta.clone().cos(), theta.sin(), theta_dot], 1)
    }

    fn step(&self, state: Tensor<2>, actions: Tensor<2>) -> TensorStep {
        let theta = state.clone().narrow(1, 0, 1);
        let theta_dot = state.narrow(1, 1, 1);
        let torque = actions.clamp(-MAX_TORQUE, MAX_TORQUE);
        let cost = theta.clone().square()
            + theta_dot.clone().square() * 0.1
            + torque.clone().square() * 0.001;

        let acceleration = theta.clone().sin() * (1.5 * GRAVITY) + torque * 3.0;
        let theta_dot = (theta_dot + acceleration * DT).clamp(-MAX_SPEED, MAX_SPEED);
        let theta = theta + theta_dot.clone() * DT;
        // Keep the angle small: single precision loses digits of one that grows with every turn.
        let turns = ((theta.clone() + PI) / TAU).floor();
        let state = Tensor::cat(vec![theta - turns * TAU, theta_dot], 1);
        TensorStep::new(state, cost.neg().squeeze_dim(1))
    }
}
