//! Actions for all agents that act, with one forward pass per module.

use std::time::Instant;

use super::fragment::Fragment;
use super::stream::{At, NewRow, Stream};
use super::{EpisodeInfo, MultiAgentEnvRunner, Player, other_spaces};
use crate::callbacks::counts;
use crate::env_runner::SampleOptions;
use crate::env_runner::checks::ACTION_CONNECTOR;
use crate::error::{Result, RunnerError};
use crate::experience::SegmentEnd;

impl MultiAgentEnvRunner {
    /// Chooses an action for every agent that acts.
    pub(super) fn act(
        &mut self,
        options: SampleOptions,
        quota: &[usize],
        fragment: &mut Fragment,
    ) -> Result<()> {
        self.gather()?;
        let slots = self.streams.len();
        let num_agents = self.agents.len();
        let base = &mut self.base;
        for (id, lane) in self.lanes.iter_mut().filter(|(_, lane)| !lane.rows.is_empty()) {
            let started = Instant::now();
            lane.observe(base.config.update_connectors, slots)?;
            let connected = Instant::now();
            base.timers.env_to_module += connected - started;

            let rows = std::mem::take(&mut lane.rows);
            let rngs = rows.iter().map(|&slot| base.action_rngs[slot].clone());
            let mut rngs: Vec<_> = rngs.collect();
            let mut states = None;
            if let Some(initial) = &lane.initial_state {
                let mut all = initial.slice(0..0)?;
                for &slot in &rows {
                    let state = self.streams[slot].as_ref().and_then(|s| s.state.as_ref());
                    all.extend_from(state.unwrap_or(initial), 0..1)?;
                }
                states = Some((all.clone(), all));
            }
            let of_step = states.as_mut().map(|(before, next)| (&*before, next));
            base.exploration.set_slots(&rows);
            let streams = (&mut rngs[..], &mut base.exploration);
            let acted = lane.act(of_step, streams, options);
            let invalid = acted
                .map_err(|error| error.in_env(&base.config.env, |row| rows[row] / num_agents))?;
            let inferred = Instant::now();
            base.timers.inference += inferred - connected;
            if let Some(invalid) = invalid {
                let index = rows[invalid.row()] / num_agents;
                return Err(invalid.error(&base.config.env, index, format!("module `{id}`")));
            }

            let (seen, sampled) = (lane.seen(), lane.sampled());
            let stacked_frames = lane.env_to_module.stacked_frames();
            let width = sampled.inputs.len() / rows.len().max(1);
            for (row, (&slot, rng)) in rows.iter().zip(rngs).enumerate() {
                base.action_rngs[slot] = rng;
                let Some(stream) = &mut self.streams[slot] else { continue };
                let new = options.record.then(|| NewRow {
                    index: row,
                    observations: seen,
                    stacked_frames,
                    actions: &sampled.actions,
                    inputs: &sampled.inputs[row * width..(row + 1) * width],
                    logp: sampled.logp.get(row).copied(),
                    explores: options.explore && !options.random_actions,
                    outputs: &sampled.outputs,
                    states: states.as_ref().map(|(before, _)| before),
                });
                if !stream.accepts(new) {
                    let (env, agent) = (slot / num_agents, slot % num_agents);
                    let at = At { env, agent, episode: base.episodes[env].id };
                    let segment = stream.end_segment(at, SegmentEnd::Cut, |stream| {
                        Ok((seen.slice(row..row + 1)?, stream.state.clone()))
                    })?;
                    if counts(quota, env) {
                        fragment.push(id, segment);
                    }
                }
                stream.act(new)?;
                stream.last_action.copy_row(0, &sampled.actions, row)?;
                stream.starts = false;
                if let Some((_, after)) = &states {
                    stream.state = Some(after.slice(row..row + 1)?);
                }
            }
            match lane.actions_for_env(options, base.config.update_connectors)? {
                Ok(actions) => {
                    for (row, &slot) in rows.iter().enumerate() {
                        let (env, agent) = (slot / num_agents, slot % num_agents);
                        self.actions[env].act(agent)?.copy_from(actions.row(row))?;
                    }
                }
                Err((row, value)) => {
                    let (env, index) = (base.config.env.clone(), rows[row] / num_agents);
                    let origin = ACTION_CONNECTOR.into();
                    return Err(RunnerError::InvalidAction { env, index, value, origin });
                }
            }
            lane.rows = rows;
            base.timers.module_to_env += inferred.elapsed();
        }
        Ok(())
    }

    /// Finds out which agents act, and with which module.
    fn gather(&mut self) -> Result<()> {
        self.lanes.values_mut().for_each(super::Lane::clear);
        self.actions.iter_mut().for_each(rekindle_env::MultiAgentActions::clear);
        for env in 0..self.base.num_envs() {
            for agent in 0..self.agents.len() {
                let slot = env * self.agents.len() + agent;
                if !self.step.current()[env].acts_next(agent) {
                    continue;
                }
                if self.streams[slot].is_none() {
                    let stream = self.new_stream(env, agent)?;
                    self.players[slot] = Some(Player::new(stream.module.clone()));
                    self.streams[slot] = Some(stream);
                }
                let Some(stream) = &self.streams[slot] else { continue };
                let Some(row) = self.step.current()[env].observation(agent) else { continue };
                let Some(lane) = self.lanes.get_mut(&stream.module) else {
                    return Err(self.unknown_policy(agent, &stream.module));
                };
                lane.push(slot, row, stream)?;
            }
        }
        Ok(())
    }

    /// Begins the part of an agent in an episode.
    fn new_stream(&self, env: usize, agent: usize) -> Result<Stream> {
        let episode = self.base.episodes[env].id;
        let info = EpisodeInfo { runner: self.base.index, env, episode };
        let id = self.multi_agent.policy_mapping.module(&self.agents[agent].id, &info)?;
        let Some(lane) = self.lanes.get(&id).filter(|lane| !lane.retired) else {
            return Err(self.unknown_policy(agent, &id));
        };
        if !lane.fits[agent] {
            let agents = [&self.agents[agent]];
            return Err(other_spaces(&id, &agents, lane));
        }
        let observations = lane.env_to_module.output_space();
        Ok(Stream::new(id, observations, &lane.action_space, lane.initial_state.as_ref()))
    }
}
