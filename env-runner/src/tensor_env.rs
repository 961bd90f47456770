//! Environments as tensor programs: thousands of copies stepped at once where the module is.
//!
//! | item | is |
//! |---|---|
//! | [`TensorEnv`] | the dynamics of an environment, as functions over the states of all copies |
//! | [`TensorVectorEnv`] | copies that are counted, truncated and reset by themselves |
//! | [`TensorEnvRunner`] | acts with a module and records; the host waits for nothing in between |
//! | [`TensorRollout`] | what it recorded, still on the device |
//! | [`TensorCartPole`], [`TensorPendulum`] | the environments of the same name |
//!
//! They live beside the other runners, not in `rekindle-env`, which knows no tensors.
//!
//! Random numbers are drawn on the host, from streams of their own, and uploaded once per rollout:
//! a seed gives the same numbers on every device. What differs between devices is arithmetic in
//! single precision. The environments of `rekindle-env` compute in double precision; the two agree
//! step by step to about 1e-6, and over whole episodes only as far as chaos lets them.

mod cart_pole;
mod noise;
mod pendulum;
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
pub use pendulum::TensorPendulum;
pub use rollout::{FinishedEpisodes, TensorRollout};
pub use runner::TensorEnvRunner;
pub use vector::{TensorVectorEnv, TensorVectorStep};

/// The dynamics of an environment over all its copies: pure functions of their states.
///
/// # Shapes
/// `N` copies, `S` numbers of a state, `O` of an observation, `A` of an action, `R` that a reset
/// draws.
pub trait TensorEnv: Debug + Send {
    /// The space of observations, `[O]`.
    fn observation_space(&self) -> &Space;

    /// The space of actions: `Discrete`, or a bounded `Box` of shape `[A]`.
    fn action_space(&self) -> &Space;

    /// Steps after which an episode is truncated.
    fn max_episode_steps(&self) -> usize;

    /// `R`: the random numbers that an initial state is made of.
    fn reset_draws(&self) -> usize;

    /// Initial states, `[N, S]`, from numbers uniform in [0, 1), `[N, R]`.
    fn reset(&self, uniform: Tensor<2>) -> Tensor<2>;

    /// What is seen of states: `[N, S]` to `[N, O]`.
    fn observe(&self, state: Tensor<2>) -> Tensor<2>;

    /// Steps all copies from their states, `[N, S]`, by actions of the action space, `[N, A]`;
    /// those of a `Discrete` space are numbers, `[N, 1]`.
    fn step(&self, state: Tensor<2>, actions: Tensor<2>) -> TensorStep;
}

/// What a step of [`TensorEnv`] leads to.
#[derive(Debug, Clone)]
pub struct TensorStep {
    /// The states after it, `[N, S]`.
    pub state: Tensor<2>,
    /// The rewards, `[N]`.
    pub rewards: Tensor<1>,
    /// Which episodes it ended by the rules of the environment, `[N]`; `None` if they never do.
    pub terminated: Option<Tensor<1, Bool>>,
}
