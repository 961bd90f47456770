//! From the segments of agents to rollouts of modules.

use std::collections::BTreeMap;

use rekindle_core::{Columns, ModuleId};
use rekindle_env::{AgentSpec, Buffer};

use super::stream::EndedSegment;
use crate::{Result, Rollout, RolloutStates, Segment};

/// Complete segments, by module, in the order in which they ended.
#[derive(Debug, Default)]
pub(super) struct Fragment(BTreeMap<ModuleId, Vec<EndedSegment>>);

impl Fragment {
    /// Adds a segment, unless it has no steps.
    pub(super) fn push(&mut self, module: &ModuleId, segment: EndedSegment) {
        if segment.columns.steps() == 0 {
            return;
        }
        match self.0.get_mut(module) {
            Some(segments) => segments.push(segment),
            None => {
                self.0.insert(module.clone(), vec![segment]);
            }
        }
    }

    /// The environments that segments come from.
    pub(super) fn envs(&self) -> impl Iterator<Item = usize> {
        self.0.values().flatten().map(|segment| segment.env)
    }

    /// Drops the segments that a condition does not hold for.
    pub(super) fn retain(&mut self, keep: impl Fn(&EndedSegment) -> bool) {
        self.0.values_mut().for_each(|segments| segments.retain(&keep));
        self.0.retain(|_, segments| !segments.is_empty());
    }

    /// A rollout for every module, segments in order of environment and agent, then of time.
    pub(super) fn finish(
        self,
        agents: &[AgentSpec],
        weights_seq_no: u64,
    ) -> Result<BTreeMap<ModuleId, Vec<Rollout>>> {
        let rollouts = self.0.into_iter().map(|(id, mut segments)| {
            segments.sort_by_key(|s| (s.env, s.agent, s.episode, s.t_started));
            Ok((id, vec![rollout(segments, agents, weights_seq_no)?]))
        });
        rollouts.collect()
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

fn rollout(ended: Vec<EndedSegment>, agents: &[AgentSpec], weights_seq_no: u64) -> Result<Rollout> {
    let (mut observations, mut actions, mut finals) = (None, None, None);
    let (mut state_in, mut final_states) = (None, None);
    let (mut rewards, mut inputs, mut logp) = (Vec::new(), Vec::new(), Vec::new());
    let mut segments = Vec::with_capacity(ended.len());
    for segment in ended {
        let columns = segment.columns;
        segments.push(Segment {
            env: segment.env,
            agent: agents.get(segment.agent).map(|agent| agent.id.clone()),
            episode: segment.episode,
            start: rewards.len(),
            stride: 1,
            len: columns.steps(),
            t_started: segment.t_started,
            end: segment.end,
        });
        rewards.extend(columns.rewards);
        inputs.extend(columns.inputs);
        logp.extend(columns.logp);
        append(&mut observations, columns.observations)?;
        append(&mut actions, columns.actions)?;
        append(&mut finals, segment.final_observation)?;
        if let (Some(states), Some(last)) = (columns.state_in, segment.final_state) {
            append(&mut state_in, states)?;
            append(&mut final_states, last)?;
        }
    }
    let empty = || Buffer::from_f32(Vec::new(), &[]);
    let mut extras = BTreeMap::new();
    if !inputs.is_empty() {
        let width = inputs.len() / rewards.len().max(1);
        extras.insert(Columns::ACTION_DIST_INPUTS, Buffer::from_f32(inputs, &[width])?);
    }
    if !logp.is_empty() {
        let prob = logp.iter().map(|logp| logp.exp()).collect();
        extras.insert(Columns::ACTION_PROB, Buffer::from_f32(prob, &[])?);
        extras.insert(Columns::ACTION_LOGP, Buffer::from_f32(logp, &[])?);
    }
    let states = state_in.zip(final_states);
    Ok(Rollout {
        observations: observations.map_or_else(empty, Ok)?,
        actions: actions.map_or_else(empty, Ok)?,
        rewards,
        extras,
        segments,
        final_observations: finals.map_or_else(empty, Ok)?,
        states: states.map(|(state_in, final_states)| RolloutStates { state_in, final_states }),
        weights_seq_no,
    })
}
