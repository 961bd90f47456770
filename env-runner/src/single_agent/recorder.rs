//! Columns and segments of the rollout that a call records.

use std::collections::BTreeMap;
use std::sync::Arc;

use rekindle_core::Columns;
use rekindle_env::{Buffer, Info, Row, Space};

use crate::connectors::ActionSampler;
use crate::env_runner::memory::Memory;
use crate::env_runner::outputs::Outputs;
use crate::error::{Result, RunnerError};
use crate::experience::{Infos, Rollout, RolloutStates, Segment, SegmentEnd};

/// Appends one row per environment and step, and tracks where each environment's episode is.
#[derive(Debug)]
pub(super) struct Recorder {
    num_envs: usize,
    /// Whether rows and segments are kept; steps are counted either way.
    records: bool,
    /// Whether observations stack frames, which are stored once.
    stacks_frames: bool,
    /// Steps of the vector so far.
    steps: usize,
    /// Steps of the segments that ended.
    env_steps: usize,
    /// Which environments have a segment that ended.
    delivered: Vec<bool>,
    rollout: Rollout,
    /// The states of a stateful module.
    states: Option<RolloutStates>,
    infos: Infos,
    /// `action_dist_inputs` of all rows, row-major; empty if the module returns none.
    inputs: Vec<f32>,
    /// `action_logp` of all rows; empty if unknown.
    logp: Vec<f32>,
    /// The other outputs of the module.
    outputs: Outputs,
    /// The open segment of each environment.
    open: Vec<Open>,
}

/// Largest number of rows for which memory is reserved before the first step.
const MAX_RESERVED_ROWS: usize = 1 << 20;

/// A segment that has not ended.
#[derive(Debug, Clone, Copy)]
struct Open {
    episode: u64,
    /// The vector step of its first row.
    since: usize,
    t_started: usize,
}

impl Recorder {
    /// Creates a recorder with room for `steps` vector steps. `stacked_frames` is the number of frames that each
    /// observation stacks, and `episodes` are number and age of the running episodes.
    pub(super) fn new(
        [observations, actions]: [&Space; 2],
        stacked_frames: Option<usize>,
        steps: usize,
        episodes: &[(u64, usize)],
        memory: Option<&Memory>,
        weights_seq_no: u64,
        records: bool,
    ) -> Result<Self> {
        let num_envs = episodes.len();
        // Larger ones grow as they are filled.
        let rows = steps.saturating_mul(num_envs).min(MAX_RESERVED_ROWS);
        let open =
            episodes.iter().map(|&(episode, t_started)| Open { episode, since: 0, t_started });
        let layout = Buffer::with_capacity(observations, 0);
        let observation_column = stacked_frames
            .and_then(|count| {
                // The first row of each environment stores all of its frames.
                let older = num_envs.saturating_mul(count - 1);
                Buffer::of_stacks(&layout, count, rows.saturating_add(older))
            })
            .unwrap_or_else(|| Buffer::with_capacity(observations, rows));
        let states = memory.filter(|_| records).map(|memory| {
            let none = memory.state.slice(0..0)?;
            Ok::<_, RunnerError>(RolloutStates { state_in: none.clone(), final_states: none })
        });
        Ok(Self {
            num_envs,
            records,
            stacks_frames: stacked_frames.is_some(),
            steps: 0,
            env_steps: 0,
            delivered: vec![false; num_envs],
            inputs: Vec::new(),
            logp: Vec::with_capacity(rows),
            outputs: Outputs::default(),
            states: states.transpose()?,
            infos: Infos::default(),
            rollout: Rollout {
                observations: observation_column,
                actions: Buffer::with_capacity(actions, rows),
                rewards: Vec::with_capacity(rows),
                extras: BTreeMap::new(),
                infos: None,
                segments: Vec::new(),
                final_observations: Buffer::with_capacity(observations, num_envs),
                states: None,
                runner: 0,
                weights_seq_no,
            },
            open: open.collect(),
        })
    }

