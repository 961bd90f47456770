//! Vectors that are registered with their own entry point.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::{VectorEnv, VectorStep};
use crate::buffer::Buffer;
use crate::env::Info;
use crate::error::{EnvError, Result};
use crate::render::Frame;
use crate::spaces::Space;

/// Checks what a user's vector observes, and names its errors by the registered id.
///
/// Vectors of single environments need no such wrapper, because each environment has its own.
pub(crate) struct CheckedVectorEnv<V> {
    env: V,
    id: Arc<str>,
    /// Whether the observation space has choices to check.
    has_choices: bool,
}

impl<V: VectorEnv> CheckedVectorEnv<V> {
    pub(crate) fn new(env: V, id: Arc<str>) -> Self {
        let has_choices = env.observation_space().has_choices();
        Self { env, id, has_choices }
    }

    fn named<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| error.with_env(&self.id))
    }

    /// Fails on the first row with a choice that does not exist. Final observations are checked
    /// only where an episode ended: the others are stale.
    fn check(&self, rows: std::ops::Range<usize>, out: &VectorStep) -> Result<()> {
        if !self.has_choices {
            return Ok(());
        }
        let space = self.env.observation_space();
        for index in rows {
            let last = out.is_done(index).then(|| out.final_observations.row(index));
            let mut rows = last.into_iter().chain([out.observations.row(index)]);
            if let Some(row) = rows.find(|row| !space.contains_choices(*row)) {
                let error = EnvError::invalid_observation(&self.id, space, row);
                return Err(EnvError::at(index)(error));
            }
        }
        Ok(())
    }
}

impl<V: VectorEnv> VectorEnv for CheckedVectorEnv<V> {
    fn num_envs(&self) -> usize {
        self.env.num_envs()
    }

    fn observation_space(&self) -> &Space {
        self.env.observation_space()
    }

    fn action_space(&self) -> &Space {
        self.env.action_space()
    }

    fn reset_with(
        &mut self,
        seeds: &[Option<u64>],
        options: &Map<String, Json>,
        out: &mut VectorStep,
    ) -> Result<()> {
        let reset = self.env.reset_with(seeds, options, out);
        self.named(reset)?;
        self.check(0..self.env.num_envs(), out)
    }

    fn reset_one(&mut self, index: usize, seed: Option<u64>, out: &mut VectorStep) -> Result<()> {
        let reset = self.env.reset_one(index, seed, out);
        self.named(reset)?;
        self.check(index..index + 1, out)
    }

    fn step(&mut self, actions: &Buffer, out: &mut VectorStep) -> Result<()> {
        let stepped = self.env.step(actions, out);
        self.named(stepped)?;
        self.check(0..self.env.num_envs(), out)
    }

    fn info(&self, index: usize) -> Info {
        self.env.info(index)
    }

    fn final_info(&self, index: usize) -> Info {
        self.env.final_info(index)
    }

    fn render(&mut self, index: usize) -> Result<Frame> {
        let rendered = self.env.render(index);
        self.named(rendered)
    }

    fn keep_final_frame(&mut self, index: usize, keep: bool) {
        self.env.keep_final_frame(index, keep);
    }

    fn final_frame(&mut self, index: usize) -> Option<Frame> {
        self.env.final_frame(index)
    }

    fn state(&self) -> Result<Option<Json>> {
        self.named(self.env.state())
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        let set = self.env.set_state(state);
        self.named(set)
    }
}
