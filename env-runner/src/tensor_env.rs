//! Environments as tensor programs: thousands of copies stepped at once on the module's device.
//!
//! | item | description |
//! |---|---|
//! | [`TensorEnv`] | the dynamics of an environment, as functions over the states of all copies |
//! | [`TensorVectorEnv`] | copies with time limits and automatic resets |
//! | [`TensorEnvRunner`] | acts with a module and records, without waiting for the device |
//! | [`TensorRollout`] | the recorded steps, still on the device |
//! | [`TensorCartPole`], [`TensorPendulum`] | the environments of the same name |
//! | [`register_tensor_env`] | makes an environment known to runners with [`on_device`](crate::EnvRunnerConfig::on_device) |
//!
//! A runner of a registered environment is chosen by a setting: `env_runners.on_device` of an algorithm, or
//! [`on_device`](crate::EnvRunnerConfig::on_device) of an
//! [`EnvRunnerGroup`](crate::EnvRunnerGroup).
//!
//! They are part of this crate because `rekindle-env` does not depend on tensors.
//!
//! Random numbers are drawn on the host, from their own streams, and uploaded once per rollout. A seed
//! therefore gives the same numbers on every device; only arithmetic in single precision differs. The
//! environments of `rekindle-env` compute in double precision. Single steps of both agree to about
//! 1e-6; over whole episodes, chaotic dynamics let them diverge.

mod cart_pole;
mod check;
mod dry_run;
mod episodes;
mod noise;
mod on_device;
mod pendulum;
mod registry;
mod rollout;
mod runner;
mod sampler;
mod state;
mod vector;

use std::fmt::Debug;

use burn::prelude::*;
use burn::tensor::Bool;
use rekindle_env::Space;

pub use cart_pole::TensorCartPole;
pub use dry_run::dry_run_rollout_on_device;
pub(crate) use on_device::OnDeviceEnvRunner;
pub use pendulum::TensorPendulum;
pub use registry::register_tensor_env;
pub use rollout::{FinishedEpisodes, TensorRollout};
pub use runner::TensorEnvRunner;
pub use vector::{TensorVectorEnv, TensorVectorStep};

/// The dynamics of an environment as pure functions of the states of all copies.
///
/// # Shapes
/// `N` copies; `S` numbers per state, `O` per observation, `A` per action; `R` random numbers per
/// reset.
pub trait TensorEnv: Debug + Send {
    /// Returns the space of observations, `[O]`.
    fn observation_space(&self) -> &Space;

    /// Returns the space of actions: `Discrete`, or a bounded `Box` of shape `[A]`.
    fn action_space(&self) -> &Space;

    /// Returns the number of steps after which an episode is truncated.
    fn max_episode_steps(&self) -> usize;

    /// Returns `R`, the number of random numbers that an initial state depends on.
    fn reset_draws(&self) -> usize;

    /// Returns initial states, `[N, S]`, given numbers uniform in [0, 1), `[N, R]`.
    fn reset(&self, uniform: Tensor<2>) -> Tensor<2>;

    /// Returns the observations of states: `[N, S]` to `[N, O]`.
    fn observe(&self, state: Tensor<2>) -> Tensor<2>;

    /// Steps all copies from their states, `[N, S]`, with actions of the action space, `[N, A]`.
    /// Actions of a `Discrete` space are numbers, `[N, 1]`.
    fn step(&self, state: Tensor<2>, actions: Tensor<2>) -> TensorStep;
}

/// The outcome of a step of a [`TensorEnv`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TensorStep {
    /// The states after the step, `[N, S]`.
    pub state: Tensor<2>,
    /// The rewards, `[N]`.
    pub rewards: Tensor<1>,
    /// Which episodes reached a terminal state, `[N]`; `None` if the environment has none.
    pub terminated: Option<Tensor<1, Bool>>,
}

impl TensorStep {
    /// Creates a step after which no episode is in a terminal state.
    ///
    /// # Shapes
    /// `state`: `[N, S]`; `rewards`: `[N]`.
    #[must_use]
    pub fn new(state: Tensor<2>, rewards: Tensor<1>) -> Self {
        Self { state, rewards, terminated: None }
    }

    /// Sets which episodes reached a terminal state, `[N]`.
    #[must_use]
    pub fn terminated(mut self, terminated: Tensor<1, Bool>) -> Self {
        self.terminated = Some(terminated);
        self
    }
}
