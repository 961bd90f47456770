//! One trajectory, for a postprocessing function.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use rekindle_core::Columns;
use rekindle_env::{AgentId, Buffer};
use rekindle_env_runner::{Segment, SegmentEnd};
use rekindle_learner::ops::{gae, returns_to_go};
use rekindle_learner::{LearnerError, PrepareContext, Result, TrainData};

use super::agent_steps::AgentSteps;

/// Values of all rows, and of the observation after each segment.
pub(super) type Values = OnceCell<(Vec<f32>, Vec<f32>)>;

/// The steps of one agent in one episode, or in the part of it that is in the batch. A postprocessing
/// function reads its columns and adds others, which the loss reads.
#[derive(Debug)]
pub struct Trajectory<'a> {
    cx: &'a PrepareContext<'a>,
    index: usize,
    steps: AgentSteps<'a>,
    values: &'a Values,
    added: BTreeMap<&'static str, Vec<f32>>,
}

impl<'a> Trajectory<'a> {
    pub(super) fn new(
        cx: &'a PrepareContext<'a>,
        data: &'a TrainData,
        index: usize,
        values: &'a Values,
    ) -> Self {
        let steps = AgentSteps { module_id: cx.module_id, data, segment: &data.segments[index] };
        Self { cx, index, steps, values, added: BTreeMap::new() }
    }

    pub(super) fn into_added(self) -> BTreeMap<&'static str, Vec<f32>> {
        self.added
    }

    /// Returns the number of steps.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there are no steps.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Returns how the trajectory ends.
    #[must_use]
    pub fn end(&self) -> SegmentEnd {
        self.steps.end()
    }

    /// Returns the agent; `None` in single-agent environments.
    #[must_use]
    pub fn agent(&self) -> Option<&'a AgentId> {
        self.steps.agent()
    }

    /// Returns the number of steps of the episode before the first one.
    #[must_use]
    pub fn t_started(&self) -> usize {
        self.steps.t_started()
    }

    /// Returns the rewards, `[T]`.
    ///
    /// # Errors
    /// If the experience is on an accelerator.
    pub fn rewards(&self) -> Result<&'a [f32]> {
        self.steps.rewards()
    }

    /// Returns the rows of any column, such as observations, next observations, actions and recorded
    /// outputs of the module ([`TrainData::column`]).
    ///
    /// # Errors
    /// If the column is missing.
    pub fn column(&self, name: &str) -> Result<Buffer> {
        self.steps.column(name)
    }

    /// Returns the steps of the other agents in the same episode, as far as this batch contains them. Agents whose
    /// modules do not learn are included. Rewards of agents whose modules learn have passed the learner connectors.
    /// Steps are counted per agent, so for agents that take turns, the same index is a different time in the episode.
    #[must_use]
    pub fn other_agents(&self) -> Vec<AgentSteps<'a>> {
        let own = self.steps.segment;
        let of_episode = |segment: &Segment| (segment.runner, segment.env, segment.episode);
        let modules = self.cx.experience().into_iter().flatten();
        let all = modules.flat_map(|(module_id, data)| {
            data.segments.iter().map(move |segment| AgentSteps { module_id, data, segment })
        });
        let others = all.filter(|steps| of_episode(steps.segment) == of_episode(own));
        others.filter(|steps| steps.segment.agent != own.agent).collect()
    }

    /// Returns the values of the observations, `[T]`, and of the one after the last step, which is 0 where
    /// the episode was terminated. The module computes them once for all trajectories.
    ///
    /// # Errors
    /// If the module has no value function or its pass fails.
    pub fn values(&self) -> Result<(&[f32], f32)> {
        if self.values.get().is_none() {
            let values = self.steps.data.values(self.cx.module, self.cx.device)?;
            self.values.get_or_init(|| values);
        }
        let none = || LearnerError::custom("values were not computed");
        let (values, after) = self.values.get().ok_or_else(none)?;
        Ok((&values[self.steps.segment.range()], after[self.index]))
    }

    /// Adds a column with one number per step.
    ///
    /// # Errors
    /// [`LearnerError::Custom`] unless there is one number for each step.
    pub fn insert(&mut self, name: &'static str, column: Vec<f32>) -> Result<()> {
        if column.len() != self.len() {
            let (expected, found) = (self.len(), column.len());
            return Err(LearnerError::custom(format!(
                "the postprocessing function added the column `{name}` with {found} numbers to a trajectory of {expected} steps; add one number for each step"
            )));
        }
        self.added.insert(name, column);
        Ok(())
    }

    /// Adds the discounted sums of the rewards until the end ([`Columns::RETURNS_TO_GO`]). A time limit counts as
    /// the end.
    ///
    /// # Errors
    /// [`LearnerError::NoBootstrap`] if the trajectory was cut off. Plans whose runners hand over fragments, such
    /// as [`AsyncGradients`](crate::AsyncGradients), cut trajectories off: take
    /// [`add_bootstrapped_returns_to_go`](Self::add_bootstrapped_returns_to_go) there.
    pub fn add_returns_to_go(&mut self, gamma: f32) -> Result<()> {
        if self.end() == SegmentEnd::Cut {
            return Err(LearnerError::NoBootstrap);
        }
        let returns = returns_to_go(self.rewards()?, 0.0, gamma);
        self.insert(Columns::RETURNS_TO_GO, returns)
    }

    /// Adds the discounted sums of the rewards until the end, and after a trajectory that was cut off or truncated
    /// the discounted value of the observation that follows ([`Columns::RETURNS_TO_GO`]). The value function must
    /// be trained, too: add the mean of `(cx.values()? − returns)²` to the loss.
    ///
    /// # Errors
    /// If the module has no value function or its pass fails.
    pub fn add_bootstrapped_returns_to_go(&mut self, gamma: f32) -> Result<()> {
        let (_, bootstrap) = self.values()?;
        let returns = returns_to_go(self.rewards()?, bootstrap, gamma);
        self.insert(Columns::RETURNS_TO_GO, returns)
    }

    /// Adds generalized advantage estimates ([`Columns::ADVANTAGES`]) and value targets
    /// ([`Columns::VALUE_TARGETS`]).
    ///
    /// # Errors
    /// If the module has no value function or its pass fails.
    pub fn add_advantages(&mut self, gamma: f32, lambda: f32) -> Result<()> {
        let (values, bootstrap) = self.values()?;
        let (advantages, targets) = gae(self.rewards()?, values, bootstrap, gamma, lambda)?;
        self.insert(Columns::ADVANTAGES, advantages)?;
        self.insert(Columns::VALUE_TARGETS, targets)
    }
}
