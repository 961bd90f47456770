//! Columns and segments of the rollout under way.

use std::collections::BTreeMap;

use rekindle_core::Columns;
use rekindle_env::{Buffer, Space};

use crate::connectors::ActionSampler;
use crate::{Result, Rollout, Segment, SegmentEnd};

/// Appends one row per environment and step; knows where each environment's episode is.
#[derive(Debug)]
pub(super) struct Recorder {
    num_envs: usize,
    rollout: Rollout,
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
        weights_seq_no: u64,
    ) -> Self {
        let num_envs = episodes.len();
        let rows = steps * num_envs;
        let open =
            episodes.iter().map(|&(episode, t_started)| Open { episode, since: 0, t_started });
        Self {
            num_envs,
            rollout: Rollout {
                observations: Buffer::with_capacity(observations, rows),
                actions: Buffer::with_capacity(actions, rows),
                rewards: Vec::with_capacity(rows),
                extras: BTreeMap::new(),
                segments: Vec::new(),
                final_observations: Buffer::with_capacity(observations, num_envs),
                weights_seq_no,
            },
            open: open.collect(),
        }
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
    ) -> Result<()> {
        self.rollout.observations.extend_from(observations, 0..self.num_envs)?;
        self.rollout.actions.extend_from(&sampler.actions, 0..self.num_envs)?;
        self.push_extra(Columns::ACTION_DIST_INPUTS, &sampler.inputs)?;
        self.push_extra(Columns::ACTION_LOGP, &sampler.logp)
    }

    fn push_extra(&mut self, name: &'static str, values: &[f32]) -> Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        let width = values.len() / self.num_envs;
        let shape: &[usize] = if name == Columns::ACTION_LOGP { &[] } else { &[width] };
        let rows = Buffer::from_f32(values.to_vec(), shape)?;
        match self.rollout.extras.get_mut(name) {
            Some(column) => column.extend_from(&rows, 0..self.num_envs)?,
            None => {
                self.rollout.extras.insert(name, rows);
            }
        }
        Ok(())
    }

    /// Appends the environments' rewards.
    pub(super) fn push_rewards(&mut self, rewards: &[f64]) {
        self.rollout.rewards.extend(rewards.iter().map(|&r| r as f32));
    }

    /// Ends the segment of `env` with the last row; `next` is the number of the episode that
    /// follows. The final observation is row `env` of `observations`.
    pub(super) fn end(
        &mut self,
        env: usize,
        end: SegmentEnd,
        observations: &Buffer,
        next: u64,
    ) -> Result<()> {
        let now = self.steps();
        let open = self.open[env];
        self.rollout.final_observations.extend_from(observations, env..env + 1)?;
        self.rollout.segments.push(Segment {
            env,
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

    /// Ends all open segments that have steps: their episodes go on in the next rollout.
    pub(super) fn cut(&mut self, observations: &Buffer) -> Result<()> {
        for env in 0..self.num_envs {
            if self.open[env].since < self.steps() {
                self.end(env, SegmentEnd::Cut, observations, self.open[env].episode)?;
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
        rollout.segments = order.into_iter().map(|i| rollout.segments[i].clone()).collect();
        if let Some(logp) = rollout.extras.get(Columns::ACTION_LOGP) {
            let prob = logp.as_f32()?.iter().map(|logp| logp.exp()).collect();
            rollout.extras.insert(Columns::ACTION_PROB, Buffer::from_f32(prob, &[])?);
        }
        Ok(rollout)
    }
}
