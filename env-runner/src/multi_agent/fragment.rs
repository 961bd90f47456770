//! Conversion of agents' segments to modules' rollouts.

use std::collections::BTreeMap;
use std::sync::Arc;

use rekindle_core::ModuleId;
use rekindle_env::{AgentSpec, Buffer};

use super::stream::{EndedSegment, Layout, RecordedSegment};
use crate::env_runner::outputs::Outputs;
use crate::error::Result;
use crate::experience::{Infos, Rollout, RolloutStates, Segment};

/// Complete segments by module, in the order in which they ended.
#[derive(Debug, Default)]
pub(super) struct Fragment(BTreeMap<ModuleId, Vec<EndedSegment>>);

impl Fragment {
    /// Adds a segment, unless it has no steps.
    pub(super) fn push(&mut self, module: &ModuleId, segment: EndedSegment) {
        if segment.len == 0 {
            return;
        }
        match self.0.get_mut(module) {
            Some(segments) => segments.push(segment),
            None => {
                self.0.insert(module.clone(), vec![segment]);
            }
        }
    }

    /// Returns the environments that segments come from.
    pub(super) fn envs(&self) -> impl Iterator<Item = usize> {
        self.0.values().flatten().map(|segment| segment.env)
    }

    /// Returns the number of steps of each agent with each module.
    pub(super) fn agent_steps(&self) -> BTreeMap<(usize, &ModuleId), usize> {
        let mut steps = BTreeMap::new();
        for (id, segments) in &self.0 {
            for segment in segments {
                *steps.entry((segment.agent, id)).or_default() += segment.len;
            }
        }
        steps
    }

    /// Drops the segments that do not satisfy a condition. Returns the number of their steps.
    pub(super) fn retain(&mut self, keep: impl Fn(&EndedSegment) -> bool) -> usize {
        let mut dropped = 0;
        for segments in self.0.values_mut() {
            segments.retain(|segment| {
                let keep = keep(segment);
                dropped += if keep { 0 } else { segment.len };
                keep
            });
        }
        self.0.retain(|_, segments| !segments.is_empty());
        dropped
    }

    /// Returns the rollouts of every module, one for each kind of rows, richest first. Segments are in
    /// order of environment and agent, then of time.
    pub(super) fn finish(
        self,
        agents: &[AgentSpec],
        weights_seq_no: u64,
    ) -> Result<BTreeMap<ModuleId, Vec<Rollout>>> {
        let mut all = BTreeMap::new();
        for (id, mut segments) in self.0 {
            segments.sort_by_key(|s| (s.env, s.agent, s.episode, s.t_started));
            let mut by_layout: BTreeMap<Layout, Vec<_>> = BTreeMap::new();
            for mut segment in segments {
                if let Some(recorded) = segment.recorded.take() {
                    let layout = recorded.columns.layout();
                    by_layout.entry(layout).or_default().push((segment, recorded));
                }
            }
            let rollouts = by_layout.into_values().rev();
            let rollouts = rollouts.map(|segments| rollout(segments, agents, weights_seq_no));
            let rollouts: Vec<_> = rollouts.collect::<Result<_>>()?;
            if !rollouts.is_empty() {
                all.insert(id, rollouts);
            }
        }
        Ok(all)
    }
}

fn append(all: &mut Option<Buffer>, part: Buffer) -> Result<()> {
    match all {
        Some(all) => Ok(all.extend_from(&part, 0..part.rows())?),
        None => {
            *all = Some(part);
            Ok(())
        }
    }
}

fn rollout(
    ended: Vec<(EndedSegment, RecordedSegment)>,
    agents: &[AgentSpec],
    weights_seq_no: u64,
) -> Result<Rollout> {
    let (mut observations, mut actions, mut finals) = (None, None, None);
    let (mut state_in, mut final_states) = (None, None);
    let (mut rewards, mut inputs, mut logp) = (Vec::new(), Vec::new(), Vec::new());
    let (mut outputs, mut infos) = (Outputs::default(), Infos::default());
    let mut segments = Vec::with_capacity(ended.len());
    for (segment, RecordedSegment { columns, final_observation, final_state }) in ended {
        segments.push(Segment {
            env: segment.env,
            agent: agents.get(segment.agent).map(|agent| agent.id.clone()),
            episode: segment.episode,
            runner: 0,
            start: rewards.len(),
            stride: 1,
            len: segment.len,
            t_started: segment.t_started,
            end: segment.end,
        });
        let rows = columns.rewards.len();
        outputs.extend_from(&columns.outputs, 0..rows, rewards.is_empty())?;
        infos.extend(rewards.len(), columns.infos);
        rewards.extend(columns.rewards);
        inputs.extend(columns.inputs);
        logp.extend(columns.logp);
        append(&mut observations, columns.observations)?;
        append(&mut actions, columns.actions)?;
        append(&mut finals, final_observation)?;
        if let (Some(states), Some(last)) = (columns.state_in, final_state) {
            append(&mut state_in, states)?;
            append(&mut final_states, last)?;
        }
    }
    let empty = || Buffer::from_f32(Vec::new(), &[]);
    let extras = outputs.into_extras(inputs, logp, rewards.len())?;
    let states = state_in.zip(final_states);
    let infos = infos.into_column(rewards.len())?;
    Ok(Rollout {
        infos,
        observations: observations.map_or_else(empty, Ok)?,
        actions: actions.map_or_else(empty, Ok)?,
        rewards,
        extras,
        segments,
        final_observations: finals.map_or_else(empty, Ok)?,
        states: states
            .map(|(state_in, final_states)| Arc::new(RolloutStates { state_in, final_states })),
        runner: 0,
        weights_seq_no,
    })
}
