//! Copies of an environment that end and begin by themselves.

use burn::prelude::*;
use burn::tensor::Bool;

use super::TensorEnv;

/// Copies of a [`TensorEnv`], each in an episode of its own. A copy whose episode ends is reset in
/// the same step, as in [`VectorEnv`](rekindle_env::VectorEnv).
#[derive(Debug, Clone)]
pub struct TensorVectorEnv<E> {
    env: E,
    /// `[N, S]`.
    state: Tensor<2>,
    /// Steps of the running episodes, `[N]`.
    elapsed: Tensor<1>,
}

/// What a step of [`TensorVectorEnv`] leads to.
#[derive(Debug, Clone)]
pub struct TensorVectorStep {
    /// What the next actions are chosen from, `[N, O]`: where an episode ended, the first
    /// observation of the next one.
    pub observations: Tensor<2>,
    /// What the actions led to, `[N, O]`: where an episode ended, its final observation.
    pub next_observations: Tensor<2>,
    /// `[N]`.
    pub rewards: Tensor<1>,
    /// Which episodes ended by the rules of the environment, `[N]`.
    pub terminated: Tensor<1, Bool>,
    /// Which episodes came to their time limit, `[N]`.
    pub truncated: Tensor<1, Bool>,
}

impl<E: TensorEnv> TensorVectorEnv<E> {
    /// As many copies as `uniform` has rows, on its device, in their first states.
    ///
    /// # Shapes
    /// `uniform`: `[N, R]`, numbers in [0, 1).
    pub fn new(env: E, uniform: Tensor<2>) -> Self {
        let elapsed = Tensor::zeros([uniform.dims()[0]], &uniform.device());
        let state = env.reset(uniform);
        Self { env, state, elapsed }
    }

    /// The environment.
    pub fn env(&self) -> &E {
        &self.env
    }

    /// The states of all copies, `[N, S]`.
    pub fn state(&self) -> Tensor<2> {
        self.state.clone()
    }

    /// Steps of the running episodes, `[N]`.
    pub fn elapsed(&self) -> Tensor<1> {
        self.elapsed.clone()
    }

    /// Replaces the states and the steps of the running episodes.
    ///
    /// # Shapes
    /// `state`: `[N, S]`; `elapsed`: `[N]`.
    pub fn set_state(&mut self, state: Tensor<2>, elapsed: Tensor<1>) {
        self.state = state;
        self.elapsed = elapsed;
    }

    /// What is seen now, `[N, O]`.
    pub fn observations(&self) -> Tensor<2> {
        self.env.observe(self.state.clone())
    }

    /// Steps all copies. Those whose episode ends begin another one from `uniform`.
    ///
    /// # Shapes
    /// `actions`: `[N, A]`; `uniform`: `[N, R]`, numbers in [0, 1).
    pub fn step(&mut self, actions: Tensor<2>, uniform: Tensor<2>) -> TensorVectorStep {
        let step = self.env.step(self.state.clone(), actions);
        let elapsed = self.elapsed.clone() + 1.0;
        let limit = self.env.max_episode_steps() as f32;
        let truncated = elapsed.clone().greater_equal_elem(limit);
        let (done, terminated) = match step.terminated {
            Some(terminated) => (terminated.clone().bool_or(truncated.clone()), terminated),
            None => (truncated.clone(), truncated.clone().bool_not().bool_and(truncated.clone())),
        };
        let next_observations = self.env.observe(step.state.clone());
        let fresh = self.env.reset(uniform);
        let of_state = done.clone().unsqueeze_dim::<2>(1).expand(step.state.dims());
        self.state = step.state.mask_where(of_state, fresh);
        self.elapsed = elapsed.mask_fill(done, 0.0);
        let observations = self.observations();
        let rewards = step.rewards;
        TensorVectorStep { observations, next_observations, rewards, terminated, truncated }
    }
}
