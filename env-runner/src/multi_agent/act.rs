//! Actions for all agents that act, one forward pass per module.

use std::time::Instant;

use super::stream::Stream;
use super::{EpisodeInfo, MultiAgentEnvRunner};
use crate::{Result, SampleOptions};

impl MultiAgentEnvRunner {
    /// Chooses an action for every agent that acts.
    pub(super) fn act(&mut self, options: SampleOptions) -> Result<()> {
        self.gather()?;
        let slots = self.streams.len();
        let update = self.config.update_connectors;
        let num_agents = self.agents.len();
        for lane in self.lanes.values_mut().filter(|lane| !lane.rows.is_empty()) {
            let started = Instant::now();
            let seen = lane.observe(update, slots)?.clone();
            let connected = Instant::now();
            self.timers.env_to_module += connected - started;

            let rows = std::mem::take(&mut lane.rows);
            let rngs = rows.iter().map(|&slot| self.action_rngs[slot].clone());
            let mut rngs: Vec<_> = rngs.collect();
            let mut states = None;
            if options.random_actions {
                lane.act_randomly(&mut rngs)?;
            } else {
                if let Some(initial) = &lane.initial_state {
                    let mut all = initial.slice(0..0)?;
                    for &slot in &rows {
                        let state = self.streams[slot].as_ref().and_then(|s| s.state.as_ref());
                        all.extend_from(state.unwrap_or(initial), 0..1)?;
                    }
                    states = Some((all.clone(), all));
                }
                let next = states.as_mut().map(|(_, next)| next);
                lane.act(&seen, next, options.explore.then_some(&mut rngs), &self.device)?;
            }
            let inferred = Instant::now();
            self.timers.inference += inferred - connected;

            let sampled = lane.sampled();
            let width = sampled.inputs.len() / rows.len().max(1);
            for (row, (&slot, rng)) in rows.iter().zip(rngs).enumerate() {
                self.action_rngs[slot] = rng;
                let Some(stream) = &mut self.streams[slot] else { continue };
                let columns = &mut stream.columns;
                columns.observations.extend_from(&seen, row..row + 1)?;
                columns.actions.extend_from(&sampled.actions, row..row + 1)?;
                columns.inputs.extend_from_slice(&sampled.inputs[row * width..(row + 1) * width]);
                columns.logp.extend(sampled.logp.get(row));
                stream.last_action.copy_row(0, &sampled.actions, row)?;
                stream.starts = false;
                if let (Some((before, after)), Some(state_in)) = (&states, &mut columns.state_in) {
                    state_in.extend_from(before, row..row + 1)?;
                    stream.state = Some(after.slice(row..row + 1)?);
                }
            }
            let actions = lane.actions_for_env()?;
            for (row, &slot) in rows.iter().enumerate() {
                let (env, agent) = (slot / num_agents, slot % num_agents);
                self.actions[env].act(agent)?.copy_from(actions.row(row))?;
            }
            lane.rows = rows;
            self.timers.module_to_env += inferred.elapsed();
        }
        Ok(())
    }

    /// Finds out who acts and with which module.
    fn gather(&mut self) -> Result<()> {
        self.lanes.values_mut().for_each(super::Lane::clear);
        self.actions.iter_mut().for_each(rekindle_env::MultiAgentActions::clear);
        for env in 0..self.config.num_envs {
            for agent in 0..self.agents.len() {
                let slot = env * self.agents.len() + agent;
                if !self.step.current()[env].acts_next(agent) {
                    continue;
                }
                if self.streams[slot].is_none() {
                    self.streams[slot] = Some(self.new_stream(env, agent)?);
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
        let episode = self.episodes[env].id;
        let info = EpisodeInfo { runner: self.index, env, episode };
        let id = self.multi_agent.policy_mapping.module(&self.agents[agent].id, &info)?;
        let Some(lane) = self.lanes.get(&id) else {
            return Err(self.unknown_policy(agent, &id));
        };
        let observations = lane.env_to_module.output_space();
        Stream::new(id, observations, &lane.action_space, lane.initial_state.as_ref())
    }
}
