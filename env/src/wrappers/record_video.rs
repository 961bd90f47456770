//! Videos of episodes.

use serde_json::{Map, Value as Json};

use crate::buffer::{Buffer, Row, RowMut};
use crate::env::{Env, Info, ResetOptions, Step};
use crate::error::{EnvError, Result};
use crate::multi_agent::{AgentSpec, MultiAgentActions, MultiAgentVectorEnv, MultiAgentVectorStep};
use crate::render::Frame;
use crate::spaces::Space;
use crate::vector::{VectorEnv, VectorStep};
use crate::video::{Recordings, VideoRecorder};

/// Records episodes as videos: an [`Env`], a [`VectorEnv`] or a [`MultiAgentVectorEnv`].
///
/// [`VideoRecorder`] chooses the episodes. A video has one frame for the reset and one for each step. The last frame of
/// an episode is missing in vectors that do not [keep](VectorEnv::keep_final_frame) it.
///
/// An episode that is recorded fails if it cannot be rendered ([`EnvError::CannotRender`]) or written
/// ([`EnvError::Video`]).
#[derive(Debug)]
pub struct RecordVideo<E> {
    env: E,
    recordings: Recordings,
}

impl<E> RecordVideo<E> {
    /// Wraps a single environment.
    #[must_use]
    pub fn new(env: E, recorder: VideoRecorder) -> Self {
        Self::with_num_envs(env, 1, recorder)
    }

    /// Wraps a vector of `num_envs` environments.
    #[must_use]
    pub fn with_num_envs(env: E, num_envs: usize, recorder: VideoRecorder) -> Self {
        Self { env, recordings: Recordings::new(recorder, num_envs) }
    }

    /// Returns the environment.
    #[must_use]
    pub fn env(&self) -> &E {
        &self.env
    }
}

impl<E: Env> Env for RecordVideo<E> {
    fn observation_space(&self) -> &Space {
        self.env.observation_space()
    }

    fn action_space(&self) -> &Space {
        self.env.action_space()
    }

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<()> {
        self.recordings.discard(0);
        self.env.reset(options, observation)?;
        if self.recordings.begin(0) {
            self.recordings.push(0, &self.env.render()?)?;
        }
        Ok(())
    }

    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step> {
        let step = self.env.step(action, observation);
        if self.recordings.is_recorded(0) {
            match &step {
                Err(_) => self.recordings.discard(0),
                Ok(step) => {
                    self.recordings.push(0, &self.env.render()?)?;
                    if step.is_done() {
                        self.recordings.end(0)?;
                    }
                }
            }
        }
        step
    }

    fn info(&self) -> Info {
        self.env.info()
    }

    fn render(&mut self) -> Result<Frame> {
        self.env.render()
    }

    fn state(&self) -> Result<Option<Json>> {
        self.env.state()
    }

    /// The episode that continues is not recorded.
    fn set_state(&mut self, state: &Json) -> Result<()> {
        self.recordings.discard(0);
        self.env.set_state(state)
    }

    fn name(&self) -> &str {
        self.env.name()
    }
}

/// What recording needs of a vector.
trait Rendered {
    fn num_envs(&self) -> usize;
    fn render(&mut self, index: usize) -> Result<Frame>;
    fn keep_final_frame(&mut self, index: usize, keep: bool);
    fn final_frame(&mut self, index: usize) -> Option<Frame>;
}

macro_rules! rendered {
    ($vector:ident, $name:ident) => {
        struct $name<'a, V>(&'a mut V);

        impl<V: $vector> Rendered for $name<'_, V> {
            fn num_envs(&self) -> usize {
                self.0.num_envs()
            }

            fn render(&mut self, index: usize) -> Result<Frame> {
                self.0.render(index)
            }

            fn keep_final_frame(&mut self, index: usize, keep: bool) {
                self.0.keep_final_frame(index, keep);
            }

            fn final_frame(&mut self, index: usize) -> Option<Frame> {
                self.0.final_frame(index)
            }
        }
    };
}

rendered!(VectorEnv, Single);
rendered!(MultiAgentVectorEnv, Multi);

impl Recordings {
    /// Begins the videos of environments that were reset.
    fn after_reset(
        &mut self,
        mut env: impl Rendered,
        rows: std::ops::Range<usize>,
        reset: Result<()>,
    ) -> Result<()> {
        rows.clone().for_each(|index| self.discard(index));
        let Some(failed) = failed(&reset) else { return reset };
        for index in rows.filter(|index| !failed.contains(index)) {
            self.begin_in(&mut env, index)?;
        }
        reset
    }

    fn begin_in(&mut self, env: &mut impl Rendered, index: usize) -> Result<()> {
        let is_recorded = self.begin(index);
        env.keep_final_frame(index, is_recorded);
        if is_recorded {
            self.push(index, &env.render(index)?)?;
        }
        Ok(())
    }

