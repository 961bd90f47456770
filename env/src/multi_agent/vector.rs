//! Vectors of multi-agent environments that are stepped together.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{AgentSpec, MultiAgentActions, MultiAgentStep, debug_agents};
use crate::env::Info;
use crate::error::{EnvError, Result};
use crate::render::Frame;
use crate::vector::{check_len, unsupported};

/// The results of a reset or a step of a [`MultiAgentVectorEnv`].
///
/// A caller creates it once; every step overwrites it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MultiAgentVectorStep {
    pub(super) current: Vec<MultiAgentStep>,
    pub(super) ended: Vec<MultiAgentStep>,
    pub(super) done: Vec<bool>,
}

impl MultiAgentVectorStep {
    /// Creates results for `num_envs` environments with these agents.
    #[must_use]
    pub fn new(agents: &[AgentSpec], num_envs: usize) -> Self {
        let steps = vec![MultiAgentStep::new(agents); num_envs];
        Self { current: steps.clone(), ended: steps, done: vec![false; num_envs] }
    }

    /// Returns the number of environments.
    #[must_use]
    pub fn num_envs(&self) -> usize {
        self.current.len()
    }

    /// Returns whether environment `index` ended an episode in this step.
    #[inline]
    #[must_use]
    pub fn is_done(&self, index: usize) -> bool {
        self.done.get(index) == Some(&true)
    }

    /// Iterates over the outcomes of the last actions, one per environment: rewards, flags and
    /// observations. If an episode ended, its outcome is the last step of that episode.
    #[must_use]
    pub fn outcomes(&self) -> impl ExactSizeIterator<Item = &MultiAgentStep> {
        let steps = self.current.iter().zip(&self.ended).zip(&self.done);
        steps.map(|((current, ended), &done)| if done { ended } else { current })
    }

    /// Returns the outcome of the last actions in environment `index`, as in
    /// [`outcomes`](Self::outcomes).
    #[inline]
    #[must_use]
    pub fn outcome(&self, index: usize) -> Option<&MultiAgentStep> {
        if self.is_done(index) { self.ended.get(index) } else { self.current.get(index) }
    }

    /// Returns the current step of every environment: what its agents observe now, and who must
    /// act. Where an episode ended, this is the start of the next episode.
    #[inline]
    #[must_use]
    pub fn current(&self) -> &[MultiAgentStep] {
        &self.current
    }

    pub(super) fn check(&self, num_envs: usize) -> Result<()> {
        for steps in [self.current.len(), self.ended.len(), self.done.len()] {
            check_len("environments in `out`", num_envs, steps)?;
        }
        Ok(())
    }
}

/// Multi-agent environments with the same agents, reset and stepped together.
///
/// As in a [`VectorEnv`](crate::VectorEnv), the step that ends an episode also resets its
/// environment. [`outcome`](MultiAgentVectorStep::outcome) is then the last step of the ended
/// episode, and [`current`](MultiAgentVectorStep::current) the start of the next. Otherwise the two
/// are the same.
///
/// # Errors
///
/// An environment that fails does not stop the others. [`reset`](Self::reset),
/// [`reset_with`](Self::reset_with) and [`step`](Self::step) run every environment and then return
/// [`EnvError::SubEnv`], or [`EnvError::SubEnvs`] if several failed.
/// [`EnvError::failed_envs`] lists the failures. After such a call:
///
/// - All other environments are valid.
/// - An environment whose step failed reports no observations, rewards or flags. Its episode is
///   lost.
/// - A failed environment that [`is_done`](MultiAgentVectorStep::is_done) ended its episode, whose
///   outcome is valid, and then failed to start the next one.
///
/// [`reset_one`](Self::reset_one) restarts a failed environment. [`EnvError::is_recoverable`]
/// distinguishes failures of environments from mistakes in a program. Any other error, such as a
/// wrong number of actions, is returned before anything is done.
pub trait MultiAgentVectorEnv: Send {
    /// Returns the number of environments.
    fn num_envs(&self) -> usize;

    /// Returns every agent that may appear in an environment, in the order of their indices.
    fn possible_agents(&self) -> &[AgentSpec];

    /// Starts an episode in every environment, with one seed for each (see
    /// [`seeds_from`](crate::seeds_from)).
    ///
    /// # Errors
    ///
    /// As for [`reset_with`](Self::reset_with).
    fn reset(&mut self, seeds: &[Option<u64>], out: &mut MultiAgentVectorStep) -> Result<()> {
        self.reset_with(seeds, &Map::new(), out)
    }

    /// Starts an episode in every environment, with one seed for each and the same reset options.
    ///
    /// # Errors
    ///
    /// As described at [`MultiAgentVectorEnv`]; also [`EnvError::ShapeMismatch`] if the number of seeds or the size of
    /// `out` is wrong.
    fn reset_with(
        &mut self,
        seeds: &[Option<u64>],
        options: &Map<String, Json>,
        out: &mut MultiAgentVectorStep,
    ) -> Result<()>;

