//! Copies of an environment with time limits and automatic resets.

use burn::prelude::*;
use burn::tensor::Bool;

use super::TensorEnv;

/// Copies of a [`TensorEnv`], each in its own episode. A copy whose episode ends is reset in the same
/// step, as in a [`VectorEnv`](rekindle_env::VectorEnv).
#[derive(Debug, Clone)]
pub struct TensorVectorEnv<E> {
    env: E,
    /// `[N, S]`.
    state: Tensor<2>,
    /// Number of steps of the running episodes, `[N]`.
    elapsed: Tensor<1>,
}

/// The outcome of a step of a [`TensorVectorEnv`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TensorVectorStep {
    /// The observations that the next actions are chosen on, `[N, O]`. Where an episode ended, the
    /// first one of the next episode.
    pub observations: Tensor<2>,
    /// The observations that the actions led to, `[N, O]`. Where an episode ended, its final one.
    pub next_observations: Tensor<2>,
    /// Rewards, `[N]`.
    pub rewards: Tensor<1>,
    /// Which episodes reached a terminal state, `[N]`.
    pub terminated: Tensor<1, Bool>,
    /// Which episodes reached their time limit, `[N]`.
    pub truncated: Tensor<1, Bool>,
    /// Numbers of steps of the episodes, including this step, `[N]`.
    pub elapsed: Tensor<1>,
}

impl<E: TensorEnv> TensorVectorEnv<E> {
    /// Creates one copy per row of `uniform`, on its device, in their initial states.
    ///
    /// # Shapes
    /// `uniform`: `[N, R]`, numbers in [0, 1).
    #[must_use]
    pub fn new(env: E, uniform: Tensor<2>) -> Self {
        let elapsed = Tensor::zeros([uniform.dims()[0]], &uniform.device());
        let state = env.reset(uniform);
        Self { env, state, elapsed }
    }

    /// Returns the dynamics.
    #[must_use]
    pub fn env(&self) -> &E {
        &self.env
    }

    /// Returns the states of all copies, `[N, S]`.
    #[must_use]
    pub fn state(&self) -> Tensor<2> {
        self.state.clone()
    }

    /// Returns the number of steps of the running episodes, `[N]`.
    #[must_use]
    pub fn elapsed(&self) -> Tensor<1> {
        self.elapsed.clone()
    }

    /// Replaces the states and the numbers of steps of the running episodes.
    ///
    /// # Shapes
    /// `state`: `[N, S]`; `elapsed`: `[N]`.
    pub fn set_state(&mut self, state: Tensor<2>, elapsed: Tensor<1>) {
        self.state = state;
        self.elapsed = elapsed;
    }

    /// Returns the current observations, `[N, O]`.
    #[must_use]
    pub fn observations(&self) -> Tensor<2> {
        self.env.observe(self.state.clone())
    }

    /// Steps all copies. Those whose episode ends begin another one, drawn with `uniform`.
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
        self.elapsed = elapsed.clone().mask_fill(done, 0.0);
        let observations = self.observations();
        let rewards = step.rewards;
        TensorVectorStep {
            observations,
            next_observations,
            rewards,
            terminated,
            truncated,
            elapsed,
        }
    }
}