    /// Adds the frames of a step, completes the videos of episodes that ended, and begins the next ones.
    fn after_step(
        &mut self,
        mut env: impl Rendered,
        is_done: impl Fn(usize) -> bool,
        stepped: Result<()>,
    ) -> Result<()> {
        let Some(failed) = failed(&stepped) else { return stepped };
        for index in 0..env.num_envs() {
            let (is_done, has_failed) = (is_done(index), failed.contains(&index));
            if self.is_recorded(index) {
                if is_done {
                    if let Some(last) = env.final_frame(index) {
                        self.push(index, &last)?;
                    }
                    self.end(index)?;
                } else if has_failed {
                    self.discard(index);
                } else {
                    self.push(index, &env.render(index)?)?;
                }
            }
            if is_done && !has_failed {
                self.begin_in(&mut env, index)?;
            }
        }
        stepped
    }
}

/// The environments that failed in a call, or `None` if nothing was done.
fn failed(result: &Result<()>) -> Option<Vec<usize>> {
    let Err(error) = result else { return Some(Vec::new()) };
    let failed: Vec<_> = error.failed_envs().map(|(index, _): (usize, &EnvError)| index).collect();
    (!failed.is_empty()).then_some(failed)
}

impl<V: VectorEnv> VectorEnv for RecordVideo<V> {
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
        let rows = 0..self.env.num_envs();
        self.recordings.after_reset(Single(&mut self.env), rows, reset)
    }

    fn reset_one(&mut self, index: usize, seed: Option<u64>, out: &mut VectorStep) -> Result<()> {
        let reset = self.env.reset_one(index, seed, out);
        self.recordings.after_reset(Single(&mut self.env), index..index + 1, reset)
    }

    fn step(&mut self, actions: &Buffer, out: &mut VectorStep) -> Result<()> {
        let stepped = self.env.step(actions, out);
        self.recordings.after_step(Single(&mut self.env), |index| out.is_done(index), stepped)
    }

    fn info(&self, index: usize) -> Info {
        self.env.info(index)
    }

    fn final_info(&self, index: usize) -> Info {
        self.env.final_info(index)
    }

    fn render(&mut self, index: usize) -> Result<Frame> {
        self.env.render(index)
    }

    fn keep_final_frame(&mut self, index: usize, keep: bool) {
        self.env.keep_final_frame(index, keep);
    }

    fn final_frame(&mut self, index: usize) -> Option<Frame> {
        self.env.final_frame(index)
    }

    fn state(&self) -> Result<Option<Json>> {
        self.env.state()
    }

    /// The episodes that continue are not recorded.
    fn set_state(&mut self, state: &Json) -> Result<()> {
        (0..self.env.num_envs()).for_each(|index| self.recordings.discard(index));
        self.env.set_state(state)
    }
}

impl<V: MultiAgentVectorEnv> MultiAgentVectorEnv for RecordVideo<V> {
    fn num_envs(&self) -> usize {
        self.env.num_envs()
    }

    fn possible_agents(&self) -> &[AgentSpec] {
        self.env.possible_agents()
    }

    fn reset_with(
        &mut self,
        seeds: &[Option<u64>],
        options: &Map<String, Json>,
        out: &mut MultiAgentVectorStep,
    ) -> Result<()> {
        let reset = self.env.reset_with(seeds, options, out);
        let rows = 0..self.env.num_envs();
        self.recordings.after_reset(Multi(&mut self.env), rows, reset)
    }

    fn reset_one(
        &mut self,
        index: usize,
        seed: Option<u64>,
        out: &mut MultiAgentVectorStep,
    ) -> Result<()> {
        let reset = self.env.reset_one(index, seed, out);
        self.recordings.after_reset(Multi(&mut self.env), index..index + 1, reset)
    }

    fn step(
        &mut self,
        actions: &[MultiAgentActions],
        out: &mut MultiAgentVectorStep,
    ) -> Result<()> {
        let stepped = self.env.step(actions, out);
        self.recordings.after_step(Multi(&mut self.env), |index| out.is_done(index), stepped)
    }

    fn info(&self, index: usize) -> Info {
        self.env.info(index)
    }

    fn final_info(&self, index: usize) -> Info {
        self.env.final_info(index)
    }

    fn render(&mut self, index: usize) -> Result<Frame> {
        self.env.render(index)
    }

    fn keep_final_frame(&mut self, index: usize, keep: bool) {
        self.env.keep_final_frame(index, keep);
    }

    fn final_frame(&mut self, index: usize) -> Option<Frame> {
        self.env.final_frame(index)
    }

    fn state(&self) -> Result<Option<Json>> {
        self.env.state()
    }

    /// The episodes that continue are not recorded.
    fn set_state(&mut self, state: &Json) -> Result<()> {
        (0..self.env.num_envs()).for_each(|index| self.recordings.discard(index));
        self.env.set_state(state)
    }
}