    /// Starts an episode in environment `index` only, for example after a failure.
    ///
    /// The environment is no longer [done](MultiAgentVectorStep::is_done), and its
    /// [`current`](MultiAgentVectorStep::current) step is the first of the new episode. Other
    /// environments are unchanged.
    ///
    /// # Errors
    ///
    /// [`EnvError::SubEnv`] if the environment fails, [`EnvError::RowOutOfRange`] if `index` is not
    /// below [`num_envs`](Self::num_envs), [`EnvError::Unsupported`] if the vector cannot reset
    /// environments one by one.
    fn reset_one(
        &mut self,
        _index: usize,
        _seed: Option<u64>,
        _out: &mut MultiAgentVectorStep,
    ) -> Result<()> {
        Err(unsupported::<Self>("reset_one"))
    }

    /// Performs the actions of every environment's agents: `actions[i]` in environment `i`.
    ///
    /// # Errors
    ///
    /// As described at [`MultiAgentVectorEnv`]; also [`EnvError::ShapeMismatch`] if the number of actions or the size of
    /// `out` is wrong.
    fn step(&mut self, actions: &[MultiAgentActions], out: &mut MultiAgentVectorStep)
    -> Result<()>;

    /// Returns the info of environment `index`; see
    /// [`MultiAgentEnv::info`](super::MultiAgentEnv::info).
    ///
    /// If the last step ended an episode, the environment has been reset since, and this describes
    /// the new episode. The info of the step that ended the old one is
    /// [`final_info`](Self::final_info).
    fn info(&self, _index: usize) -> Info {
        Info::new()
    }

    /// Returns the info of the step that ended an episode of environment `index`, such as
    /// `is_success`.
    ///
    /// It belongs to the same step as [`outcome`](MultiAgentVectorStep::outcome), and is only
    /// meaningful if that environment [`is_done`](MultiAgentVectorStep::is_done). A vector without
    /// infos returns an empty one.
    fn final_info(&self, _index: usize) -> Info {
        Info::new()
    }

    /// Returns a picture of environment `index`; see [`MultiAgentEnv::render`](super::MultiAgentEnv::render).
    ///
    /// # Errors
    ///
    /// [`EnvError::SubEnv`] with an [`EnvError::CannotRender`] if the environment draws nothing, and
    /// [`EnvError::RowOutOfRange`] if `index` is not below [`num_envs`](Self::num_envs).
    fn render(&mut self, index: usize) -> Result<Frame> {
        let error = EnvError::cannot_render(std::any::type_name::<Self>());
        Err(EnvError::at(index)(error))
    }

    /// Sets whether the last picture of each episode of environment `index` is kept for
    /// [`final_frame`](Self::final_frame). Off by default.
    fn keep_final_frame(&mut self, _index: usize, _keep: bool) {}

    /// Returns the picture after the step that ended an episode of environment `index`, before its reset. It belongs to
    /// the same step as [`final_info`](Self::final_info). `None` if it was not
    /// [kept](Self::keep_final_frame).
    fn final_frame(&mut self, _index: usize) -> Option<Frame> {
        None
    }

    /// Returns everything needed to continue exactly from here, or `None` if an environment does
    /// not support that.
    ///
    /// The current observations are in the [`MultiAgentVectorStep`]; save it as well.
    ///
    /// # Errors
    ///
    /// The errors of its environments.
    fn state(&self) -> Result<Option<Json>> {
        Ok(None)
    }

    /// Continues from a state that [`state`](Self::state) returned.
    ///
    /// # Errors
    ///
    /// [`EnvError::Unsupported`] if the vector does not save its state, [`EnvError::InvalidState`]
    /// or [`EnvError::ShapeMismatch`] if the state is not one of this vector, and the errors of its
    /// environments.
    fn set_state(&mut self, _state: &Json) -> Result<()> {
        Err(unsupported::<Self>("set_state"))
    }
}

impl fmt::Debug for dyn MultiAgentVectorEnv + '_ {
    /// Shows the number of environments and the agents with their spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("MultiAgentVectorEnv");
        text.field("num_envs", &self.num_envs());
        debug_agents(self.possible_agents(), &mut text)
    }
}

impl<V: MultiAgentVectorEnv + ?Sized> MultiAgentVectorEnv for Box<V> {
    fn num_envs(&self) -> usize {
        (**self).num_envs()
    }

    fn possible_agents(&self) -> &[AgentSpec] {
        (**self).possible_agents()
    }

    fn reset_with(
        &mut self,
        seeds: &[Option<u64>],
        options: &Map<String, Json>,
        out: &mut MultiAgentVectorStep,
    ) -> Result<()> {
        (**self).reset_with(seeds, options, out)
    }

    fn reset_one(
        &mut self,
        index: usize,
        seed: Option<u64>,
        out: &mut MultiAgentVectorStep,
    ) -> Result<()> {
        (**self).reset_one(index, seed, out)
    }

    fn step(
        &mut self,
        actions: &[MultiAgentActions],
        out: &mut MultiAgentVectorStep,
    ) -> Result<()> {
        (**self).step(actions, out)
    }

    fn info(&self, index: usize) -> Info {
        (**self).info(index)
    }

    fn final_info(&self, index: usize) -> Info {
        (**self).final_info(index)
    }

    fn render(&mut self, index: usize) -> Result<Frame> {
        (**self).render(index)
    }

    fn keep_final_frame(&mut self, index: usize, keep: bool) {
        (**self).keep_final_frame(index, keep);
    }

    fn final_frame(&mut self, index: usize) -> Option<Frame> {
        (**self).final_frame(index)
    }

    fn state(&self) -> Result<Option<Json>> {
        (**self).state()
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        (**self).set_state(state)
    }
}
