//! What one agent of one environment does.

use rekindle_core::ModuleId;
use rekindle_env::{Buffer, Space};
use serde::{Deserialize, Serialize};

use crate::{Result, SegmentEnd};

/// Steps of one agent, a row each. While an action waits for its outcome, there is one reward less.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamColumns {
    pub(super) observations: Buffer,
    pub(super) actions: Buffer,
    pub(super) rewards: Vec<f32>,
    /// `action_dist_inputs`, row-major; empty if the module puts none out.
    pub(super) inputs: Vec<f32>,
    /// `action_logp`; empty if unknown.
    pub(super) logp: Vec<f32>,
    /// The states of a stateful module.
    pub(super) state_in: Option<Buffer>,
}

impl StreamColumns {
    fn new(observations: &Space, actions: &Space, initial_state: Option<&Buffer>) -> Result<Self> {
        Ok(Self {
            observations: Buffer::with_capacity(observations, 0),
            actions: Buffer::with_capacity(actions, 0),
            rewards: Vec::new(),
            inputs: Vec::new(),
            logp: Vec::new(),
            state_in: initial_state.map(|state| state.slice(0..0)).transpose()?,
        })
    }

    /// Steps whose outcome is known.
    pub(super) fn steps(&self) -> usize {
        self.rewards.len()
    }

    /// Whether an action waits for its outcome.
    pub(super) fn is_pending(&self) -> bool {
        self.observations.rows() > self.rewards.len()
    }

    /// Splits off the action that waits, if one does.
    fn split_pending(&mut self) -> Result<Self> {
        let (rows, steps) = (self.observations.rows(), self.steps());
        let split = |values: &mut Vec<f32>| {
            let width = values.len() / rows.max(1);
            values.split_off(width * steps)
        };
        let pending = Self {
            observations: self.observations.slice(steps..rows)?,
            actions: self.actions.slice(steps..rows)?,
            rewards: Vec::new(),
            inputs: split(&mut self.inputs),
            logp: split(&mut self.logp),
            state_in: self.state_in.as_ref().map(|s| s.slice(steps..rows)).transpose()?,
        };
        self.observations.truncate(steps);
        self.actions.truncate(steps);
        if let Some(states) = &mut self.state_in {
            states.truncate(steps);
        }
        Ok(pending)
    }
}

/// An agent that plays in an episode.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stream {
    pub(super) module: ModuleId,
    pub(super) columns: StreamColumns,
    /// What has been paid for the action that waits.
    reward: f64,
    /// The last action and its reward, for connectors that read them.
    pub(super) last_action: Buffer,
    pub(super) last_reward: f64,
    /// Whether it has not acted in this episode.
    pub(super) starts: bool,
    /// Steps before the columns.
    pub(super) t_started: usize,
    /// The state that a stateful module acts from next, one row.
    pub(super) state: Option<Buffer>,
    /// The sum of its rewards in this episode.
    pub(super) episode_return: f64,
}

/// A part of an agent's episode that is complete.
#[derive(Debug)]
pub(super) struct EndedSegment {
    pub(super) env: usize,
    pub(super) agent: usize,
    pub(super) episode: u64,
    pub(super) t_started: usize,
    pub(super) end: SegmentEnd,
    pub(super) columns: StreamColumns,
    /// One row.
    pub(super) final_observation: Buffer,
    pub(super) final_state: Option<Buffer>,
}

impl Stream {
    pub(super) fn new(
        module: ModuleId,
        observations: &Space,
        actions: &Space,
        initial_state: Option<&Buffer>,
    ) -> Result<Self> {
        Ok(Self {
            module,
            columns: StreamColumns::new(observations, actions, initial_state)?,
            reward: 0.0,
            last_action: Buffer::zeros(actions, 1),
            last_reward: 0.0,
            starts: true,
            t_started: 0,
            state: initial_state.cloned(),
            episode_return: 0.0,
        })
    }

    /// Books a reward: for the action that waits, if one does. Rewards before the first action
    /// count in the return alone.
    pub(super) fn pay(&mut self, reward: f64) {
        self.episode_return += reward;
        if self.columns.is_pending() {
            self.reward += reward;
        }
    }

    /// Whether the pending action is the first of the episode.
    pub(super) fn is_first_step(&self) -> bool {
        self.t_started == 0 && self.columns.steps() == 0
    }

    /// Records the outcome of the pending action. `connect` transforms its reward for losses.
    pub(super) fn complete(&mut self, connect: impl FnOnce(f64) -> Result<f64>) -> Result<()> {
        if self.columns.is_pending() {
            self.last_reward = connect(std::mem::take(&mut self.reward))?;
            self.columns.rewards.push(self.last_reward as f32);
        }
        Ok(())
    }

    /// Takes out the steps whose outcome is known; an action that waits stays.
    pub(super) fn take_columns(&mut self) -> Result<StreamColumns> {
        let pending = self.columns.split_pending()?;
        let columns = std::mem::replace(&mut self.columns, pending);
        self.t_started += columns.steps();
        Ok(columns)
    }
}