    /// Returns the column that the outputs of a step have and those of the steps before lack, or the
    /// other way round.
    fn column_of_some_steps(&self, sampler: &ActionSampler) -> Option<&'static str> {
        if self.steps == 0 {
            return None;
        }
        let differs = |recorded: &[f32], now: &[f32]| recorded.is_empty() != now.is_empty();
        let columns = [
            (Columns::ACTION_DIST_INPUTS, differs(&self.inputs, &sampler.inputs)),
            (Columns::ACTION_LOGP, differs(&self.logp, &sampler.logp)),
        ];
        columns.into_iter().find_map(|(name, differs)| differs.then_some(name))
    }

    /// Appends observations and actions, before the environments step. `module` is the type of the
    /// module, for errors.
    pub(super) fn push_actions(
        &mut self,
        observations: &Buffer,
        sampler: &ActionSampler,
        memory: Option<&Memory>,
        module: &str,
    ) -> Result<()> {
        if !self.records {
            return Ok(());
        }
        if let Some(column) = self.column_of_some_steps(sampler) {
            return Err(RunnerError::ColumnOfSomeSteps { module: module.into(), column });
        }
        if let (Some(states), Some(memory)) = (&mut self.states, memory) {
            states.state_in.extend_from(&memory.state, 0..self.num_envs)?;
        }
        self.push_observations(observations)?;
        self.rollout.actions.extend_from(&sampler.actions, 0..self.num_envs)?;
        if self.steps == 0 {
            // As many rows as of the other columns, whose width was not known before.
            let width = sampler.inputs.len() / self.num_envs.max(1);
            self.inputs.reserve_exact(self.logp.capacity().saturating_mul(width));
        }
        self.inputs.extend_from_slice(&sampler.inputs);
        self.logp.extend_from_slice(&sampler.logp);
        self.outputs.extend_from(&sampler.outputs, 0..self.num_envs, self.steps == 0)
    }

    /// Appends observations. Only the newest of the frames that an observation stacks is stored, unless the observation
    /// is the first one of its segment.
    fn push_observations(&mut self, observations: &Buffer) -> Result<()> {
        let column = &mut self.rollout.observations;
        if !self.stacks_frames {
            return Ok(column.extend_from(observations, 0..self.num_envs)?);
        }
        for (env, open) in self.open.iter().enumerate() {
            let previous =
                (open.since < self.steps).then(|| (self.steps - 1) * self.num_envs + env);
            column.push_stack(observations.row(env), previous)?;
        }
        Ok(())
    }

    /// Appends the environments' rewards and infos, which completes the step.
    pub(super) fn push_outcomes(&mut self, rewards: &[f64], info: impl Fn(usize) -> Info) {
        if self.records {
            let first = self.steps * self.num_envs;
            (0..self.num_envs).for_each(|env| self.infos.push(first + env, info(env)));
        }
        self.steps += 1;
        if self.records {
            self.rollout.rewards.extend(rewards.iter().map(|&r| r as f32));
        }
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
        let open = self.open[env];
        self.open[env] = Open { episode: next, since: self.steps, t_started: 0 };
        self.env_steps += self.steps - open.since;
        self.delivered[env] = true;
        if !self.records {
            return Ok(());
        }
        if let (Some(states), Some(memory)) = (&mut self.states, memory) {
            states.final_states.extend_from(&memory.state, env..env + 1)?;
        }
        self.rollout.final_observations.push(observation)?;
        self.rollout.segments.push(Segment {
            env,
            agent: None,
            episode: open.episode,
            runner: 0,
            start: open.since * self.num_envs + env,
            stride: self.num_envs,
            len: self.steps - open.since,
            t_started: open.t_started,
            end,
        });
        Ok(())
    }

    /// Drops the open segment of `env`, whose episode is lost or does not count; `next` is the number of the episode
    /// that follows. No segment refers to its rows.
    pub(super) fn discard(&mut self, env: usize, next: u64) {
        self.open[env] = Open { episode: next, since: self.steps, t_started: 0 };
    }

    /// Ends all open segments that have steps. Their episodes continue in the next rollout.
    pub(super) fn cut(&mut self, observations: &Buffer, memory: Option<&Memory>) -> Result<()> {
        for env in 0..self.num_envs {
            if self.open[env].since < self.steps {
                let (observation, next) = (observations.row(env), self.open[env].episode);
                self.end(env, SegmentEnd::Cut, observation, memory, next)?;
            }
        }
        Ok(())
    }

    /// Returns the environments with a segment that ended.
    pub(super) fn delivered(&self) -> impl Iterator<Item = usize> {
        (0..self.num_envs).filter(|&env| self.delivered[env])
    }

    /// Returns the rollout, segments in order of the environment, then of time, and the number of
    /// steps in its segments.
    pub(super) fn finish(self) -> Result<(Rollout, usize)> {
        let mut rollout = self.rollout;
        let mut order: Vec<usize> = (0..rollout.segments.len()).collect();
        order.sort_by_key(|&i| (rollout.segments[i].env, rollout.segments[i].start));
        rollout.final_observations = rollout.final_observations.gather(&order)?;
        if let Some(mut states) = self.states {
            states.final_states = states.final_states.gather(&order)?;
            rollout.states = Some(Arc::new(states));
        }
        rollout.infos = self.infos.into_column(rollout.rewards.len())?;
        rollout.segments = order.into_iter().map(|i| rollout.segments[i].clone()).collect();
        let rows = rollout.rewards.len();
        rollout.extras = self.outputs.into_extras(self.inputs, self.logp, rows)?;
        Ok((rollout, self.env_steps))
    }
}
