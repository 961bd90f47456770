//! Many multi-agent environments stepped as one.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{AgentSpec, MultiAgentActions, MultiAgentStep, debug_agents};
#[cfg(doc)]
use crate::EnvError;
use crate::vector::{check_len, unsupported};
use crate::{Info, Result};

/// What a vector of multi-agent environments reports after a reset or a step.
///
/// It is made once and overwritten by every step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MultiAgentVectorStep {
    pub(super) current: Vec<MultiAgentStep>,
    pub(super) ended: Vec<MultiAgentStep>,
    pub(super) done: Vec<bool>,
}

impl MultiAgentVectorStep {
    /// Room for `num_envs` environments with these agents.
    #[must_use]
    pub fn new(agents: &[AgentSpec], num_envs: usize) -> Self {
        let steps = vec![MultiAgentStep::new(agents); num_envs];
        Self { current: steps.clone(), ended: steps, done: vec![false; num_envs] }
    }

    /// The number of environments.
    #[must_use]
    pub fn num_envs(&self) -> usize {
        self.current.len()
    }

    /// Whether environment `index` finished an episode in this step.
    #[inline]
    #[must_use]
    pub fn is_done(&self, index: usize) -> bool {
        self.done.get(index) == Some(&true)
    }

    /// What the last actions led to in every environment: rewards, flags, and observations. Of an
    /// episode that ended these are its last ones.
    pub fn outcomes(&self) -> impl ExactSizeIterator<Item = &MultiAgentStep> {
        let steps = self.current.iter().zip(&self.ended).zip(&self.done);
        steps.map(|((current, ended), &done)| if done { ended } else { current })
    }

    /// What the last actions led to in environment `index`, as in [`outcomes`](Self::outcomes).
    #[inline]
    #[must_use]
    pub fn outcome(&self, index: usize) -> Option<&MultiAgentStep> {
        if self.is_done(index) { self.ended.get(index) } else { self.current.get(index) }
    }

    /// What the agents of every environment see now, and who must act. Where an episode ended, this
    /// is the beginning of the next.
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
/// Episodes follow each other without a gap, as in [`VectorEnv`](crate::VectorEnv): the step that
/// ends an episode also resets its environment. [`outcome`](MultiAgentVectorStep::outcome) is the
/// last step of the ended episode then, [`current`](MultiAgentVectorStep::current) the beginning of
/// the next. Where no episode ended, the two are the same.
///
/// # Errors
///
/// An environment that fails does not stop the others. [`reset`](Self::reset),
/// [`reset_with`](Self::reset_with) and [`step`](Self::step) serve every environment and then return
/// [`EnvError::SubEnv`], or [`EnvError::SubEnvs`] if several failed;
/// [`EnvError::failed_envs`] lists them. Of such a call,
///
/// - all other environments are what they would have been without the failure;
/// - a failed environment whose step failed reports nothing: no observations, rewards or flags. Its
///   episode is lost;
/// - a failed environment that [`is_done`](MultiAgentVectorStep::is_done) had ended its episode,
///   whose outcome is good, and failed to begin the next one.
///
/// [`reset_one`](Self::reset_one) starts a failed environment again; steps go on as if nothing had
/// happened then. [`EnvError::is_recoverable`] tells breakdowns from mistakes in a program. Any other
/// error, such as one about a wrong number of actions, comes before anything was done.
pub trait MultiAgentVectorEnv: Send {
    /// The number of environments.
    fn num_envs(&self) -> usize;

    /// Every agent that may ever appear in an environment, in the order of their indices.
    fn possible_agents(&self) -> &[AgentSpec];

    /// Starts an episode in every environment, with one seed each (see
    /// [`seeds_from`](crate::seeds_from)).
    fn reset(&mut self, seeds: &[Option<u64>], out: &mut MultiAgentVectorStep) -> Result<()> {
        self.reset_with(seeds, &Map::new(), out)
    }

    /// Starts an episode in every environment, with one seed each and the same reset options.
    fn reset_with(
        &mut self,
        seeds: &[Option<u64>],
        options: &Map<String, Json>,
        out: &mut MultiAgentVectorStep,
    ) -> Result<()>;

    /// Starts an episode in environment `index` alone, after it failed or for any other reason.
    ///
    /// It is not [done](MultiAgentVectorStep::is_done) any more, and its
    /// [`current`](MultiAgentVectorStep::current) step is the first of the new episode; everything
    /// about the other environments stays as it is.
    ///
    /// # Errors
    ///
    /// [`EnvError::SubEnv`] if the environment fails again, [`EnvError::RowOutOfRange`] if there is
    /// none at `index`, [`EnvError::Unsupported`] if this kind of vector cannot do it.
    fn reset_one(
        &mut self,
        _index: usize,
        _seed: Option<u64>,
        _out: &mut MultiAgentVectorStep,
    ) -> Result<()> {
        Err(unsupported::<Self>("reset_one"))
    }

    /// Performs the actions of every environment's agents: `actions[i]` in environment `i`.
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

    /// Everything needed to go on exactly from here, or `None` where an environment cannot tell.
    ///
    /// What the agents see now is in the [`MultiAgentVectorStep`], to be saved beside this.
    fn state(&self) -> Result<Option<Json>> {
        Ok(None)
    }

    /// Goes on from a state that [`state`](Self::state) returned.
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

    fn state(&self) -> Result<Option<Json>> {
        (**self).state()
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        (**self).set_state(state)
    }
}
