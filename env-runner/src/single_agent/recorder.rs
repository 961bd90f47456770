//! Columns and segments of the rollout under way.

use std::collections::BTreeMap;

use rekindle_core::Columns;
use rekindle_env::{Buffer, Row, Space};

use crate::connectors::ActionSampler;
use crate::memory::Memory;
use crate::{Result, Rollout, RolloutStates, Segment, SegmentEnd};

/// Appends one row per environment and step; knows where each environment's episode is.
#[derive(Debug)]
pub(super) struct Recorder {
    num_envs: usize,
    rollout: Rollout,
    /// `action_dist_inputs` of all rows, row-major; empty if the module puts none out.
    inputs: Vec<f32>,
    /// `action_logp` of all rows; empty if unknown.
    logp: Vec<f32>,
    /// The segment each environment is in.
    open: Vec<Open>,
}

/// A segment that has not ended.
#[derive(Debug, Clone, Copy)]
struct Open {
    episode: u64,
    /// The vector step of its first row.
    since: usize,
    t_started: usize,
}

impl Recorder {
    /// A recorder with room for `steps` vector steps; `episodes` are number and age of the
    /// episodes that the environments are in.
    pub(super) fn new(
        observations: &Space,
        actions: &Space,
        steps: usize,
        episodes: &[(u64, usize)],
        memory: Option<&Memory>,
        weights_seq_no: u64,
    ) -> Result<Self> {
        let num_envs = episodes.len();
        let rows = steps * num_envs;
        let open =
            episodes.iter().map(|&(episode, t_started)| Open { episode, since: 0, t_started });
        let states = memory.map(|memory| {
            let none = memory.state.slice(0..0)?;
            Ok::<_, crate::RunnerError>(RolloutStates {
                state_in: none.clone(),
                final_states: none,
            })
        });
        Ok(Self {
            num_envs,
            inputs: Vec::new(),
            logp: Vec::with_capacity(rows),
            rollout: Rollout {
                observations: Buffer::with_capacity(observations, rows),
                actions: Buffer::with_capacity(actions, rows),
                rewards: Vec::with_capacity(rows),
                extras: BTreeMap::new(),
                segments: Vec::new(),
                final_observations: Buffer::with_capacity(observations, num_envs),
                states: states.transpose()?,
                weights_seq_no,
            },
            open: open.collect(),
        })
    }

    /// Vector steps so far.
    fn steps(&self) -> usize {
        self.rollout.rewards.len() / self.num_envs.max(1)
    }

    /// Appends what was seen and done, before the environments answer.
    pub(super) fn push_actions(
        &mut self,
        observations: &Buffer,
        sampler: &ActionSampler,
        memory: Option<&Memory>,
    ) -> Result<()> {
        if let (Some(states), Some(memory)) = (&mut self.rollout.states, memory) {
            states.state_in.extend_from(&memory.state, 0..self.num_envs)?;
        }
        self.rollout.observations.extend_from(observations, 0..self.num_envs)?;
        self.rollout.actions.extend_from(&sampler.actions, 0..self.num_envs)?;
        self.inputs.extend_from_slice(&sampler.inputs);
        self.logp.extend_from_slice(&sampler.logp);
        Ok(())
    }

    /// Appends the environments' rewards.
    pub(super) fn push_rewards(&mut self, rewards: &[f64]) {
        self.rollout.rewards.extend(rewards.iter().map(|&r| r as f32));
    }

    /// Ends the segment of `env` with the last row; `next` is the number of the episode that
    /// follows. The state that goes with the final observation is row `env` of the memory.
    pub(super) fn end(
        &mut self,
        env: usize,
        end: SegmentEnd,
        observation: Row<'_>,
        memory: Option<&Memory>,
        next: u64,
    ) -> Result<()> {
        let now = self.steps();
        if let (Some(states), Some(memory)) = (&mut self.rollout.states, memory) {
            states.final_states.extend_from(&memory.state, env..env + 1)?;
        }
        let open = self.open[env];
        self.rollout.final_observations.push(observation)?;
        self.rollout.segments.push(Segment {
            env,
            agent: None,
            episode: open.episode,
            start: open.since * self.num_envs + env,
            stride: self.num_envs,
            len: now - open.since,
            t_started: open.t_started,
            end,
        });
        self.open[env] = Open { episode: next, since: now, t_started: 0 };
        Ok(())
    }

    /// Drops the open segment of `env`, whose episode is lost; `next` is the number of the episode
    /// that follows. No segment will refer to its rows.
    pub(super) fn discard(&mut self, env: usize, next: u64) {
        self.open[env] = Open { episode: next, since: self.steps(), t_started: 0 };
    }

    /// Ends all open segments that have steps: their episodes go on in the next rollout.
    pub(super) fn cut(&mut self, observations: &Buffer, memory: Option<&Memory>) -> Result<()> {
        for env in 0..self.num_envs {
            if self.open[env].since < self.steps() {
                let (observation, next) = (observations.row(env), self.open[env].episode);
                self.end(env, SegmentEnd::Cut, observation, memory, next)?;
            }
        }
        Ok(())
    }

    /// The finished rollout, segments in order of the environment, then of time.
    pub(super) fn finish(self) -> Result<Rollout> {
        let mut rollout = self.rollout;
        let mut order: Vec<usize> = (0..rollout.segments.len()).collect();
        order.sort_by_key(|&i| (rollout.segments[i].env, rollout.segments[i].start));
        rollout.final_observations = rollout.final_observations.gather(&order)?;
        if let Some(states) = &mut rollout.states {
            states.final_states = states.final_states.gather(&order)?;
        }
        rollout.segments = order.into_iter().map(|i| rollout.segments[i].clone()).collect();
        if !self.inputs.is_empty() {
            let width = self.inputs.len() / rollout.rewards.len().max(1);
            let inputs = Buffer::from_f32(self.inputs, &[width])?;
            rollout.extras.insert(Columns::ACTION_DIST_INPUTS, inputs);
        }
        if !self.logp.is_empty() {
            let prob = self.logp.iter().map(|logp| logp.exp()).collect();
            rollout.extras.insert(Columns::ACTION_PROB, Buffer::from_f32(prob, &[])?);
            rollout.extras.insert(Columns::ACTION_LOGP, Buffer::from_f32(self.logp, &[])?);
        }
        Ok(rollout)
    }
}
